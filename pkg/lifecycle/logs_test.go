package lifecycle

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"bottle/pkg/engine"
	"bottle/pkg/state"
)

// loud is an engine whose containers say what would move a terminal.
type loud struct{ engine.Engine }

func (loud) Logs(_ context.Context, _ string, w io.Writer) error {
	_, err := io.WriteString(w, "2026-11-24T20:00:00Z \x1b]52;c;aGk=\a tab\tok \u202e\x9b\r\nnext naïve\n")
	return err
}

func TestALogIsInertWhateverTheAgentSays(t *testing.T) {
	l := newLab(t)
	b := l.bottle(t)
	log, err := openJournal(filepath.Join(b.StateDir, state.TeardownLog), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	m := &Manager{Home: l.Home, Engine: loud{l.fake}}
	if err := m.saveLogs(t.Context(), b.Slug, []string{"agent"}, log); err != nil {
		t.Fatal(err)
	}
	log.step("it said \x1b[31mred")
	for name, want := range map[string]string{
		state.ComposeLog:  "agent | 2026-11-24T20:00:00Z \ufffd]52;c;aGk=\ufffd tab\tok \ufffd\ufffd\nagent | next naïve\n",
		state.TeardownLog: "it said \ufffd[31mred\n",
	} {
		if data, err := os.ReadFile(filepath.Join(b.StateDir, name)); err != nil || !strings.HasSuffix(string(data), want) {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
}

// A diff comes in pieces, and what is harmless in it stays as it is.
func TestADifferenceIsInertAndOtherwiseAsItWas(t *testing.T) {
	long := strings.Repeat("ü", 100_000)
	for in, want := range map[string]string{
		"+a\tb\r\n-c\n":            "+a\tb\r\n-c\n",
		"+\x1b[31mred\x9b\u202e\n": "+\ufffd[31mred\ufffd\ufffd\n",
		"+a\rb\nno end":            "+a\ufffdb\nno end",
		long + "\n":                long + "\n",
		"":                         "",
	} {
		for _, size := range []int{1, 3, 4096, len(in) + 1} {
			var out bytes.Buffer
			w := &inertWriter{w: bufio.NewWriter(&out)}
			for rest := []byte(in); len(rest) > 0; {
				n := min(size, len(rest))
				if _, err := w.Write(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if err := w.flush(); err != nil || out.String() != want {
				t.Errorf("in pieces of %d: %.60q, %v", size, out.String(), err)
			}
		}
	}
}

// However a difference comes in pieces, it is the same, and nothing in it moves a
// terminal.
func FuzzADifferenceIsInert(f *testing.F) {
	f.Add([]byte("+a\r\n+\x1b[2J\xc3"), 3)
	f.Fuzz(func(t *testing.T, in []byte, size int) {
		through := func(size int) string {
			var out bytes.Buffer
			w := &inertWriter{w: bufio.NewWriter(&out)}
			for rest := in; len(rest) > 0; {
				n := min(size, len(rest))
				if _, err := w.Write(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if err := w.flush(); err != nil {
				t.Fatal(err)
			}
			return out.String()
		}
		whole := through(len(in) + 1)
		if len(in) < maxInertLine && whole != through(1+max(size, 0)%64) {
			t.Errorf("in pieces it is another: %q", in)
		}
		for _, r := range strings.ReplaceAll(whole, "\r\n", "\n") {
			if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
				t.Errorf("%q lets %q through", in, r)
			}
		}
	})
}
