package dash

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"bottle/test/rig"
)

func agentLine(slug, status string) string {
	return fmt.Sprintf(`{"slug":%q,"agent":"dev","status":%q,"services":["agent","egress"],"started_at":"2026-11-24T12:00:00Z","folder":"/home/ada"}`+"\n", slug, status)
}

func proposalLine(id, host, status string) string {
	return fmt.Sprintf(`{"id":%q,"slug":"dev-aaaa","agent":"dev","kind":"egress-block","summary":"GET %s","proposed":{"host":%q},"status":%q,"created_at":"2026-11-24T12:00:00Z"}`+"\n",
		id, host, host, status)
}

// board starts a dashboard below a shell, which tells of the terminal after it.
func board(t *testing.T, w, h int, env ...string) (*server, *recorded) {
	t.Helper()
	r := record(t, rig.New(t).Bin)
	r.prints("bottle-ls --watch", agentLine("dev-aaaa", "running")+agentLine("web-bbbb", "running"))
	s := newServer(t, append(r.env(), env...)...)
	s.start(w, h, "sh", "-c", `bottle-dash; echo "ended with $?"; stty -a | tr ';' '\n' | grep -wo -- '-*icanon'; exec sleep 1000`)
	s.sees("t", "web-bbbb")
	return s, r
}

func TestKeysRunTheProgramsAndLeaveTheTerminalWhole(t *testing.T) {
	s, r := board(t, 100, 20)
	s.keys("t", "Down", "Enter")
	r.called(s, "bottle-attach --pane web-bbbb --focus")
	r.prints("bottle-ls agents", `{"agent":"alpha","running":1}`+"\n")
	r.prints("bottle-start --dry-run alpha", "  egress  api.example.com\n")
	s.keys("t", "n")
	s.sees("t", "alpha (1 running)")
	s.keys("t", "Enter")
	s.sees("t", "start it? [y/N]")
	s.keys("t", "y")
	r.called(s, "bottle-start --yes --pane --focus alpha")
	s.keys("t", "x")
	s.sees("t", "stop web-bbbb?")
	s.keys("t", "y")
	r.called(s, "bottle-stop --pane web-bbbb")
	r.called(s, "bottle-attach --pane dev-aaaa")
	s.run("resize-window", "-t", "t", "-x", "40", "-y", "10")
	s.sees("t", "web-bbbb is stopped\n") // the screen is redrawn in its new size
	s.keys("t", "q")
	s.sees("t", "ended with 0")
	s.sees("t", "\nicanon")
}

