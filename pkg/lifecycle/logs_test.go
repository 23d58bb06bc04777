package lifecycle

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
	b, err := l.Up(t.Context(), l.spec, nil)
	if err != nil {
		t.Fatal(err)
	}
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
