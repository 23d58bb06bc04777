package inside

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary is also bottle-inside.
func TestMain(m *testing.M) {
	if os.Getenv("BE") == "inside" {
		os.Exit(Dispatch(Commands(), os.Args, os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// container returns a maker of bottle-inside's command lines, for a session
// directory of its own, which the test itself has too.
func container(t *testing.T) func(args ...string) *exec.Cmd {
	t.Helper()
	s, command := containerBeside(t)
	t.Setenv("BOTTLE_SESSION", s.dir)
	return command
}

// containerBeside is container for a test that runs beside others: they have one
// environment, so that only the commands know the session. env is added to theirs.
func containerBeside(t *testing.T, env ...string) (session, func(args ...string) *exec.Cmd) {
	t.Helper()
	dir, err := os.MkdirTemp("", "b") // short: a socket's path has a bound
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	command := func(args ...string) *exec.Cmd {
		c := exec.Command(self, args...)
		c.Env = append(append(os.Environ(), env...), "BE=inside", "BOTTLE_SESSION="+dir, "HOME="+home, "BOTTLE_HOME_FILES="+home+"/none", "GORACE=atexit_sleep_ms=0")
		return c
	}
	t.Cleanup(func() {
		exec.Command("tmux", "-S", filepath.Join(dir, "tmux.sock"), "kill-server").Run()
		command("wait").Run() // the agent's keeper leaves its exit code there
		os.RemoveAll(dir)
	})
	return session{dir}, command
}

// begin starts a session and returns once the agent's traps are set.
func begin(t *testing.T, command func(...string) *exec.Cmd, traps, rest string) {
	t.Helper()
	dir := t.TempDir()
	c := command("start")
	c.Stdin = strings.NewReader(fmt.Sprintf(`{"argv":["bash","-c",%q],"dir":%q}`, traps+"; >ready; "+rest, dir))
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	await(t, "[ -e "+dir+"/ready ]")
}

// await waits until a shell's condition holds.
func await(t *testing.T, condition string) {
	t.Helper()
	if err := exec.Command("timeout", "60", "bash", "-c", "until "+condition+"; do sleep 0.01; done").Run(); err != nil {
		t.Fatalf("in a minute, not %s", condition)
	}
}

func code(err error) int { return exitCode(err, &bytes.Buffer{}) }

func TestTheContainersEndLetsTheAgentEndKindly(t *testing.T) {
	command := container(t)
	begin(t, command, `trap 'exit 42' HUP`, `while :; do sleep 1000 & wait; done`)
	waiting := command("wait")
	if err := waiting.Start(); err != nil {
		t.Fatal(err)
	}
	if got := endContainer(t, command); got != 42 {
		t.Errorf("hold ended with %d", got)
	}
	if got := code(waiting.Wait()); got != 42 {
		t.Errorf("the agent ended with %d", got)
	}
	if got := code(command("wait").Run()); got != 42 {
		t.Errorf("asked later: %d", got)
	}
}

// endContainer runs the container's main process here, and ends it as the
// engine does. It returns its exit code.
func endContainer(t *testing.T, command func(...string) *exec.Cmd) int {
	t.Helper()
	defer signal.Stop(ending()) // a signal before Hold listens must not end the test
	held := make(chan int, 1)
	go func() { held <- Hold(nil, nil, nil, nil) }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(time.Minute); ; {
		select {
		case code := <-held:
			return code
		case <-tick.C:
			syscall.Kill(os.Getpid(), syscall.SIGTERM)
		case <-limit:
			t.Fatal("hold does not end")
		}
	}
}

func TestTheContainersEndWaitsForAnAgentWhoseServerIsGone(t *testing.T) {
	command := container(t)
	begin(t, command, `trap 'sleep 0.5; exit 42' HUP`, `while :; do sleep 1000 & wait; done`)
	output(theSession().tmux().Kill())
	if got := endContainer(t, command); got != 42 {
		t.Errorf("hold ended with %d", got)
	}
}

func TestAnAgentThatIgnoresTheHangUpIsKilled(t *testing.T) {
	command := container(t)
	begin(t, command, `trap '' HUP TERM`, `while :; do sleep 1000; done`)
	if got := endContainer(t, command); got != 137 {
		t.Errorf("hold ended with %d", got)
	}
	if got := code(command("wait").Run()); got != 137 {
		t.Errorf("the agent ended with %d", got)
	}
}

func TestFilesArePlacedOnceAndNeverOutOfTheHome(t *testing.T) {
	from, home, elsewhere := t.TempDir(), t.TempDir(), t.TempDir()
	write := func(path, text string, mode os.FileMode) {
		os.MkdirAll(filepath.Dir(path), 0o700)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write(from+"/.claude/settings.json", "new", 0o644)
	write(from+"/.claude/skills/review/run", "#!", 0o755)
	write(from+"/out/planted", "no", 0o644)
	write(from+"/out2/deep/planted", "no", 0o644)
	write(from+"/kept", "new", 0o644)
	os.Symlink("/etc/passwd", from+"/link")
	write(home+"/kept", "the agent's", 0o600)
	os.Symlink(elsewhere, home+"/out")
	os.Mkdir(home+"/out2", 0o700)
	os.Symlink(elsewhere, home+"/out2/deep")
	if err := place(from, home); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{".claude/settings.json": "new", ".claude/skills/review/run": "#!", "kept": "the agent's"} {
		if got, err := os.ReadFile(filepath.Join(home, path)); string(got) != want || err != nil {
			t.Errorf("%s: %q %v", path, got, err)
		}
	}
	if fi, err := os.Stat(home + "/.claude/skills/review/run"); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("a program's mode: %v %v", fi, err)
	}
	if _, err := os.Lstat(home + "/link"); err == nil {
		t.Error("a symbolic link was copied")
	}
	if planted, _ := os.ReadDir(elsewhere); len(planted) > 0 {
		t.Errorf("written outside of the home: %v", planted)
	}
	if err := place(from+"/none", home); err != nil {
		t.Errorf("nothing to place: %v", err)
	}
}

func TestUnknownTerminalsAreTakenForXterm(t *testing.T) {
	for term, want := range map[string]string{"xterm-256color": "xterm-256color", "xterm-nonsuch": "fallback", "": "fallback",
		"../../etc/passwd": "fallback", "x/../x": "fallback", "a\x00": "fallback"} {
		if got := knownTerm(term, "fallback"); got != want {
			t.Errorf("%q: %q", term, got)
		}
	}
}

func TestWhatWasGivenWinsOverTheContainersEnvironment(t *testing.T) {
	got := environment([]string{"A=container", "B=container", "TMUX=x", "LANG=C"}, map[string]string{"A": "given"})
	slices.Sort(got)
	if want := []string{"A=given", "B=container", "COLORTERM=truecolor", "LANG=C"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestInputRunsAheadToABoundAndNoneIsLost(t *testing.T) {
	q := newQueue()
	var sent, got bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 50_000 {
			p := fmt.Appendf(nil, "%d some more of it, to be above the bound\n", i)
			sent.Write(p)
			q.Write(p)
		}
		q.Close()
	}()
	q.drain(&got)
	<-done
	if !bytes.Equal(sent.Bytes(), got.Bytes()) {
		t.Errorf("%d bytes of %d", got.Len(), sent.Len())
	}
	if n, err := q.Write([]byte("x")); n != 0 || err == nil {
		t.Error("a closed queue takes more")
	}
}

func TestUnknownCommandsAreAUsageError(t *testing.T) {
	for _, args := range [][]string{{"bottle-inside"}, {"bottle-inside", "nonsuch"}} {
		var errOut bytes.Buffer
		if got := Dispatch(Commands(), args, nil, &bytes.Buffer{}, &errOut); got != exitUsage || !strings.Contains(errOut.String(), "start") {
			t.Errorf("%v: %d %q", args, got, errOut.String())
		}
	}
}
