package session

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"bottle/pkg/engine"
	"bottle/pkg/frame"
	"bottle/pkg/plan"
)

func TestSessionSurvivesAKilledViewerAndKeepsNoClient(t *testing.T) {
	b := newBox(t, shell...)
	v := b.attach(80, 24)
	v.types("echo alive-$((40+2))\r")
	v.sees("alive-42")
	v.cmd.Process.Kill()
	v.ends()
	b.noClients()
	again := b.attach(80, 24)
	again.sees("alive-42")
	again.types("echo still-$((40+2))\r")
	again.sees("still-42")
}

func TestTwoMayLookAtOnce(t *testing.T) {
	b := newBox(t, shell...)
	one, two := b.attach(80, 24), b.attach(100, 30)
	one.sees("$ ")
	two.sees("$ ")
	one.types("echo from-$((1))\r")
	two.sees("from-1")
	two.types("echo from-$((2))\r")
	one.sees("from-2")
	two.types("\x11\x11")
	if code := two.ends(); code != exitDetached {
		t.Fatalf("detaching ended with %d", code)
	}
	one.types("echo from-$((3))\r")
	one.sees("from-3")
}

// A signal that comes just before bash waits is acted on when the wait is over.
func TestSizeArrivesAtTheStartAndAtEveryChange(t *testing.T) {
	b := newBox(t, "bash", "-c", `trap 'stty size' WINCH; echo ready; while :; do sleep 1 & wait; done`)
	b.eventually("ready", func() bool { return strings.Contains(b.tmux("capture-pane", "-p"), "ready") })
	v := b.attach(101, 31)
	v.sees("31 101")
	pty.Setsize(v.tty, &pty.Winsize{Cols: 67, Rows: 19})
	v.sees("19 67")
}

func TestDetachKeysLeaveTheSessionAndOthersReachIt(t *testing.T) {
	b := newBox(t, "sh", "-c", `stty raw -echo; printf 'ready\r\n'; dd bs=1 count=3 2>/dev/null | od -An -tx1; exec sleep 1000`)
	v := b.attach(80, 24)
	v.sees("ready")
	v.types("\x11a\x1c") // the first of the keys alone, then others
	v.sees("11 61 1c")
	v.types("\x11")
	v.types("\x11")
	if code := v.ends(); code != exitDetached {
		t.Fatalf("ended with %d", code)
	}
	b.noClients()
	if b.tmux("list-sessions") == "" {
		t.Fatal("detaching ended the session")
	}
}

func TestKeysTypedBeforeTheScreenIsThereAreTheAgents(t *testing.T) {
	b := newBox(t, "sh", "-c", `stty raw -echo; echo ready; dd bs=1 count=5 2>/dev/null | od -An -tx1; exec sleep 1000`)
	b.eventually("ready", func() bool { return strings.Contains(b.tmux("capture-pane", "-p"), "ready") })
	in, pipe := io.Pipe()
	defer pipe.Close()
	go frame.NewWriter(pipe).Write([]byte("\x03\x1c\x04\r."))
	go b.e.Exec(t.Context(), "", engine.Exec{Cmd: []string{plan.InsideBin, "view"}, Stdin: in})
	b.eventually("given the keys", func() bool { return strings.Contains(b.tmux("capture-pane", "-p"), "03 1c 04 0d 2e") })
}

