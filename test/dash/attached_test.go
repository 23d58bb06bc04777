package dash

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"bottle/test/rig"
)

// terminal shows the session in another tmux, which so is its terminal: what is
// typed there comes from a client, as from a person.
func (s *server) terminal(w, h int) *server {
	s.t.Helper()
	o := newServer(s.t)
	o.start(w, h, "env", "-u", "TMUX", "tmux", "-u", "-S", s.socket, "attach-session", "-t", "t")
	s.await("a client", func() bool { return s.run("list-clients") != "" })
	return o
}

// quiet waits until nobody has pressed a key for as long as a focus must wait.
func (s *server) quiet() {
	s.t.Helper()
	s.await("quiet hands", func() bool {
		last, err := strconv.ParseInt(s.run("list-clients", "-F", "#{client_activity}"), 10, 64)
		return err == nil && time.Now().Unix()-last > 3
	})
}

func (s *server) active() string { return s.run("display-message", "-p", "-t", "t:0", "#{pane_index}") }

const prose = "at once to Yonder, a tomato rots quite near me; "

// S15 with a person at a terminal: a proposal that arrives while they type into
// the agent's pane takes no key from it. One that arrives while they think, and
// go on, gets the keys, and is not decided by them.
func TestProseTypedAtATerminalGoesWhereItWasMeantOrNowhere(t *testing.T) {
	s, r := board(t, 100, 20)
	typed, bells := filepath.Join(r.dir, "typed"), filepath.Join(r.dir, "bells")
	s.run("set-hook", "-g", "alert-bell", "run-shell 'echo bell >> "+bells+"'")
	s.run("split-window", "-h", "-t", "t", "--", "sh", "-c", "exec cat > "+typed)
	o := s.terminal(200, 30)
	wrote := 0
	writes := func() {
		o.keys("t", "-l", prose)
		o.keys("t", "Enter") // a line has a bound
		wrote++
	}
	arrives := func(name string) {
		r.prints("bottle-ls proposals --watch", proposalLine("egress-block-"+name, name+".example.com", "pending"))
	}
	writes()
	arrives("first")
	for !strings.Contains(s.screen("t:0.0"), "first.example.com") {
		writes()
	}
	for range 10 {
		writes()
	}
	s.await("all the prose in the pane", func() bool {
		text, _ := os.ReadFile(typed)
		return string(text) == strings.Repeat(prose+"\n", wrote)
	})
	if s.active() != "1" {
		t.Fatal("the focus moved under typing hands")
	}
	s.await("bell", func() bool { text, _ := os.ReadFile(bells); return string(text) == "bell\n" })

	s.await("no news", func() bool { return !strings.Contains(s.screen("t:0.0"), "(new!)") })
	s.quiet()
	arrives("second")
	s.await("the focus at the dashboard", func() bool { return s.active() == "0" })
	o.keys("t", "-l", strings.Repeat(prose, 10)) // without a pause, after which it might be meant
	s.sees("t:0.0", "second.example.com")        // it lives: q was not for it
	s.await("wakeful keys", func() bool { return !strings.Contains(lastLine(s.screen("t:0.0", "-e")), "\x1b[2m") })
	o.keys("t", "t")
	s.sees("t:0.0", "second.example.com for dev-aaaa, 10 minutes? [capital Y]")
	if calls := r.calls(); regexp.MustCompile(`bottle-(approve|start|stop|attach|edit)`).MatchString(calls) {
		t.Fatalf("prose had this run: %s", calls)
	}
	o.keys("t", "Y")
	r.called(s, "bottle-approve --yes --for 10m dev-aaaa/egress-block-second")
	if text, _ := os.ReadFile(bells); string(text) != "bell\nbell\n" {
		t.Errorf("it rang %q", text)
	}
}

