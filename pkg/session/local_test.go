package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"bottle/pkg/engine"
	"bottle/pkg/frame"
	"bottle/pkg/inside"
)

// The test binary is also bottle-inside, and a program that attaches: then it
// can be killed, and has a terminal of its own.
func TestMain(m *testing.M) {
	if os.Getenv("BE") == "" {
		os.Setenv("LC_ALL", "C.UTF-8")
	}
	switch os.Getenv("BE") {
	case "inside":
		os.Exit(inside.Dispatch(inside.Commands(), os.Args, os.Stdin, os.Stdout, os.Stderr))
	case "attach":
		os.Exit(beAttach(local{}))
	case "torrent":
		os.Exit(beAttach(torrent{}))
	case "run":
		code, err := Run(context.Background(), local{}, "", os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
		os.Exit(exitOf(code, err))
	}
	os.Exit(m.Run())
}

const exitDetached = 99

func beAttach(e engine.Engine) int {
	keys, _ := ParseKeys(DefaultDetachKeys)
	o, err := Attach(context.Background(), e, "", Terminal{os.Stdin, os.Stdout}, Options{Term: "xterm-256color", DetachKeys: keys})
	if err == nil && !o.Ended {
		return exitDetached
	}
	return exitOf(o.Code, err)
}

func exitOf(code int, err error) int {
	var sig Signalled
	switch {
	case errors.As(err, &sig):
		return sig.ExitCode()
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 98
	}
	return code
}

// local is an engine whose one container is this machine, with a session in
// $BOTTLE_SESSION. Its Exec behaves as docker's without a terminal does: the
// command's input ends with the client, its output is copied.
type local struct {
	engine.Engine
	env []string
}

func (l local) Exec(ctx context.Context, _ string, x engine.Exec) (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(self, x.Cmd[1:]...)
	cmd.Env = append(append(os.Environ(), l.env...), "BE=inside")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // signals for the client are not its own
	cmd.Stdout, cmd.Stderr = struct{ io.Writer }{orDiscard(x.Stdout)}, struct{ io.Writer }{orDiscard(x.Stderr)}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer context.AfterFunc(ctx, func() { stdin.Close() })()
	go func() {
		if x.Stdin != nil {
			io.Copy(stdin, x.Stdin)
		}
		stdin.Close()
	}()
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

// box is a session's directory, and the engine that has it.
type box struct {
	*testing.T
	dir string
	e   local
}

// newBox starts a session of argv; none starts none.
func newBox(t *testing.T, argv ...string) *box {
	t.Helper()
	dir, err := os.MkdirTemp("", "b") // short: a socket's path has a bound
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	b := &box{T: t, dir: dir, e: local{env: []string{"BOTTLE_SESSION=" + dir, "HOME=" + home,
		"BOTTLE_HOME_FILES=" + filepath.Join(home, "none"), "PS1=$ ", "GORACE=atexit_sleep_ms=0"}}}
	t.Cleanup(func() {
		b.tmux("kill-server")
		Wait(context.Background(), b.e, "") // the agent's keeper leaves its exit code there
		os.RemoveAll(dir)
	})
	if len(argv) > 0 {
		if err := b.start(argv...); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

var shell = []string{"bash", "--norc", "--noediting"}

func (b *box) start(argv ...string) error {
	return Start(b.Context(), b.e, "", frame.Start{Argv: argv, Dir: b.dir, Env: map[string]string{"TOKEN": "swordfish-0123456789"}})
}

// tmux asks the session's own server.
func (b *box) tmux(args ...string) string {
	out, _ := exec.Command("tmux", append([]string{"-S", filepath.Join(b.dir, "tmux.sock")}, args...)...).CombinedOutput()
	return strings.TrimSpace(string(out))
}

// eventually waits for what has no event to wait for.
func (b *box) eventually(what string, holds func() bool) {
	b.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(time.Minute); !holds(); {
		select {
		case <-tick.C:
		case <-limit:
			b.Fatalf("in a minute: not %s", what)
		}
	}
}

func (b *box) noClients() {
	b.Helper()
	b.eventually("without a client", func() bool { return b.tmux("list-clients") == "" })
}

// viewer is a program on a terminal of its own.
type viewer struct {
	*box
	cmd  *exec.Cmd
	tty  *os.File // the terminal emulator's end
	mu   sync.Mutex
	seen []byte
	pos  int // so much of it was waited for
	more chan struct{}
	done chan struct{} // the program ended
	eof  chan struct{} // and all it drew was read
}

func (b *box) attach(cols, rows uint16) *viewer { return b.view("attach", cols, rows) }

func (b *box) view(be string, cols, rows uint16, args ...string) *viewer {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	v := &viewer{box: b, cmd: exec.Command(self, args...), more: make(chan struct{}, 1), done: make(chan struct{}), eof: make(chan struct{})}
	v.cmd.Env = append(append(os.Environ(), b.e.env...), "BE="+be, "TERM=xterm-256color")
	master, slave, err := pty.Open()
	if err != nil {
		b.Fatal(err)
	}
	pty.Setsize(master, &pty.Winsize{Cols: cols, Rows: rows})
	v.tty = master
	v.cmd.Stdin, v.cmd.Stdout, v.cmd.Stderr = slave, slave, slave
	v.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := v.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	go func() {
		v.cmd.Wait()
		close(v.done)
		slave.Close()
	}()
	go v.read()
	b.Cleanup(func() {
		v.cmd.Process.Kill()
		master.Close()
	})
	return v
}

func (v *viewer) read() {
	defer close(v.eof)
	buf := make([]byte, 32<<10)
	for {
		n, err := v.tty.Read(buf)
		v.mu.Lock()
		v.seen = append(v.seen, buf[:n]...)
		v.mu.Unlock()
		select {
		case v.more <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// all is everything that was drawn, text what came after the last sees.
func (v *viewer) all() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return string(v.seen)
}

func (v *viewer) text() string { return v.all()[v.pos:] }

// sees waits until text was drawn, after what was waited for before.
func (v *viewer) sees(text string) {
	v.Helper()
	for limit := time.After(time.Minute); ; {
		if i := strings.Index(v.text(), text); i >= 0 {
			v.pos += i + len(text)
			return
		}
		select {
		case <-v.more:
		case <-limit:
			v.Fatalf("no %q in %q", text, v.text())
		}
	}
}

func (v *viewer) types(text string) {
	v.Helper()
	if _, err := v.tty.WriteString(text); err != nil {
		v.Fatal(err)
	}
}

// ends waits for the program's end and returns its exit code.
func (v *viewer) ends() int {
	v.Helper()
	select {
	case <-v.done:
	case <-time.After(time.Minute):
		v.Fatalf("does not end; drew %q", v.text())
	}
	return v.cmd.ProcessState.ExitCode()
}

// terminal is a fresh terminal; drawn closes it and returns what was written.
func terminal(t *testing.T) (tty Terminal, drawn func() string) {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	all := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(master)
		all <- string(b)
	}()
	t.Cleanup(func() {
		slave.Close()
		master.Close()
	})
	return Terminal{slave, slave}, func() string {
		slave.Close()
		return <-all
	}
}
