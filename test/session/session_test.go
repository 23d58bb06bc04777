// Package session tests the agent's session on a real engine: a viewer that is
// lost, one that comes back, commands in pipes.
package session

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"bottle/test/rig"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }

// viewer is a bottle-attach on a terminal of its own.
type viewer struct {
	t    *testing.T
	cmd  *exec.Cmd
	tty  *os.File
	mu   sync.Mutex
	seen []byte
	pos  int
	more chan struct{}
	done chan struct{}
}

func attach(t *testing.T, r *rig.Rig, args ...string) *viewer {
	t.Helper()
	v := &viewer{t: t, cmd: r.Command(context.Background(), "bottle-attach", args...), more: make(chan struct{}, 1), done: make(chan struct{})}
	v.cmd.Env = append(v.cmd.Env, "TERM=xterm-256color")
	tty, err := pty.StartWithSize(v.cmd, &pty.Winsize{Rows: 24, Cols: 90})
	if err != nil {
		t.Fatal(err)
	}
	v.tty = tty
	go v.read()
	go func() {
		v.cmd.Wait()
		close(v.done)
	}()
	t.Cleanup(func() {
		v.cmd.Process.Kill()
		tty.Close()
	})
	return v
}

func (v *viewer) read() {
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

// sees waits until text was drawn, after what was waited for before.
func (v *viewer) sees(text string) {
	v.t.Helper()
	for limit := time.After(rig.Patience); ; {
		v.mu.Lock()
		left := string(v.seen[v.pos:])
		v.mu.Unlock()
		if i := strings.Index(left, text); i >= 0 {
			v.pos += i + len(text)
			return
		}
		select {
		case <-v.more:
		case <-limit:
			v.t.Fatalf("no %q in %q", text, left)
		}
	}
}

func (v *viewer) types(text string) {
	v.t.Helper()
	if _, err := v.tty.WriteString(text); err != nil {
		v.t.Fatal(err)
	}
}

func (v *viewer) ends() int {
	v.t.Helper()
	select {
	case <-v.done:
	case <-time.After(rig.Patience):
		v.t.Fatal("bottle-attach does not end")
	}
	return v.cmd.ProcessState.ExitCode()
}

// processes are the command lines in the agent's container.
func processes(r *rig.Rig, slug string) string {
	return r.Docker("top", "bottle-"+slug+"-agent-1", "axww", "-o", "pid,args")
}

// without waits until no process has what in its command line.
func without(t *testing.T, r *rig.Rig, slug, what string) {
	t.Helper()
	until(t, what+" is gone", func() bool { return !strings.Contains(processes(r, slug), what) })
}

func TestASessionAndItsViewers(t *testing.T) {
	r := rig.New(t)
	r.Agent("dev")
	slug := r.Start("dev")
	t.Run("a session outlives its viewers, and they leave nothing", func(t *testing.T) { sessionOutlivesItsViewers(t, r, slug) })
	t.Run("a bottle without records can be attached", func(t *testing.T) { bottleWithoutRecords(t, r, slug) })
}

func sessionOutlivesItsViewers(t *testing.T, r *rig.Rig, slug string) {
	const viewing = "bottle-inside view"

	v := attach(t, r, slug)
	v.types("echo first-$((40+2))\r")
	v.sees("first-42")
	if !strings.Contains(processes(r, slug), viewing) {
		t.Fatal("there is no viewer to lose: the test proves nothing")
	}
	v.cmd.Process.Kill()
	v.ends()
	without(t, r, slug, viewing)
	without(t, r, slug, "attach-session")

	one, two := attach(t, r, slug), attach(t, r, slug)
	one.sees("first-42")
	two.sees("first-42")
	two.types("stty size\r")
	one.sees("24 90")
	one.tty.Close() // the terminal's window is closed
	one.ends()
	two.types("\x11\x11")
	if code := two.ends(); code != 0 {
		t.Errorf("detaching ended with %d", code)
	}
	two.sees("goes on")
	without(t, r, slug, viewing)
	without(t, r, slug, "attach-session")

	if out, _, code := r.Run("bottle-attach", "--peek", slug); code != 0 || !strings.Contains(out, "first-42") || strings.Contains(out, "\x1b") {
		t.Errorf("peek: %d %q", code, out)
	}
	last := attach(t, r, slug)
	last.sees("first-42")
	last.types("exit 7\r")
	last.sees("ended with exit code 7")
	last.ends()
	if _, said, code := r.Run("bottle-attach", "--peek", slug); code != 0 {
		t.Errorf("the last screen: %d %s", code, said)
	}
	r.AwaitActivity("exited") // its viewers may be told before
	if a := r.Bottles()[0]; a.Activity != "exited" || a.Status != "running" {
		t.Errorf("after the agent's end it is %s, and its agent %s", a.Status, a.Activity)
	}
	again := attach(t, r, slug) // which starts a session in the place of that one
	again.sees("$ ")
	again.types("echo again-$((40+2))\r")
	again.sees("again-42")
	again.types("\x11\x11")
	if code := again.ends(); code != 0 {
		t.Errorf("detaching ended with %d", code)
	}
}

// What is done beside the session.
func TestCommandsPortsAndTheActivityFile(t *testing.T) {
	r := rig.New(t)
	r.Agent("dev")
	slug := r.Start("dev")
	t.Run("commands work in pipes", func(t *testing.T) { commandsWorkInPipes(t, r, slug) })
	t.Run("an agent can plant nothing beside its activity", func(t *testing.T) { nothingIsPlantedBesideTheActivity(t, r, slug) })
	t.Run("a server in the bottle is reached from the loopback", func(t *testing.T) { serverIsReachedFromTheLoopback(t, r, slug) }) // last: it stops the bottle
}

func commandsWorkInPipes(t *testing.T, r *rig.Rig, slug string) {
	big := bytes.Repeat([]byte("\x00\xff\x1b]52;c;x\x07 0123456789\n"), 200_000)
	cmd := r.Command(t.Context(), "bottle-attach", slug, "--", "cat")
	cmd.Stdin = bytes.NewReader(big)
	if out, err := cmd.Output(); err != nil || !bytes.Equal(out, big) {
		t.Errorf("%d bytes of %d came back: %v", len(out), len(big), err)
	}
	for range 10 { // the engine may tell of the output's end before the command's
		if out, said, code := r.Inside(slug, "sh", "-c", "echo out; echo err >&2; exit 9"); code != 9 || out != "out\n" || said != "err\n" {
			t.Fatalf("%d %q %q", code, out, said)
		}
	}
	if _, said, code := r.Inside(slug, "nonsuch"); code != 127 || !strings.Contains(said, "nonsuch") {
		t.Errorf("an unknown command: %d %q", code, said)
	}
	lost := r.Command(t.Context(), "bottle-attach", slug, "--", "sleep", "987")
	if err := lost.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, "it runs", func() bool { return strings.Contains(processes(r, slug), "sleep 987") })
	lost.Process.Signal(syscall.SIGKILL)
	lost.Wait()
	without(t, r, slug, "sleep 987")
	tty := attach(t, r, slug, "--", "sh", "-c", "stty size; exit 5")
	tty.sees("24 90")
	if code := tty.ends(); code != 5 {
		t.Errorf("on a terminal it ended with %d", code)
	}
}
