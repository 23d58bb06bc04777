package session

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"bottle/pkg/engine"
)

// outer shows a box's session inside of a second tmux, which plays the
// operator's terminal: what it shows is what he would see.
type outer struct {
	*box
	socket string
}

func (b *box) outer() *outer {
	o := &outer{b, filepath.Join(b.dir, "outer.sock")}
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	args := []string{"new-session", "-d", "-x", "80", "-y", "24"}
	for _, kv := range append(b.e.env, "BE=attach") {
		args = append(args, "-e", kv)
	}
	o.Cleanup(func() { o.ask("kill-server") })
	if out := o.ask(append(args, self, "outer")...); out != "" {
		b.Fatal(out)
	}
	return o
}

func (o *outer) ask(args ...string) string {
	out, _ := exec.Command("tmux", append([]string{"-u", "-f", "/dev/null", "-S", o.socket}, args...)...).CombinedOutput()
	return strings.TrimSpace(string(out))
}

func (o *outer) shows(text string) {
	o.Helper()
	o.eventually("showing "+text, func() bool { return strings.Contains(o.ask("capture-pane", "-p"), text) })
}

// wheel turns the mouse's wheel as a terminal reports it.
func (o *outer) wheel(button string) {
	o.ask("send-keys", "-l", "\x1b[<"+button+";5;5M")
}

func TestWheelAndPageUpScrollBackAndAnyKeyReturns(t *testing.T) {
	b := newBox(t, "sh", "-c", "seq -f line-%g 1 200; echo the-end; exec cat")
	o := b.outer()
	o.shows("the-end")
	o.wheel("64")
	o.shows("line-176")
	o.wheel("65")
	o.ask("send-keys", "PageUp")
	o.shows("line-160")
	o.ask("send-keys", "x")
	o.shows("the-end")
	if pane := b.tmux("display", "-p", "#{pane_in_mode}"); pane != "0" {
		b.eventually("out of the copy mode", func() bool { return b.tmux("display", "-p", "#{pane_in_mode}") == "0" })
	}
}

func TestWhatIsTypedOrPastedWhileScrolledBackArrivesWhole(t *testing.T) {
	b := newBox(t, "bash", "-c", `seq -f line-%g 1 200; stty raw -echo; printf '\033[?2004hthe-end'; exec cat -v`)
	o := b.outer()
	o.shows("the-end")
	o.wheel("64")
	o.shows("line-176")
	o.ask("send-keys", "-l", "yes.")
	o.shows("the-endyes.")
	o.wheel("64")
	o.shows("line-176")
	o.ask("send-keys", "-l", "\x1b[200~one\ntwo\x1b[201~")
	o.shows("the-endyes.^[[200~one")
	o.shows("two^[[201~")
	// The keys that would do something to an agent only leave.
	for _, key := range []string{"Escape", "Enter", "C-c"} {
		o.wheel("64")
		o.shows("line-176")
		o.ask("send-keys", key)
		o.shows("the-end")
	}
	o.ask("send-keys", "-l", ".")
	o.shows("two^[[201~.")
}

func TestTheMouseReachesAProgramThatWantsIt(t *testing.T) {
	b := newBox(t, "bash", "-c", `stty raw -echo; printf '\033[?1000h\033[?1006hready'; dd bs=1 count=10 2>/dev/null | tr '\033' E; exec sleep 1000`)
	o := b.outer()
	o.shows("ready")
	o.wheel("64")
	o.shows("E[<64;5;5M")
}

func TestColoursAndWideCharactersAreShown(t *testing.T) {
	b := newBox(t, "sh", "-c", `printf '\033[38;2;1;2;3mžluť 漢字\033[m plain'; exec cat`)
	o := b.outer()
	o.shows("žluť 漢字 plain")
	if got := o.ask("capture-pane", "-p", "-e"); !strings.Contains(got, "\x1b[38;2;1;2;3mžluť 漢字") {
		t.Errorf("without its colours: %q", got)
	}
}

