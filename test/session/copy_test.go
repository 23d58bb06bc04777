package session

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bottle/test/rig"
)

// tmux is the operator's own.
type tmux struct {
	t      *testing.T
	socket string
}

// newTmux shows a bottle's session in a tmux of the operator's, by a command in
// front of bottle-attach.
func newTmux(t *testing.T, r *rig.Rig, slug string, front ...string) *tmux {
	t.Helper()
	dir, err := os.MkdirTemp("", "b") // short: a socket's path has a bound
	if err != nil {
		t.Fatal(err)
	}
	o := &tmux{t, filepath.Join(dir, "s")}
	t.Cleanup(func() {
		o.command("kill-server").Run()
		os.RemoveAll(dir)
	})
	attach := r.Command(t.Context(), "bottle-attach", slug)
	cmd := o.command(append(append([]string{"new-session", "-d", "-x", "80", "-y", "24", "--"}, front...), attach.Args...)...)
	cmd.Env = append(attach.Env, "LC_ALL=C.UTF-8", "TERM=xterm-256color")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return o
}

func (o *tmux) command(args ...string) *exec.Cmd {
	return exec.Command("tmux", append([]string{"-u", "-S", o.socket, "-f", "/dev/null"}, args...)...)
}

func (o *tmux) run(args ...string) string {
	out, _ := o.command(args...).CombinedOutput()
	return strings.TrimRight(string(out), "\n")
}

func (o *tmux) await(what string, holds func() bool) {
	o.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	ctx, cancel := rig.Patient(o.t)
	defer cancel()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			o.t.Fatalf("in %v, not %s; on the screen is\n%s", rig.Patience, what, o.run("capture-pane", "-p"))
		}
	}
}

func (o *tmux) types(keys string) { o.run("send-keys", "-l", keys) }

// shows runs a command line in the session, on a cleared screen.
func (o *tmux) shows(line, text string) {
	o.t.Helper()
	o.types("clear; " + line + "\r")
	o.await("showing "+text, func() bool { return strings.HasPrefix(o.run("capture-pane", "-p"), text) })
}

// drags selects the first columns of the first line.
func (o *tmux) drags(columns int) {
	o.types(fmt.Sprintf("\x1b[<0;1;1M\x1b[<32;2;1M\x1b[<32;%d;1M\x1b[<0;%d;1m", columns+1, columns+1))
}

func TestASelectionIsOnTheOperatorsClipboardAndNothingOfTheAgentsIs(t *testing.T) {
	r := rig.New(t)
	r.Agent("dev")
	slug := r.Start("dev")
	for name, front := range map[string][]string{"in tmux": {"env"}, "as a terminal's": {"env", "-u", "TMUX"}} {
		o := newTmux(t, r, slug, front...)
		if front[len(front)-1] == "TMUX" {
			o.run("set-option", "-s", "set-clipboard", "on") // it takes what programs say of the clipboard
		}
		o.await("showing the session", func() bool { return strings.Contains(o.run("capture-pane", "-p"), ":/work$") })
		o.shows(`printf '\033]52;c;ZXZpbA==\a'; /opt/bottle/bottle-inside selected </etc/hostname && echo evil-$((40+2))`, "")
		o.await("showing the end of it", func() bool { return strings.Contains(o.run("capture-pane", "-p"), "evil-42") })
		if got := o.run("list-buffers"); got != "" {
			t.Errorf("%s: the agent copied %s", name, got)
		}
		o.shows("echo copied-$((40+2)) by hand", "copied-42 by hand")
		o.drags(len("copied-42"))
		o.await(name+" copied", func() bool { return o.run("show-buffer") == "copied-42" })
		if got := o.run("list-buffers", "-F", "#{buffer_sample}"); got != "copied-42" {
			t.Errorf("%s: copied are %q", name, got)
		}
	}
}

func TestTheHistoryIsPrinted(t *testing.T) {
	r := rig.New(t)
	r.Agent("dev")
	slug := r.Start("dev", "--task", "for i in $(seq 2000); do echo line-$i; done; printf '\\033[31mred\\033]52;c;ZXZpbA==\\a\\033[m\\n'; echo all-$((40+2))")
	for tick := time.NewTicker(100 * time.Millisecond); ; <-tick.C {
		if out, _, _ := r.Run("bottle-attach", "--peek", slug); strings.Contains(out, "all-42") {
			break
		}
	}
	out, said, code := r.Run("bottle-attach", "--peek", "--history", slug)
	if code != 0 || !strings.Contains(out, "\nline-1\nline-2\n") || !strings.Contains(out, "\nline-2000\nred\nall-42\n") || strings.ContainsAny(out, "\x1b\a") {
		t.Errorf("%d %s: %d bytes: %.200q", code, said, len(out), out)
	}
	if out, said, code := r.Run("bottle-attach", "--peek", "--history", "--color", slug); code != 0 || !strings.Contains(out, "\x1b[31mred") || strings.Contains(out, "\x1b]") {
		t.Errorf("%d %s: %d bytes: %.200q", code, said, len(out), out)
	}
	if _, said, code := r.Run("bottle-attach", "--history", slug); code != 2 || !strings.Contains(said, "goes with --peek") {
		t.Errorf("%d %s", code, said)
	}
}
