package session

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"bottle/pkg/frame"
)

func (b *box) run(in io.Reader, argv ...string) (code int, out, errOut string) {
	b.Helper()
	var o, e bytes.Buffer
	code, err := Run(b.Context(), b.e, "", argv, in, &o, &e)
	if err != nil {
		b.Fatal(err)
	}
	return code, o.String(), e.String()
}

func TestACommandHasTheSessionsEnvironmentAndItsStreamsApart(t *testing.T) {
	b := newBox(t, shell...)
	code, out, errOut := b.run(strings.NewReader("input"), "sh", "-c", `cat; echo " $TOKEN $PWD"; echo wrong >&2; exit 5`)
	if code != 5 || out != "input swordfish-0123456789 "+b.dir+"\n" || errOut != "wrong\n" {
		t.Errorf("%d %q %q", code, out, errOut)
	}
}

func TestACommandsExitCodeIsReturned(t *testing.T) {
	b := newBox(t, shell...)
	for want, argv := range map[int][]string{0: {"true"}, 3: {"sh", "-c", "exit 3"}, 137: {"sh", "-c", "kill -9 $$"},
		127: {"nonsuch"}, 126: {b.dir}} {
		if code, _, _ := b.run(nil, argv...); code != want {
			t.Errorf("%v: %d, not %d", argv, code, want)
		}
	}
	if _, _, errOut := b.run(nil, "nonsuch"); !strings.Contains(errOut, "nonsuch") {
		t.Errorf("an unknown command is not named: %q", errOut)
	}
}

func TestPipesCarryMuchInBothDirectionsUnchanged(t *testing.T) {
	b := newBox(t, shell...)
	big := bytes.Repeat([]byte("\x00\x1b]52;c;\x07\xff0123456789abcdef\n"), 300_000)
	code, out, _ := b.run(bytes.NewReader(big), "cat")
	if code != 0 || out != string(big) {
		t.Errorf("%d; %d bytes of %d", code, len(out), len(big))
	}
	if code, out, _ := b.run(bytes.NewReader(big), "head", "-c", "4"); code != 0 || len(out) != 4 {
		t.Errorf("a command that leaves its input unread: %d %q", code, out)
	}
}

func TestAKilledClientEndsItsCommand(t *testing.T) {
	b := newBox(t, shell...)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "sh", "-c", "echo $$; exec sleep 1000")
	cmd.Env = append(append(os.Environ(), b.e.env...), "BE=run")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 32)
	n, _ := out.Read(buf)
	pid, err := strconv.Atoi(strings.TrimSpace(string(buf[:n])))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	b.eventually("without the command", func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) })
}

func TestACommandOnATerminalGetsOne(t *testing.T) {
	b := newBox(t, shell...)
	v := b.view("run", 91, 17, "sh", "-c", `stty size; read -r line; echo "got $line $TERM"; exit 9`)
	v.sees("17 91")
	v.types("\x11\x11\x7f\x7fkey\r") // no detach keys here
	v.sees("key xterm-256color")
	if code := v.ends(); code != 9 {
		t.Errorf("ended with %d", code)
	}
	lost := b.view("run", 80, 24, "sh", "-c", "echo $$-pid; exec sleep 1000")
	lost.sees("-pid")
	fields := strings.Fields(strings.ReplaceAll(lost.all(), "-pid", ""))
	pid, err := strconv.Atoi(fields[0])
	if err != nil {
		t.Fatal(err)
	}
	lost.cmd.Process.Kill()
	b.eventually("without the command", func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) })
}

func TestPeekPrintsTheScreenFiltered(t *testing.T) {
	b := newBox(t, "sh", "-c", `printf '\033[31mred\033[m\nplain \033]0;title\007\033[1mdone'; exec cat`)
	b.eventually("drawn", func() bool { return strings.Contains(b.tmux("capture-pane", "-p"), "done") })
	for level, want := range map[Level]string{Text: "red\nplain done\n", Colours: "\x1b[31mred"} {
		var out bytes.Buffer
		if err := Peek(t.Context(), b.e, "", &out, level); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); level == Text && got != want || !strings.HasPrefix(got, want) {
			t.Errorf("level %d: %q", level, got)
		}
	}
	b.tmux("send-keys", "C-d")
	if code, err := Wait(t.Context(), b.e, ""); code != 0 || err != nil {
		t.Fatal(code, err)
	}
	var out bytes.Buffer
	if err := Peek(t.Context(), b.e, "", &out, Text); err != nil || !strings.HasPrefix(out.String(), "red\nplain done") {
		t.Errorf("after the end: %q %v", out.String(), err)
	}
}

