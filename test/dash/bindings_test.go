package dash

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bottle/test/rig"
)

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// copied is tmux/ and scripts/ in a folder whose name wants quoting.
func copied(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), `it's "my" $HOME`)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-r", filepath.Join(root(t), "tmux"), filepath.Join(root(t), "scripts"), dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

func (s *server) bindings() []string { return strings.Split(s.run("list-keys"), "\n") }

func TestTheConfigurationChangesNothingOfTheUsers(t *testing.T) {
	var foreign strings.Builder
	for n := range 100 {
		fmt.Fprintf(&foreign, "bind-key -T foreign%d a display-message %d\nbind-key -T prefix M-%c send-keys %d\n", n, n, 'A'+rune(n%26), n)
	}
	foreign.WriteString("set -g status-right 'mine'\nbind-key d display-message mine\nbind-key -n C-d send-keys C-d\n")
	conf := filepath.Join(t.TempDir(), "foreign.conf")
	if err := os.WriteFile(conf, []byte(foreign.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, foreign, key string
		taken              bool
	}{{"bare", "/dev/null", "B", false}, {"foreign", conf, "B", false}, {"taken", conf, "M-A", true}} {
		s := newServer(t)
		s.start(80, 24, "sleep", "1000")
		s.run("source-file", c.foreign)
		s.run("set-option", "-g", "@bottle-key", c.key)
		before, bar := s.bindings(), s.run("show-options", "-gv", "status-right")
		for range 2 { // sourced again, nothing doubles
			out, err := s.cmd("source-file", filepath.Join(copied(t), "tmux", "bottle.conf")).CombinedOutput()
			if err != nil && !c.taken {
				t.Fatalf("%s: %v: %s", c.name, err, out)
			}
		}
		after := s.bindings()
		for _, line := range before {
			if !slices.Contains(after, line) {
				t.Errorf("%s: %s is gone", c.name, line)
			}
		}
		ours := 9
		if c.taken {
			ours = 8
		}
		if len(after) != len(before)+ours {
			t.Errorf("%s: %d bindings became %d", c.name, len(before), len(after))
		}
		now := s.run("show-options", "-gv", "status-right")
		if own := c.foreign == "/dev/null"; own != strings.HasPrefix(now, "#(bottle-ls --status-line)") || !strings.HasSuffix(now, bar) || strings.Count(now, "status-line") > 1 {
			t.Errorf("%s: the status line is %s", c.name, now)
		}
	}
}

func TestAnOldTmuxIsToldSo(t *testing.T) {
	fake := t.TempDir()
	script := "#!/bin/sh\ncase \"$*\" in *'#{version}'*) echo 3.1c;; *bind-key*) touch \"${0%/*}/bound\";; esac\n"
	if err := os.WriteFile(filepath.Join(fake, "tmux"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(root(t), "tmux", "bottle.tmux"))
	cmd.Env = append(os.Environ(), "PATH="+fake+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "3.1c is too old: 3.2 or newer") {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := os.Stat(filepath.Join(fake, "bound")); err == nil {
		t.Error("it binds keys all the same")
	}
}

// bound is a tmux with the keys, a client, and recorded programs.
func bound(t *testing.T) (*server, *recorded, *client) {
	t.Helper()
	r := record(t, rig.New(t).Bin)
	r.prints("bottle-ls -o tsv", "dev-aaaa\trunning\tworking 3s\tdev\nweb-bbbb\trunning\twaiting 5s\tdev\napi-cccc\trunning\twaiting 9s\tdev\n")
	r.prints("bottle-ls agents -o tsv", "alpha\tdev\tclaude\t0\t/dev/null\n")
	r.prints("bottle-ls proposals", "{}\n")
	s := newServer(t, r.env()...)
	s.start(120, 40, "sleep", "1000")
	s.run("source-file", filepath.Join(copied(t), "tmux", "bottle.conf"))
	return s, r, s.client(120, 40)
}

func TestTheMenuRunsThePublicPrograms(t *testing.T) {
	s, r, c := bound(t)
	for action, call := range map[string]string{"next": "bottle-attach --pane --focus web-bbbb", "approve": "bottle-approve ", "log": "bottle-log -f -o text"} {
		s.acts(action)()
		r.called(s, call)
	}
	attached := s.acts("attach")
	c.sees("attach>")
	r.called(s, "bottle-attach --peek --color dev-aaaa")
	c.types("cccc")
	r.called(s, "bottle-attach --peek --color api-cccc")
	c.types("\r")
	attached()
	r.called(s, "bottle-attach --pane --focus api-cccc")
	c.types("")
	stopped := s.acts("stop")
	c.sees("stop>")
	c.types("bbbb")
	r.called(s, "bottle-attach --peek --color web-bbbb")
	c.types("\r")
	stopped()
	r.called(s, "bottle-stop --pane -- web-bbbb")
	c.types("\x02")
	c.types("B")
	c.sees("next that waits")
	c.types("q")
	c.sees("no bottle is shown here")
}

// Who leaves by a key of the program's is not left with a popup that has nothing to
// say, and none opens where there is nothing to decide.
func TestAPopupEndsWithTheOperatorsNo(t *testing.T) {
	s, r, c := bound(t)
	ends := func(code string) func() {
		if err := os.WriteFile(filepath.Join(r.dir, "bottle-approve "), []byte("#!/bin/sh\necho asked "+code+"\nexit "+code+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return s.acts("approve")
	}
	for _, code := range []string{"0", "4", "130"} {
		ends(code)()
	}
	failed := ends("1")
	c.sees("asked 1")
	c.types("\x1b") // which closes it
	failed()
	if err := os.WriteFile(filepath.Join(r.dir, "bottle-ls proposals"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c.types("\x02B")
	c.sees("next that waits")
	c.types("p")
	c.sees("nothing waits for a decision")
}

// A teardown takes its time too, and says what is wrong where the operator looks.
func TestThePopupOfAStopEndsWithTheAnswer(t *testing.T) {
	s, r, c := bound(t)
	release := filepath.Join(r.dir, "release")
	script := "#!/bin/sh\nuntil [ -e '" + release + "' ]; do sleep 0.05; done\necho 'bottle-stop: it is locked' >&2\nexit 6\n"
	if err := os.WriteFile(filepath.Join(r.dir, "bottle-stop --pane -- dev-aaaa"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	ended := s.acts("stop")
	c.sees("stop>")
	c.types("dev-aaaa")
	r.called(s, "bottle-attach --peek --color dev-aaaa")
	c.types("\r")
	r.called(s, "bottle-stop --pane -- dev-aaaa")
	c.types("typed below")
	s.sees("t", "typed below")
	if err := os.WriteFile(release, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c.sees("bottle-stop: it is locked")
	ended()
}

// A bring-up takes its time: the popup is gone when the preflight is answered.
func TestThePopupOfAStartEndsWithTheAnswer(t *testing.T) {
	s, r, c := bound(t)
	const up = "bottle-start --yes --pane --focus -- alpha"
	r.prints("bottle-start --dry-run -- alpha", "  egress  api.example.com\n")
	release := filepath.Join(r.dir, "release")
	script := "#!/bin/sh\npwd >\"$RECORDED/folder\"\nuntil [ -e '" + release + "' ]; do sleep 0.05; done\n" +
		"echo 'bottle-start: no engine #(x)' >&2\necho 'hint: y' >&2\nexit 5\n"
	if err := os.WriteFile(filepath.Join(r.dir, up), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	asked := func(answer string) (ended func()) {
		ended = s.acts("new")
		c.sees("start>")
		c.types("\r")
		c.sees("api.example.com")
		c.sees("start it? [y/N]")
		c.types(answer + "\r")
		return ended
	}
	asked("n")()
	if strings.Contains(r.calls(), "--yes") {
		t.Fatalf("it was started after a no: %s", r.calls())
	}
	ended := asked("y")
	r.called(s, up)
	c.types("typed below") // a popup would take it
	s.sees("t", "typed below")
	if err := os.WriteFile(release, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c.sees("bottle-start: no engine #(x)")
	ended()
	folder, _ := os.ReadFile(filepath.Join(r.dir, "folder"))
	if want := s.run("display-message", "-p", "-t", "t", "#{pane_current_path}"); strings.TrimSpace(string(folder)) != want {
		t.Errorf("it was started in %s, not in %s", folder, want)
	}
}

func TestTheDashboardHasOneWindowHoweverOftenItIsAskedFor(t *testing.T) {
	s, r, c := bound(t)
	// More than a pipe holds: who reads the first line alone would end who writes them.
	r.prints("bottle-ls -o tsv", strings.Repeat("one-dddd\trunning\tidle 1s\tdev\n", 10_000))
	s.acts("dash")()
	s.sees("t:bottle", "agents (focused)")
	r.called(s, "bottle-attach --pane dev-aaaa")
	s.run("select-window", "-t", "t:0")
	c.types("\x02B")
	c.sees("next that waits")
	c.types("d")
	s.await("the dashboard's window", func() bool { return s.run("display-message", "-p", "-t", "t", "#{window_name}") == "bottle" })
	s.acts("dash")()
	if all := s.run("list-windows", "-t", "t"); strings.Count(all, "\n") != 1 {
		t.Errorf("the windows are\n%s", all)
	}
	s.keys("t:bottle", "q")
	s.await("end of its window", func() bool { return !strings.Contains(s.run("list-windows", "-t", "t"), "bottle") })
}

func TestPickersWithoutFzfOrWithoutAnythingToPick(t *testing.T) {
	r := record(t, "")
	run := func(path, script string) (string, int) {
		cmd := exec.Command("bash", filepath.Join(root(t), "scripts", script), "--pane")
		cmd.Env = append(os.Environ(), "RECORDED="+r.dir, "PATH="+path)
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	for script, call := range map[string]string{"bottle-open": "bottle-attach", "bottle-end": "bottle-stop"} {
		if out, code := run(r.path, script); code != 3 || !strings.Contains(out, "there are no bottles") {
			t.Errorf("%s with nothing: %d %s", script, code, out)
		}
		bare := filepath.Join(r.dir, "bare")
		os.Mkdir(bare, 0o755)
		for _, tool := range []string{"sh", "bash", "cat", "tail"} {
			path, _ := exec.LookPath(tool)
			os.Symlink(path, filepath.Join(bare, tool))
		}
		run(filepath.Join(r.dir, "fake")+":"+bare, script)
		if !strings.Contains(r.calls(), call+" --pane\n") {
			t.Errorf("%s without fzf: %s", script, r.calls())
		}
	}
	r.prints("bottle-ls -o tsv", "dev-aaaa\trunning\tidle 1s\tdev\nweb-bbbb\trunning\tidle 1s\tdev\n")
	if got := picksWithoutFzf(t, r, "bottle-end", "2\n"); got != "web-bbbb\n" {
		t.Errorf("without fzf, the second is %q", got)
	}
	if run(r.path, "bottle-new"); !strings.Contains(r.calls(), "bottle-start --pane\n") {
		t.Error("without agents, bottle-start does not get to offer a first one")
	}
	r.prints("bottle-ls agents -o tsv", "alpha\tdev\tclaude\t0\t/dev/null\nbeta\tdev\tshell\t0\t/dev/null\n")
	for typed, want := range map[string]string{"9\n2\nyes\n": "beta\n", "2\n\n": "", "": ""} {
		if got := picksWithoutFzf(t, r, "bottle-new", typed); got != want {
			t.Errorf("without fzf, %q is answered %q", typed, got)
		}
	}
}

// picksWithoutFzf is what a picker answers its caller where these lines are typed.
func picksWithoutFzf(t *testing.T, r *recorded, script, typed string) string {
	t.Helper()
	answer := filepath.Join(r.dir, "answer")
	os.Remove(answer)
	cmd := exec.Command("bash", filepath.Join(root(t), "scripts", script))
	cmd.Env = []string{"RECORDED=" + r.dir, "PATH=" + filepath.Join(r.dir, "fake") + ":" + filepath.Join(r.dir, "bare"), "BOTTLE_ANSWER=" + answer}
	cmd.Stdin = strings.NewReader(typed)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s without fzf: %v, %s", script, err, out)
	}
	got, _ := os.ReadFile(answer)
	return string(got)
}
