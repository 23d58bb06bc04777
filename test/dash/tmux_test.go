// Package dash tests the dashboard, the right pane and the key bindings in a
// real tmux: against recorded programs, and against the real ones on a real
// engine.
package dash

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"

	"bottle/test/rig"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }

// server is a tmux of the test's own.
type server struct {
	t      *testing.T
	socket string
	env    []string
}

func newServer(t *testing.T, env ...string) *server {
	t.Helper()
	dir, err := os.MkdirTemp("", "b") // short: a socket's path has a bound
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, socket: filepath.Join(dir, "s")}
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "TMUX") && !strings.HasPrefix(e, "NO_COLOR") {
			s.env = append(s.env, e)
		}
	}
	s.env = append(append(s.env, "TERM=xterm-256color", "LC_ALL=C.UTF-8"), env...)
	t.Cleanup(func() {
		s.cmd("kill-server").Run()
		os.RemoveAll(dir)
	})
	return s
}

func (s *server) cmd(args ...string) *exec.Cmd {
	cmd := exec.Command("tmux", append([]string{"-u", "-S", s.socket, "-f", "/dev/null"}, args...)...)
	cmd.Env = s.env
	return cmd
}

func (s *server) run(args ...string) string {
	s.t.Helper()
	out, err := s.cmd(args...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("tmux %q: %v: %s", args, err, out)
	}
	return strings.TrimRight(string(out), "\n")
}

func (s *server) start(w, h int, argv ...string) {
	s.t.Helper()
	s.run(append([]string{"new-session", "-d", "-s", "t", "-x", strconv.Itoa(w), "-y", strconv.Itoa(h), "--"}, argv...)...)
	s.run("set-option", "-g", "status", "off")
}

// client shows the session on a terminal of its own: menus and popups are drawn
// on clients alone.
type client struct {
	s    *server
	tty  *os.File
	mu   sync.Mutex
	seen []byte
}

func (c *client) read() {
	buf := make([]byte, 32<<10)
	for {
		n, err := c.tty.Read(buf)
		c.mu.Lock()
		c.seen = append(c.seen, buf[:n]...)
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// types presses keys after forgetting what was drawn.
func (c *client) types(keys string) {
	c.s.t.Helper()
	c.mu.Lock()
	c.seen = nil
	c.mu.Unlock()
	if _, err := c.tty.WriteString(keys); err != nil {
		c.s.t.Fatal(err)
	}
}

func (c *client) sees(text string) {
	c.s.t.Helper()
	c.s.await(text+" at the client", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return strings.Contains(string(c.seen), text)
	})
}

// acts does what a key of bottle's does; the returned function waits for its end,
// popup included.
func (s *server) acts(action string) func() {
	s.t.Helper()
	cmd := s.cmd("run-shell", "-t", "t", `exec "$BOTTLE_SCRIPTS/bottle-tmux" `+action+` "#{pane_id}"`)
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	return func() {
		s.t.Helper()
		if err := cmd.Wait(); err != nil {
			s.t.Errorf("%s: %v", action, err)
		}
	}
}

func (s *server) client(w, h int) *client {
	s.t.Helper()
	s.run("set-hook", "-g", "client-resized", "set-option -g @settled on")
	tty, err := pty.StartWithSize(s.cmd("attach-session", "-t", "t"), &pty.Winsize{Rows: uint16(h), Cols: uint16(w)})
	if err != nil {
		s.t.Fatal(err)
	}
	c := &client{s: s, tty: tty}
	go c.read()
	s.t.Cleanup(func() { tty.Close() })
	// The last that a client does by itself is to tell its size, at which its menu goes.
	s.await("a client", func() bool { return s.run("show-options", "-gqv", "@settled") == "on" })
	return c
}

// await asks again until it is so, less and less often. tmux has no event for what
// is on a screen.
func (s *server) await(what string, so func() bool) {
	s.t.Helper()
	ctx, cancel := rig.Patient(s.t)
	defer cancel()
	for pause := 20 * time.Millisecond; !so(); pause = min(pause*3/2, 200*time.Millisecond) {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			out, _ := s.cmd("capture-pane", "-p", "-t", "t").CombinedOutput()
			s.t.Fatalf("there is no %s; the screen is\n%s", what, out)
		}
	}
}

func (s *server) screen(pane string, flags ...string) string {
	out, _ := s.cmd(append([]string{"capture-pane", "-p", "-t", pane}, flags...)...).Output()
	return string(out)
}

func (s *server) sees(pane, text string) {
	s.t.Helper()
	s.await(strconv.Quote(text)+" in "+pane, func() bool { return strings.Contains(s.screen(pane), text) })
}

func (s *server) keys(pane string, keys ...string) {
	s.t.Helper()
	s.run(append([]string{"send-keys", "-t", pane}, keys...)...)
}

// recorded are programs that print what a test gives them and write down how
// they were called.
type recorded struct {
	t    *testing.T
	dir  string
	path string // the PATH that has them first
}

// A watched program prints a file, and what is appended to it.
const program = `#!/bin/sh
name=${0##*/}
printf '%s\n' "$name $*" >> "$RECORDED/calls"
file="$RECORDED/$name $*"
case " $* " in
*" --watch "*) exec tail -n +1 -f "$file" ;;
esac
[ ! -x "$file" ] || exec "$file"
[ ! -e "$file" ] || exec cat "$file"
`

func record(t *testing.T, bin string) *recorded {
	t.Helper()
	r := &recorded{t: t, dir: t.TempDir()}
	fake := filepath.Join(r.dir, "fake")
	os.Mkdir(fake, 0o755)
	for _, name := range []string{"bottle-ls", "bottle-attach", "bottle-start", "bottle-stop", "bottle-approve", "bottle-edit", "bottle-log"} {
		if err := os.WriteFile(filepath.Join(fake, name), []byte(program), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if bin != "" {
		if err := os.Symlink(filepath.Join(bin, "bottle-dash"), filepath.Join(fake, "bottle-dash")); err != nil {
			t.Fatal(err)
		}
	}
	r.path = fake + ":" + os.Getenv("PATH")
	r.prints("bottle-ls --watch", "")
	r.prints("bottle-ls proposals --watch", "")
	return r
}

func (r *recorded) env() []string { return []string{"RECORDED=" + r.dir, "PATH=" + r.path} }

// prints gives a command line more to print.
func (r *recorded) prints(call, text string) {
	r.t.Helper()
	f, err := os.OpenFile(filepath.Join(r.dir, call), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = f.WriteString(text)
		f.Close()
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *recorded) calls() string {
	text, _ := os.ReadFile(filepath.Join(r.dir, "calls"))
	return string(text)
}

func (r *recorded) called(s *server, call string) {
	r.t.Helper()
	s.await("call of "+call, func() bool { return strings.Contains(r.calls(), call+"\n") })
}