func TestAForgedScreenIsLinesAndNothingElse(t *testing.T) {
	for in, want := range map[string]string{
		"one\rtwo\b\a\n\x1b[2K\x1b[A\x1b[31mred": "onetwo\n\x1b[31mred\x1b[m\n",
		"":                                       "", "\n": "\n",
	} {
		var out bytes.Buffer
		if err := Peek(t.Context(), flood{stream: in}, "", &out, Screen); err != nil || out.String() != want {
			t.Errorf("%q: %q, %v", in, out.String(), err)
		}
	}
	for _, long := range []string{strings.Repeat("\n", 5000), strings.Repeat("x", 3<<20), "\x1b]" + strings.Repeat("x", 3<<20)} {
		var out bytes.Buffer
		if err := Peek(t.Context(), flood{stream: long}, "", &out, Text); err == nil || out.Len() > 0 {
			t.Errorf("%d bytes: %v", out.Len(), err)
		}
	}
}

func TestAScreenThatDoesNotComeIsNotWaitedFor(t *testing.T) {
	defer func(b bounds) { screenBounds = b }(screenBounds)
	screenBounds.wait = time.Millisecond
	err := Peek(t.Context(), deaf{called: make(chan struct{})}, "", io.Discard, Text)
	if err == nil || !strings.Contains(err.Error(), "did not come in time") {
		t.Error(err)
	}
}

func TestWhereNoSessionWasStartedThatIsSaid(t *testing.T) {
	b := newBox(t)
	if err := Peek(t.Context(), b.e, "", io.Discard, Text); !errors.Is(err, ErrNoSession) {
		t.Errorf("peek: %v", err)
	}
	if _, err := Wait(t.Context(), b.e, ""); !errors.Is(err, ErrNoSession) {
		t.Errorf("wait: %v", err)
	}
}

func TestStartTellsWhyItFailed(t *testing.T) {
	b := newBox(t)
	if err := b.start("nonsuch-agent"); err == nil || !strings.Contains(err.Error(), "nonsuch-agent") {
		t.Errorf("an unknown program: %v", err)
	}
	if err := b.start(shell...); err != nil {
		t.Errorf("after a failed start: %v", err)
	}
	if err := b.start(shell...); !errors.Is(err, ErrLives) {
		t.Errorf("a second session: %v", err)
	}
	if err := Start(t.Context(), b.e, "", frame.Start{}); err == nil {
		t.Error("a session of nothing starts")
	}
}

func TestSecretsAreInNoFileAndNoCommandLine(t *testing.T) {
	b := newBox(t, shell...)
	files, err := filepath.Glob(filepath.Join(b.dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if fi, err := os.Stat(f); err != nil || !fi.Mode().IsRegular() {
			continue
		}
		if content, _ := os.ReadFile(f); bytes.Contains(content, []byte("swordfish")) {
			t.Errorf("%s holds the secret", f)
		}
	}
	if out, _ := exec.Command("ps", "axww", "-o", "args").Output(); bytes.Contains(out, []byte("swordfish")) {
		t.Error("a command line holds the secret")
	}
	v := b.attach(80, 24)
	v.types("echo =$TOKEN= =$TMUX=\r")
	v.sees("=swordfish-0123456789= ==")
}

func TestDetachKeysAreFoundHoweverTheyArrive(t *testing.T) {
	for _, c := range []struct {
		keys, typed, pass string
		detach            bool
	}{
		{"ctrl-q,ctrl-q", "abc", "abc", false},
		{"ctrl-q,ctrl-q", "a\x11\x11b", "a", true},
		{"ctrl-q,ctrl-q", "a\x11b\x11", "a\x11b", false},
		{"ctrl-p,ctrl-q", "\x10\x10\x11", "\x10", true},
		{"a,a,b", "aaab", "a", true},
		{"ctrl-],.", "\x1d\x1d.", "\x1d", true},
		{"none", "\x11\x11", "\x11\x11", false},
	} {
		keys, err := ParseKeys(c.keys)
		if err != nil {
			t.Fatal(err)
		}
		whole := detector{keys: keys}
		pass, detach := whole.feed([]byte(c.typed))
		if string(pass) != c.pass || detach != c.detach {
			t.Errorf("%s: %q passes %q, %v", c.keys, c.typed, pass, detach)
		}
		apart, passed := detector{keys: keys}, ""
		for i := range c.typed {
			p, d := apart.feed([]byte(c.typed[i : i+1]))
			if passed += string(p); d {
				break
			}
		}
		if passed != c.pass {
			t.Errorf("%s: key by key, %q passes %q", c.keys, c.typed, passed)
		}
	}
	for _, bad := range []string{"", "ctrl-", "ctrl-1", "ab", "ctrl-p,", "\x1b", "ctrl-é"} {
		if keys, err := ParseKeys(bad); err == nil {
			t.Errorf("%q is read as %q", bad, keys)
		}
	}
}
