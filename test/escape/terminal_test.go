package escape

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
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

// afterHostile is shown after all of it. Its parts are put together by the
// shell, so that the echo of the command line is not taken for it.
const afterHostile = "text-after"

// hostileStream is S17: through a real terminal, the session and a command
// write what makes terminals act.
func hostileStream(t *testing.T, s *stage) {
	var all strings.Builder
	for _, h := range hostileBytes {
		all.WriteString(h.sequence)
	}
	// The way works: the engine's own client passes all of it on.
	raw := s.r.Docker("exec", agentOf(s.slug), "printf", "%b", octal(all.String()))
	for _, h := range hostileBytes {
		if !strings.Contains(raw, h.part) {
			t.Errorf("%s does not even leave the container: the test proves nothing", h.name)
		}
	}
	script := "printf '" + octal(all.String()) + "'; printf 'text-%s\\n' after"
	t.Run("a command", func(t *testing.T) {
		inert(t, terminal(t, s, nil, s.slug, "--", "sh", "-c", script))
	})
	t.Run("the session", func(t *testing.T) {
		inert(t, terminal(t, s, []byte(" clear; "+script+"\r"), s.slug))
	})
}

// octal writes text as printf's escapes.
func octal(text string) string {
	var b strings.Builder
	for i := range len(text) {
		b.WriteString(`\0` + string('0'+text[i]>>6) + string('0'+text[i]>>3&7) + string('0'+text[i]&7))
	}
	return strings.ReplaceAll(b.String(), `\0`, `\`)
}

func inert(t *testing.T, shown []byte) {
	t.Helper()
	if !bytes.Contains(shown, []byte(afterHostile)) {
		t.Errorf("the text after it is not shown: %q", shown)
	}
	for _, h := range hostileBytes {
		if bytes.Contains(shown, []byte(h.part)) {
			t.Errorf("%s arrives at the operator's terminal: %q", h.name, shown)
		}
	}
}

// terminal runs bottle-attach on a terminal, types, and returns what it showed
// until the text after the hostile bytes was there.
func terminal(t *testing.T, s *stage, typed []byte, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := s.r.Command(ctx, "bottle-attach", args...)
	cmd.Env = append(cmd.Env, "TERM=xterm-256color")
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 200})
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	var shown bytes.Buffer
	buffer := make([]byte, 4096)
	for {
		n, err := tty.Read(buffer)
		shown.Write(buffer[:n])
		if typed != nil && shown.Len() > 0 {
			if _, err := tty.Write(typed); err != nil {
				t.Fatal(err)
			}
			typed = nil
		}
		if err != nil || bytes.Contains(shown.Bytes(), []byte(afterHostile)) {
			if err != nil && !errors.Is(err, syscall.EIO) && !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrClosed) {
				t.Errorf("cannot read the terminal: %v", err)
			}
			break
		}
	}
	cmd.Process.Signal(syscall.SIGTERM)
	rest, _ := io.ReadAll(tty)
	shown.Write(rest)
	cmd.Wait()
	return shown.Bytes()
}
