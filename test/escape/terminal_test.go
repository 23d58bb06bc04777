package escape

import (
	"bytes"
	"context"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"bottle/test/rig"
)

// hostileBytes are what an agent might write to its operator's terminal, each
// with the part that must never arrive.
var hostileBytes = []struct{ name, sequence, part string }{
	{"OSC 52, the clipboard", "\x1b]52;c;ZXZpbA==\x07", "\x1b]52"},
	{"a title", "\x1b]0;evil-title\x1b\\", "evil-title"},
	{"a device control string", "\x1bP$qevil-dcs\x1b\\", "evil-dcs"},
	{"a query of attributes", "\x1b[c", "\x1b[c"},
	{"a query of the cursor", "\x1b[6n", "\x1b[6n"},
	{"an application's command", "\x1b_evil-apc\x1b\\", "evil-apc"},
	{"a window's operation", "\x1b[21t", "\x1b[21t"},
	{"an eight-bit OSC", "\xc2\x9d52;c;ZXZpbA==\xc2\x9c", "\xc2\x9d"},
	{"a hyperlink", "\x1b]8;;http://evil.test/\x07", "evil.test"},
}

// stream is a command line that writes all of the hostile bytes, and the text
// that is shown after them. The shell puts that together, so that the echo of
// the line is not taken for it.
func stream(after string) (line, shown string) {
	var all strings.Builder
	for _, h := range hostileBytes {
		all.WriteString(h.sequence)
	}
	return "printf '" + octal(all.String()) + "'; printf 'text-%s\\n' " + after, "text-" + after
}

// hostileStream is S17: through a real terminal, the session and a command
// write what makes terminals act.
func hostileStream(t *testing.T, s *stage) {
	line, shown := stream("raw")
	// The way works: the engine's own client passes all of it on.
	raw := s.r.Docker("exec", agentOf(s.slug), "sh", "-c", line)
	for _, h := range hostileBytes {
		if !strings.Contains(raw, h.part) {
			t.Errorf("%s does not even leave the container: the test proves nothing", h.name)
		}
	}
	inert(t, terminal(t, s.attach(s.slug, "--", "sh", "-c", line), "", shown), shown)

	line, shown = stream("session")
	inert(t, terminal(t, s.attach(s.slug), " clear; "+line+"\r", shown), shown)

	// The agent may tell its own multiplexer whatever it likes: to pass titles
	// and the clipboard on, for one.
	socket := strings.TrimSpace(s.r.Docker("exec", agentOf(s.slug), "find", "/tmp", "-type", "s"))
	for _, option := range []string{"set -g set-titles on", "set -g set-titles-string evil-title", "set -s set-clipboard on", "set -g allow-passthrough on"} {
		argv := append([]string{"exec", agentOf(s.slug), "tmux", "-S", socket}, strings.Fields(option)...)
		s.r.Docker(argv...)
	}
	s.r.Docker("exec", agentOf(s.slug), "sh", "-c", "echo 'set -g status on' >/home/agent/.tmux.conf")
	line, shown = stream("rogue")
	rogue := exec.Command("docker", "exec", "-it", "-e", "TERM=xterm-256color", agentOf(s.slug), "tmux", "-u", "-S", socket, "attach")
	if seen := terminal(t, rogue, " clear; "+line+"\r", shown); !bytes.Contains(seen, []byte("evil-title")) {
		t.Errorf("the multiplexer does not pass titles on: the test proves nothing: %q", seen)
	}
	line, shown = stream("filtered")
	inert(t, terminal(t, s.attach(s.slug), " clear; "+line+"\r", shown), shown)
}

// attach prepares bottle-attach for a terminal.
func (s *stage) attach(args ...string) *exec.Cmd {
	cmd := s.r.Command(context.Background(), "bottle-attach", args...)
	cmd.Env = append(cmd.Env, "TERM=xterm-256color")
	return cmd
}

// octal writes text as printf's escapes.
func octal(text string) string {
	var b strings.Builder
	for i := range len(text) {
		b.WriteString(`\0` + string('0'+text[i]>>6) + string('0'+text[i]>>3&7) + string('0'+text[i]&7))
	}
	return strings.ReplaceAll(b.String(), `\0`, `\`)
}

// inert holds what was shown to what may be: text, and nothing that acts.
func inert(t *testing.T, shown []byte, after string) {
	t.Helper()
	if !bytes.Contains(shown, []byte(after)) {
		t.Errorf("the text after it is not shown: %q", shown)
	}
	for _, h := range hostileBytes {
		if bytes.Contains(shown, []byte(h.part)) {
			t.Errorf("%s arrives at the operator's terminal: %q", h.name, shown)
		}
	}
}

// terminal runs a program on a terminal, types once it shows something, and
// returns what it showed until a text was there.
func terminal(t *testing.T, cmd *exec.Cmd, typed, until string) []byte {
	t.Helper()
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 200})
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	late := time.AfterFunc(rig.Patience, func() { cmd.Process.Kill() })
	defer late.Stop()
	var shown bytes.Buffer
	buffer := make([]byte, 4096)
	for {
		n, err := tty.Read(buffer)
		shown.Write(buffer[:n])
		if typed != "" && shown.Len() > 0 {
			if _, err := tty.WriteString(typed); err != nil {
				t.Fatal(err)
			}
			typed = ""
		}
		// A terminal whose program is gone ends in an error.
		if err != nil || bytes.Contains(shown.Bytes(), []byte(until)) {
			break
		}
	}
	cmd.Process.Signal(syscall.SIGTERM)
	rest, _ := io.ReadAll(tty)
	shown.Write(rest)
	cmd.Wait()
	return shown.Bytes()
}