// flood is an engine whose container sends what no honest one does.
type flood struct {
	engine.Engine
	stream string
}

func (f flood) Exec(_ context.Context, _ string, x engine.Exec) (int, error) {
	for chunk := range strings.SplitAfterSeq(f.stream, "2") {
		if _, err := io.WriteString(x.Stdout, chunk); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

const hostileStream = "before\x1b]52;c;ZWNobwo=\x07\x1b]0;title\x07\x1b[c\x1b[6n\x1b[21t\x1bP$qm\x1b\\\x1b[3J\x1bc\x9b5n" +
	"\x1b[?2026$p\x1bP+q\x1b\\\x1b]8;;http://x\x1b\\link\x1b]8;;\x07\x05\x0e\x1b[?1049h\x1b[?1049l\x1b[?1000h\x1b[5iafter\x1b]52;c;"

func TestAHostileStreamDrawsAndDoesNothingElse(t *testing.T) {
	tty, drawn := terminal(t)
	if _, err := Attach(t.Context(), flood{stream: hostileStream}, "", tty, Options{}); err != nil {
		t.Fatal(err)
	}
	got := drawn()
	if !permitted.MatchString(got) || !strings.Contains(got, "before") || !strings.Contains(got, "after") || !strings.Contains(got, "link") {
		t.Errorf("%q", got)
	}
	before, _, left1049 := strings.Cut(got, "\x1b[?1049l")
	if !left1049 || !strings.Contains(before, "after") || strings.Count(got, "1049") != 2 {
		t.Errorf("the stream left its own screen: %q", got)
	}
	if modes := left(got); modes["1049"] || modes["1000"] {
		t.Errorf("modes left: %v", modes)
	}
}

// torrent is an engine whose container never stops to write.
type torrent struct{ engine.Engine }

func (torrent) Exec(_ context.Context, _ string, x engine.Exec) (int, error) {
	for {
		if _, err := x.Stdout.Write(bytes.Repeat([]byte("\x1b[31mtext"), 100_000)); err != nil {
			return 0, err
		}
	}
}

func TestATerminalThatTakesNothingIsLeftAndPutBack(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "BE=torrent")
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	cmd.Stdin, cmd.Stdout = slave, slave
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	takes := []unix.PollFd{{Fd: int32(slave.Fd()), Events: unix.POLLOUT}}
	for n := 1; n > 0; {
		n, _ = unix.Poll(takes, 10)
	}
	master.WriteString("\x11\x11")
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitDetached {
		t.Errorf("ended with %d", code)
	}
	if mode, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS); err != nil || mode.Lflag&unix.ICANON == 0 {
		t.Errorf("left raw: %v, %v", mode, err)
	}
	slave.Close()
	drawn, _ := io.ReadAll(master)
	if !bytes.HasSuffix(drawn, []byte("\x1b[m\x1b[?1049l")) {
		t.Errorf("left as it is: %q", drawn[max(0, len(drawn)-100):])
	}
}

// deaf is an engine that takes no input and says nothing.
type deaf struct {
	engine.Engine
	called chan struct{}
}

func (d deaf) Exec(ctx context.Context, _ string, _ engine.Exec) (int, error) {
	close(d.called)
	<-ctx.Done()
	return 0, ctx.Err()
}

func TestAnEngineThatHangsCanBeLeft(t *testing.T) {
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer slave.Close()
	go io.Copy(io.Discard, master)
	e := deaf{called: make(chan struct{})}
	go func() {
		<-e.called // the terminal is raw by then
		for _, key := range []string{"\x03", "help", "\x11", "\x11"} {
			master.WriteString(key)
		}
	}()
	keys, _ := ParseKeys(DefaultDetachKeys)
	if o, err := Attach(t.Context(), e, "", Terminal{slave, slave}, Options{DetachKeys: keys}); err != nil || o.Ended {
		t.Errorf("%v, %v", o, err)
	}
}
