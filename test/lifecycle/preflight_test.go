package lifecycle

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/creack/pty"

	"bottle/test/rig"
)

// onTerminal runs a program on a terminal of its own; answers are typed, each
// when its question stands on the screen. It returns the screen's bytes and the
// exit code.
func onTerminal(t *testing.T, r *rig.Rig, answers map[string]string, program string, args ...string) (string, int) {
	t.Helper()
	cmd := r.Command(t.Context(), program, args...)
	cmd.Env = append(cmd.Env, "TERM=xterm-256color")
	tty, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	var screen bytes.Buffer
	buf := make([]byte, 4096)
	for {
		n, err := tty.Read(buf)
		screen.Write(buf[:n])
		for question, answer := range answers {
			if strings.Contains(screen.String(), question) {
				delete(answers, question)
				if _, err := io.WriteString(tty, answer); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err != nil { // the terminal is closed when its last program ends
			break
		}
	}
	cmd.Wait()
	return screen.String(), cmd.ProcessState.ExitCode()
}

func TestAnsweringNoLeavesNothing(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Agent("dev", "allowed.test")
	screen, code := onTerminal(t, r, map[string]string{"start it? [y/N]": "n\r"}, "bottle-start", "dev")
	if code != 4 || !strings.Contains(screen, "allowed.test") {
		t.Errorf("ended with %d:\n%s", code, screen)
	}
	wantNothing(t, r)
}

func TestCtrlCEndsTheQuestion(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Agent("dev", "allowed.test")
	screen, code := onTerminal(t, r, map[string]string{"start it? [y/N]": "\x03"}, "bottle-start", "dev")
	if code != 130 {
		t.Errorf("ended with %d:\n%s", code, screen)
	}
	wantNothing(t, r)
}

func TestThePickerShowsHowManyRunAndTheFirstManifestsAreOffered(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	screen, code := onTerminal(t, r, map[string]string{"to begin with? [y/N]": "y\r", "(0 running)": "\r", "start it? [y/N]": "n\r"}, "bottle-start")
	if code != 4 || !strings.Contains(screen, "agents/dev.md") {
		t.Errorf("ended with %d:\n%s", code, screen)
	}
	if _, err := os.Stat(r.Home + "/agents/dev.md"); err != nil {
		t.Error(err)
	}
	wantNothing(t, r)
}

func TestAForegroundStartAttachesAndDetachingLeavesTheAgent(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Write("bottles/dev.md", "---\n---\n")
	r.Write("agents/dev.md", "---\nbottle: dev\nprogram: {command: [sh, -c, 'echo the agent is here; exec cat']}\n---\n")
	screen, code := onTerminal(t, r, map[string]string{"start it? [y/N]": "y\r", "the agent is here": "\x11\x11"}, "bottle-start", "--workspace", "none", "dev")
	if code != 0 || !strings.Contains(screen, "goes on: bottle-attach") {
		t.Errorf("ended with %d:\n%q", code, screen)
	}
	all := r.Bottles()
	if len(all) != 1 || all[0].Status != "running" {
		t.Errorf("listed as %+v", all)
	}
}

func TestAnAgentThatIsQuickerThanItsViewerIsToldOf(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Agent("dev")
	r.Write("agents/dev.md", "---\nbottle: dev\nprogram: {command: [sh, -c, echo why; exit 3]}\n---\n")
	screen, code := onTerminal(t, r, nil, "bottle-start", "--yes", "--workspace", "none", "dev")
	if code != 0 || !strings.Contains(screen, "why") || !strings.Contains(screen, "ended with exit code 3") || strings.Contains(screen, "goes on") {
		t.Errorf("ended with %d:\n%s", code, screen)
	}
	screen, code = onTerminal(t, r, nil, "bottle-start", "--yes", "--rm", "--workspace", "none", "dev")
	if code != 3 || !strings.Contains(screen, "why") || strings.Contains(screen, "goes on") {
		t.Errorf("with --rm ended with %d:\n%s", code, screen)
	}
	if left := r.Bottles(); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}
