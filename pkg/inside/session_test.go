package inside

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/frame"
)

// bed is a container of one test's own, with what the host gives it.
type bed struct {
	t       *testing.T
	command func(...string) *exec.Cmd
	session session
	out     string // the activity's directory
	dir     string // where the session runs
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := newBedBeside(t)
	t.Setenv("BOTTLE_OUT", b.out)
	t.Setenv("BOTTLE_SESSION", b.session.dir)
	return b
}

// newBedBeside is newBed for a test that runs beside others.
func newBedBeside(t *testing.T) *bed {
	t.Helper()
	b := &bed{t: t, out: t.TempDir(), dir: t.TempDir()}
	if err := os.WriteFile(filepath.Join(b.out, bottle.ActivityFile), bottle.ActivityRecord(bottle.Idle, 0), 0o666); err != nil {
		t.Fatal(err)
	}
	b.session, b.command = containerBeside(t, "BOTTLE_OUT="+b.out)
	return b
}

func (b *bed) start(doc frame.Start) {
	b.t.Helper()
	doc.Dir = b.dir
	text, err := json.Marshal(doc)
	if err != nil {
		b.t.Fatal(err)
	}
	b.run(string(text), "start")
}

func (b *bed) run(in string, args ...string) string {
	b.t.Helper()
	c := b.command(args...)
	c.Stdin = strings.NewReader(in)
	out, err := c.CombinedOutput()
	if err != nil {
		b.t.Fatalf("%v: %s: %v", args, out, err)
	}
	return string(out)
}

// does waits until the activity is said to be this.
func (b *bed) does(a string) {
	b.t.Helper()
	await(b.t, "grep -q '^"+a+" *$' "+filepath.Join(b.out, bottle.ActivityFile))
}

func sh(script string, args ...string) []string {
	return append([]string{"bash", "-c", script, "bash"}, args...)
}

func TestWhereThereIsNothingToContinueAFreshSessionTakesThePane(t *testing.T) {
	b := newBed(t)
	b.start(frame.Start{Resume: true, Continue: sh("echo No conversation found; seq 100; exit 1"),
		Argv: sh("echo fresh session for $1; >fresh; sleep 1000", "a 'b' \"c\"")})
	await(t, "[ -e "+b.dir+"/fresh ]")
	b.does("idle")
	screen := b.run("", "peek")
	if !strings.Contains(screen, `fresh session for a 'b' "c"`) || strings.Contains(screen, "No conversation") || strings.Contains(screen, "100") {
		t.Errorf("the screen:\n%s", screen)
	}
}

func TestAConversationThatWentOnIsNotBegunAfresh(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		script string
		code   int
	}{
		"it told of itself": {self + " activity waiting; exit 1", 1},
		"it ended well":     {"exit 0", 0},
		"it was killed":     {"kill -KILL $$", 137},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			b.start(frame.Start{Resume: true, Continue: sh(c.script), Argv: sh(">fresh")})
			if got := code(b.command("wait").Run()); got != c.code {
				t.Errorf("it ended with %d", got)
			}
			if _, err := os.Stat(filepath.Join(b.dir, "fresh")); err == nil {
				t.Error("a fresh session was started")
			}
		})
	}
}

func TestWithoutAWishToResumeNothingIsContinued(t *testing.T) {
	b := newBed(t)
	b.start(frame.Start{Continue: sh(">continued; sleep 1000"), Argv: sh(">fresh; sleep 1000")})
	await(t, "[ -e "+b.dir+"/fresh ]")
	if _, err := os.Stat(filepath.Join(b.dir, "continued")); err == nil {
		t.Error("the last conversation goes on")
	}
}