func TestKeysTypedJustBeforeTheViewEndsArrive(t *testing.T) {
	b := newBox(t, shell...)
	for i := range 8 {
		var in bytes.Buffer
		frame.NewWriter(&in).Write(fmt.Appendf(nil, "echo kept-$((%d))\r", i))
		if _, err := b.e.Exec(t.Context(), "", engine.Exec{Cmd: []string{plan.InsideBin, "view"}, Stdin: &in}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 8 {
		line := fmt.Sprintf("kept-%d", i) // a prompt may stand before it
		b.eventually("showing "+line, func() bool { return strings.Contains(b.tmux("capture-pane", "-p"), line) })
	}
}

func TestADumbTerminalIsToldSoAndStillRunsCommands(t *testing.T) {
	b := newBox(t, shell...)
	tty, drawn := terminal(t)
	if _, err := Attach(t.Context(), b.e, "", tty, Options{Term: "dumb"}); !errors.Is(err, ErrDumb) {
		t.Errorf("a session: %v", err)
	}
	if o, err := Attach(t.Context(), b.e, "", tty, Options{Term: "dumb", Cmd: []string{"sh", "-c", "echo $TERM"}}); err != nil || o.Code != 0 {
		t.Errorf("a command: %v, %v", o, err)
	}
	if got := drawn(); !strings.Contains(got, "dumb") || strings.Contains(got, "1049") {
		t.Errorf("%q", got)
	}
}

func TestARedrawIsSynchronised(t *testing.T) {
	b := newBox(t, shell...)
	v := b.attach(80, 24)
	v.sees("\x1b[?2026h")
	v.sees("\x1b[?2026l")
}

func TestTheAgentsExitCodeIsReturned(t *testing.T) {
	b := newBox(t, shell...)
	v := b.attach(80, 24)
	v.types("echo why-$((1)); exit 7\r")
	if code := v.ends(); code != 7 {
		t.Fatalf("ended with %d", code)
	}
	<-v.eof
	// The alternate screen is gone; the reason for a failure is not.
	_, after, ok := strings.Cut(v.text(), "\x1b[?1049l")
	if !ok || !strings.Contains(after, "why-1") {
		t.Errorf("the last screen is not left to read: %q", v.text())
	}
	tty, _ := terminal(t)
	if _, err := Attach(t.Context(), b.e, "", tty, Options{}); !errors.Is(err, ErrNoSession) {
		t.Errorf("attaching to an ended session: %v", err)
	}
	if code, err := Wait(t.Context(), b.e, ""); code != 7 || err != nil {
		t.Errorf("wait: %d, %v", code, err)
	}
}

func TestAnAgentKilledBySignalCountsAs128AndItsNumber(t *testing.T) {
	b := newBox(t, shell...)
	v := b.attach(80, 24)
	v.types("kill -KILL $$\r")
	if code := v.ends(); code != 137 {
		t.Fatalf("ended with %d", code)
	}
}

func TestAnAgentThatStopsItselfIsContinued(t *testing.T) {
	b := newBox(t, "bash", "-c", `kill -STOP $$; echo awake-$((1)); exec sleep 1000`)
	v := b.attach(80, 24)
	v.sees("awake-1")
}

// left says which private modes a stream leaves set.
func left(stream string) map[string]bool {
	set := map[string]bool{}
	for _, m := range regexp.MustCompile(`\x1b\[\?(\d+)([hl])`).FindAllStringSubmatch(stream, -1) {
		if set[m[1]] = m[2] == "h"; !set[m[1]] {
			delete(set, m[1])
		}
	}
	return set
}

const anyCode = -1

func TestTheTerminalIsPutBackHoweverItEnds(t *testing.T) {
	script := `printf '\033[?1003h\033[?1006h\033[?2004h\033[?25l\033[31m\033[?1049hready'; exec cat`
	for name, c := range map[string]struct {
		end  func(v *viewer)
		code int
	}{
		"detached":       {func(v *viewer) { v.types("\x11\x11") }, exitDetached},
		"ended":          {func(v *viewer) { v.types("\x04") }, 0},
		"SIGTERM":        {func(v *viewer) { v.cmd.Process.Signal(syscall.SIGTERM) }, 143},
		"SIGHUP":         {func(v *viewer) { v.cmd.Process.Signal(syscall.SIGHUP) }, 129},
		"SIGINT":         {func(v *viewer) { v.cmd.Process.Signal(syscall.SIGINT) }, 130},
		"server killed":  {func(v *viewer) { v.tmux("kill-server") }, anyCode}, // by a hang-up, or the failed read
		"viewer evicted": {func(v *viewer) { v.tmux("detach-client", "-a"); v.tmux("detach-client", "-s", "main") }, 98},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t, "sh", "-c", script)
			before := freshTerminal(t) // the viewer's own may be raw before we can look
			v := b.attach(80, 24)
			v.sees("ready")
			raw, _ := unix.IoctlGetTermios(int(v.tty.Fd()), unix.TCGETS)
			if raw.Lflag&unix.ICANON != 0 {
				t.Fatal("the terminal is not raw")
			}
			c.end(v)
			if code := v.ends(); code != c.code && c.code != anyCode {
				t.Errorf("ended with %d, not %d: %q", code, c.code, v.text())
			}
			<-v.eof
			after, err := unix.IoctlGetTermios(int(v.tty.Fd()), unix.TCGETS)
			if err != nil || before.Lflag|unix.PENDIN != after.Lflag|unix.PENDIN || before.Iflag != after.Iflag || before.Oflag != after.Oflag {
				t.Errorf("line settings: %+v, before %+v (%v)", after, before, err)
			}
			stream := v.all()
			got := left(stream)
			if delete(got, "7"); len(got) != 1 || !got["25"] {
				t.Errorf("modes left: %v", got)
			}
			if !permitted.MatchString(stream) {
				t.Errorf("drew what is not permitted: %q", stream)
			}
		})
	}
}

// freshTerminal returns the settings that every new terminal has.
func freshTerminal(t *testing.T) *unix.Termios {
	t.Helper()
	control, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	defer tty.Close()
	settings, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return settings
}