func TestAProgramInTheForegroundHasTheWholeTerminal(t *testing.T) {
	s, r := board(t, 100, 20)
	editor := filepath.Join(r.dir, "bottle-edit dev-aaaa routes")
	script := "#!/bin/sh\nprintf 'an editor %s\\n' \"$(stty -a | tr ';' '\\n' | grep -wo -- '-*icanon')\"; read line; echo \"got $line\" >> \"$RECORDED/calls\"; exit 3\n"
	if err := os.WriteFile(editor, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	s.keys("t", "e")
	s.sees("t", "an editor icanon")
	r.prints("bottle-ls --watch", agentLine("new-cccc", "running"))
	s.keys("t", "q j x", "Enter")
	r.called(s, "got q j x")
	s.sees("t", "bottle-edit ended with exit status 3: press Enter to go back") // what it said is to be read
	s.keys("t", "Enter")
	s.sees("t", "new-cccc")
	s.sees("t", "bottle-edit ended with exit status 3")
	s.keys("t", "?")
	s.sees("t", "the other pane")
}

// Who says no to bottle-edit is told where what he typed is kept.
func TestWhatADeclinedEditSaysStaysToBeRead(t *testing.T) {
	s, r := board(t, 100, 20)
	script := "#!/bin/sh\necho 'note: it is kept'\nexit 4\n"
	if err := os.WriteFile(filepath.Join(r.dir, "bottle-edit dev-aaaa routes"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	s.keys("t", "e")
	s.sees("t", "note: it is kept")
	s.sees("t", "bottle-edit ended with exit status 4: press Enter to go back")
	s.keys("t", "Enter")
	s.sees("t", "dev-aaaa  /home/ada") // the status line: nothing failed
}

func TestATerminatedDashboardGivesTheTerminalBack(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGQUIT} {
		s, _ := board(t, 80, 24)
		shell := s.run("display-message", "-p", "-t", "t", "#{pane_pid}")
		out, err := exec.Command("pgrep", "-P", shell, "-x", "bottle-dash").Output()
		pid, perr := strconv.Atoi(strings.TrimSpace(string(out)))
		if err != nil || perr != nil {
			t.Fatal(err, perr)
		}
		syscall.Kill(pid, sig)
		s.sees("t", "ended with 0")
		s.sees("t", "\nicanon")
	}
}

func TestADashboardWhoseTerminalGoesAwayEndsWithItsWatchers(t *testing.T) {
	s, r := board(t, 80, 24)
	s.run("kill-server")
	s.await("end of the watchers", func() bool {
		return exec.Command("pgrep", "-f", "tail -n .1 -f "+r.dir).Run() != nil
	})
}

// S15 in a real terminal: prose that is typed when a proposal arrives decides
// nothing; after quiet, a capital Y does.
func TestAProposalInTheMiddleOfProseIsNotDecidedByIt(t *testing.T) {
	s, r := board(t, 100, 20)
	s.run("set-option", "-g", "visual-bell", "off")
	r.prints("bottle-ls proposals --watch", proposalLine("egress-block-one", "evil.example.com", "pending"))
	s.sees("t", "proposals (focused) (new!)")
	s.keys("t", "-l", strings.Repeat("at once to Yonder, a tomato rots", 20)) // without a pause, after which it might be meant
	s.await("quiet", func() bool { return !strings.Contains(lastLine(s.screen("t", "-e")), "\x1b[2m") })
	if strings.Contains(r.calls(), "bottle-approve") {
		t.Fatalf("prose decided: %s", r.calls())
	}
	s.keys("t", "Escape")
	s.await("no box", func() bool { return !strings.Contains(s.screen("t"), "┌") })
	s.focuses("proposals")
	s.await("quiet", func() bool { return !strings.Contains(lastLine(s.screen("t", "-e")), "\x1b[2m") })
	s.keys("t", "t")
	s.sees("t", "evil.example.com for dev-aaaa, 10 minutes? [capital Y]")
	s.keys("t", "Y")
	r.called(s, "bottle-approve --yes --for 10m dev-aaaa/egress-block-one")
}

func lastLine(screen string) string {
	lines := strings.Split(strings.TrimRight(screen, "\n"), "\n")
	return lines[len(lines)-1]
}

// focuses moves the dashboard's focus to a pane, if it is not there.
func (s *server) focuses(pane string) {
	s.t.Helper()
	if s.focus() != pane {
		s.keys("t", "Tab")
		s.await("focus on "+pane, func() bool { return s.focus() == pane })
	}
}

func (s *server) focus() string {
	for line := range strings.Lines(s.screen("t")) {
		if strings.Contains(line, "(focused)") {
			return strings.Fields(strings.Trim(line, "─ \n"))[0]
		}
	}
	return ""
}

// S2, S3, S18: a thousand proposals, hostile ones, are drawn as text.
func TestHostileProposalsReachNoTerminalAndNoFormat(t *testing.T) {
	s, r := board(t, 200, 50)
	bad := filepath.Join(r.dir, "bad")
	evil := "\\u001b]52;c;eA==\\u0007\\u001b]2;title\\u0007#(touch " + bad + ")#{pid}\\u202e"
	var all strings.Builder
	for n := range 1000 {
		fmt.Fprintf(&all, `{"id":"egress-block-%d","slug":"dev-aaaa","kind":"egress-block","summary":"%s","justification":"%s","status":"pending"}`+"\n", n, evil, evil)
	}
	r.prints("bottle-ls proposals --watch", all.String()+`{"id":"../x","slug":"#(touch `+bad+`)"}`+"\n")
	s.sees("t", "1000 proposals")
	s.sees("t", `\x1b]52`)
	s.keys("t", "Enter")
	s.sees("t", "justification")
	if title := s.run("display-message", "-p", "-t", "t", "#{pane_title}"); title == "title" {
		t.Error("the title was set")
	}
	if _, err := os.Stat(bad); err == nil {
		t.Error("a command of an agent's ran")
	}
	if buffers := s.run("list-buffers"); buffers != "" {
		t.Errorf("the clipboard was set: %s", buffers)
	}
}