func TestActivityFollowsTheSession(t *testing.T) {
	b := newBed(t)
	b.start(frame.Start{Terminal: true, Argv: sh("read; exit 7")})
	b.does("idle")
	b.run("", "activity", "working")
	b.does("working")
	file := filepath.Join(b.out, bottle.ActivityFile)
	before, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	b.run("", "activity", "working")
	if after, err := os.Stat(file); err != nil || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("what was told already is told as news: %v", err)
	}
	b.run("", "activity", "waiting")
	b.does("waiting")
	b.run("x", "send")
	b.does("exited 7")
	b.run("", "activity", "working") // a hook that was late
	b.does("exited 7")
	for _, bad := range [][]string{{"activity"}, {"activity", "exited"}, {"activity", "sleeping"}, {"activity", "idle", "idle"}} {
		if out, err := b.command(bad...).CombinedOutput(); code(err) != exitFailed || len(out) == 0 {
			t.Errorf("%v: %v %q", bad, err, out)
		}
	}
	b.start(frame.Start{Argv: sh("sleep 1000")})
	b.does("idle")
}

func TestASessionThatIsAboutToEndIsNoneThatLives(t *testing.T) {
	t.Run("its server", func(t *testing.T) {
		b := newBed(t)
		b.start(frame.Start{Terminal: true, Argv: sh("read; exit 7")})
		out, err := output(theSession().tmux().ServerPID())
		pid, perr := strconv.Atoi(strings.TrimSpace(string(out)))
		if err != nil || perr != nil {
			t.Fatal(err, perr)
		}
		defer syscall.Kill(pid, syscall.SIGKILL)
		if out, err := exec.Command("tmux", "-S", theSession().tmux().Socket, "new-window", "-d", "sleep 1000").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out) // it would be gone too soon without
		}
		b.run("x", "send")
		if got := code(b.command("wait").Run()); got != 7 {
			t.Fatalf("it ended with %d", got)
		}
		b.start(frame.Start{Argv: sh(">second; sleep 1000")})
		await(t, "[ -e "+b.dir+"/second ]")
	})
	t.Run("its keeper", func(t *testing.T) {
		b := newBed(t)
		b.start(frame.Start{Argv: sh("exit 7")})
		b.command("wait").Run()
		keeper, err := theSession().lock(fileLock, syscall.LOCK_EX)
		if err != nil {
			t.Fatal(err)
		}
		defer keeper()
		c := b.command("start")
		c.Stdin = strings.NewReader(`{"argv":["sleep","1000"]}`)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		await(t, fmt.Sprintf("grep -q -- '-> FLOCK.* %d ' /proc/locks", c.Process.Pid))
		keeper()
		if err := c.Wait(); err != nil {
			t.Errorf("beside a keeper that has told of its end: %v", err)
		}
	})
}

func TestBellAndTitleTellOfAgentsThatDoNot(t *testing.T) {
	b := newBed(t)
	b.start(frame.Start{Terminal: true, Argv: sh(`read; printf '\033]2;busy\007'; read; printf '\a'; read`)})
	b.does("idle")
	b.run("x", "send")
	b.does("working")
	b.run("x", "send")
	b.does("waiting")
	b.run("x", "send")
	b.does("exited 0")
}

func TestTextIsTypedInWholeAndSubmitted(t *testing.T) {
	b := newBed(t)
	// It reads keys, and asked for pastes to be marked.
	b.start(frame.Start{Terminal: true, Typed: "first 'task'\nin \"two\" lines\x1b[201~\x03",
		Argv: sh(`stty raw -echo; printf '\033[?2004h'; >ready; cat >typed`)})
	await(t, "[ -e "+b.dir+"/ready ]")
	const first = "\x1b[200~first 'task'\rin \"two\" lines[201~\x1b[201~\r"
	const want = first + "\x1b[200~fix issue 12;\x1b[201~\r"
	typed := func(n int) { await(t, fmt.Sprintf("[ $(wc -c <%s/typed) -ge %d ]", b.dir, n)) }
	typed(len(first))
	b.run("fix issue 12;\n", "send")
	typed(len(want))
	if got, err := os.ReadFile(filepath.Join(b.dir, "typed")); err != nil || string(got) != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	c := b.command("send")
	c.Stdin = strings.NewReader("\x1b\x00\n")
	if out, err := c.CombinedOutput(); err == nil || !strings.Contains(string(out), "nothing to type") {
		t.Errorf("nothing is sent: %q %v", out, err)
	}
}