// tmux does not tell of keys that go into a popup.
func TestProseTypedIntoAPopupDecidesNothing(t *testing.T) {
	s, r := board(t, 100, 20)
	o := s.terminal(100, 20)
	typed := filepath.Join(r.dir, "typed")
	popup := s.cmd("display-popup", "-t", "t", "-E", "--", "sh", "-c", `echo in a popup; IFS= read -r line; printf %s "$line" > "$0"`, typed)
	if err := popup.Start(); err != nil {
		t.Fatal(err)
	}
	o.sees("t", "in a popup")
	s.quiet()
	o.keys("t", "-l", prose)
	r.prints("bottle-ls proposals --watch", proposalLine("egress-block-one", "one.example.com", "pending"))
	s.await("the focus at proposals", func() bool { return s.focus() == "proposals" })
	o.keys("t", "-l", prose)
	o.keys("t", "Enter")
	if err := popup.Wait(); err != nil {
		t.Fatal(err)
	}
	o.keys("t", "-l", prose) // they have not seen yet that it is closed
	if text, _ := os.ReadFile(typed); string(text) != prose+prose {
		t.Errorf("the popup got %q", text)
	}
	s.sees("t", "one.example.com")
	if strings.Contains(r.calls(), "bottle-approve") {
		t.Errorf("prose decided: %s", r.calls())
	}
}

func TestASuspendedDashboardComesBackWhole(t *testing.T) {
	r := record(t, rig.New(t).Bin)
	r.prints("bottle-ls --watch", agentLine("dev-aaaa", "running"))
	s := newServer(t, append(r.env(), "PS1=$ ", "BASH_SILENCE_DEPRECATION_WARNING=1")...)
	s.start(80, 24, "bash", "--norc", "--noprofile", "-i")
	s.keys("t", "bottle-dash", "Enter")
	s.sees("t", "dev-aaaa")
	for n := range 2 {
		s.keys("t", "C-z")
		s.sees("t", "Stopped")
		s.keys("t", "clear; echo shell-$((40+2)) $(stty -a | tr ';' '\\n' | grep -wo -- '-*icanon')", "Enter")
		s.sees("t", "shell-42 icanon")
		name := []string{"new-bbbb", "new-cccc"}[n]
		r.prints("bottle-ls --watch", agentLine(name, "running"))
		s.keys("t", "fg", "Enter")
		s.sees("t", name)
		s.keys("t", "?")
		s.sees("t", "the other pane")
		s.keys("t", "Escape")
		s.await("no box", func() bool { return !strings.Contains(s.screen("t"), "┌") })
	}
	s.keys("t", "q")
	// What is typed before the shell asks, the dashboard would read or discard.
	s.await("the shell's prompt", func() bool { return strings.HasSuffix(strings.TrimSpace(s.screen("t")), "\n$") })
	s.keys("t", "clear; echo over-$((40+2)) $(stty -a | tr ';' '\\n' | grep -wo -- '-*icanon')", "Enter")
	s.sees("t", "over-42 icanon")
}

var colour = regexp.MustCompile(`\x1b\[(\d+;)*(3[0-8]|4[0-8]|9[0-7])[;m]`)

func TestWithNoColorThereAreNone(t *testing.T) {
	for _, c := range []struct {
		env  []string
		want bool
	}{{nil, true}, {[]string{"NO_COLOR=1"}, false}} {
		s, r := board(t, 100, 20, c.env...)
		r.prints("bottle-ls proposals --watch", proposalLine("egress-block-one", "one.example.com", "pending"))
		s.sees("t", "(new!)")
		screen := s.screen("t", "-e")
		if colour.MatchString(screen) != c.want || !strings.Contains(screen, "\x1b[1m") {
			t.Errorf("with %v the screen is %q", c.env, screen)
		}
	}
}

// Without tmux, a terminal that goes away ends the dashboard without a word.
func TestADashboardWithoutTmuxEndsWithItsTerminal(t *testing.T) {
	r := record(t, rig.New(t).Bin)
	r.prints("bottle-ls --watch", agentLine("dev-aaaa", "running"))
	cmd := exec.Command(filepath.Join(r.dir, "fake", "bottle-dash"))
	for _, e := range append(os.Environ(), r.env()...) {
		if !strings.HasPrefix(e, "TMUX") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Env = append(cmd.Env, "TERM=xterm-256color")
	said, err := os.Create(filepath.Join(r.dir, "said"))
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	cmd.Stderr = said
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		t.Fatal(err)
	}
	for seen := ""; !strings.Contains(seen, "dev-aaaa"); {
		buf := make([]byte, 4096)
		n, err := tty.Read(buf)
		if seen += string(buf[:n]); err != nil {
			t.Fatal(err, seen)
		}
	}
	tty.Close()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if text, _ := os.ReadFile(said.Name()); err != nil || len(text) > 0 {
			t.Errorf("%v: it said %q", err, text)
		}
	case <-time.After(time.Minute):
		cmd.Process.Kill()
		t.Error("it outlives its terminal")
	}
}