// One that tells what it does is asked again until it says that it works.
func TestATextThatIsNotTakenUpIsSubmittedAgain(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b := newBed(t)
	b.start(frame.Start{Typed: "go on", Argv: sh("stty raw -echo; " + self + " activity waiting; head -c 7 >typed; " + self + " activity working; cat >more")})
	b.does("working")
	if got, err := os.ReadFile(filepath.Join(b.dir, "typed")); err != nil || string(got) != "go on\r\r" {
		t.Errorf("%q, %v", got, err)
	}
}

// One that throws away what comes while it is being loaded is sent it again, and one
// that shows it and does not work at it gets the key alone.
func TestATextThatIsLostIsSentAgain(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ text, first, want string }{
		"thrown away":        {"go on", "head -c 6 >first; head -c 6 >>first; " + self + " activity working", "go on\rgo on\r"},
		"shown":              {"go on", "head -c 6 | tee first; head -c 1 >>first; " + self + " activity working", "go on\r\r"},
		"of many lines":      {"go\non", "head -c 6 >first; head -c 1 >>first; " + self + " activity working", "go\ron\r\r"},
		"a command":          {"/do", "head -c 4 | tee first", "/do\r"},
		"worked at and done": {"go on", "head -c 6 >first; " + self + " activity working; " + self + " activity waiting", "go on\r"},
		"not read yet":       {"go on", ">first; while ! [ -e ended ]; do sleep 0.1; done", "go on\r"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they wait, most of the time
			b := newBedBeside(t)
			b.start(frame.Start{Argv: sh("stty raw -echo; " + self + " activity waiting; " + c.first + "; >took; cat >>first")})
			b.does("waiting")
			old := time.Now().Add(-time.Hour)
			if err := os.Chtimes(b.session.path(fileAgent), old, old); err != nil { // it is not young
				t.Fatal(err)
			}
			b.run(c.text, "send")
			if err := os.WriteFile(filepath.Join(b.dir, "ended"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			await(t, fmt.Sprintf("[ -e %[1]s/took ] && [ $(wc -c <%[1]s/first) -ge %[2]d ]", b.dir, len(c.want)))
			if got, err := os.ReadFile(filepath.Join(b.dir, "first")); err != nil || string(got) != c.want {
				t.Errorf("%q, %v, want %q", got, err, c.want)
			}
		})
	}
}

func TestNothingIsTypedWhereNoSessionLives(t *testing.T) {
	b := newBed(t)
	c := b.command("send")
	c.Stdin = strings.NewReader("x")
	if err := c.Run(); code(err) != frame.ExitNoSession {
		t.Errorf("it ended with %v", err)
	}
}

func TestAContainerThatBeginsAnewHasNoAgent(t *testing.T) {
	b := newBed(t)
	t.Setenv("BOTTLE_SESSION", t.TempDir())
	tell(bottle.Working, 0)
	Begin()
	b.does("exited 137")
	tell(bottle.Exited, 3)
	Begin() // how the last one ended is known
	b.does("exited 3")
}

func TestAnAgentThatIsLoadedIsGivenTime(t *testing.T) {
	s := session{t.TempDir()}
	for _, c := range []struct {
		doc  frame.Start
		age  time.Duration
		want bool
	}{{frame.Start{}, 0, true}, {frame.Start{}, time.Minute, false}, {frame.Start{Terminal: true}, 0, false}} {
		text, err := json.Marshal(c.doc)
		if err == nil {
			err = s.replace(fileAgent, text)
		}
		if at := time.Now().Add(-c.age); err == nil {
			err = os.Chtimes(s.path(fileAgent), at, at)
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := s.young(); (got > 0) != c.want || got > youngTime {
			t.Errorf("%+v: %s", c, got)
		}
	}
}
