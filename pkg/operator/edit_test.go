package operator

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"bottle/pkg/cli"
)

// An editor that is a script makes its change each time it is opened: where nobody
// can look at a mistake, it is opened once.
func TestAMistakeOfAScriptIsTheEndOfTheEdit(t *testing.T) {
	ran := filepath.Join(t.TempDir(), "ran")
	t.Setenv("VISUAL", "")
	t.Setenv("EDITOR", "echo x >> "+ran+"; echo more >>")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	checks := 0
	_, _, err := Edit(ctx, cli.Streams{In: new(bytes.Buffer), Out: new(bytes.Buffer), Err: new(bytes.Buffer)}, "a.yaml", []byte("a\n"), func([]byte) error {
		if checks++; checks > 1 {
			cancel()
		}
		return errors.New("it is wrong")
	})
	if e := (cli.Error{}); !errors.As(err, &e) || e.Code != cli.Failed {
		t.Errorf("%v", err)
	}
	if text, err := os.ReadFile(ran); err != nil || string(text) != "x\n" {
		t.Errorf("%v: it ran %q", err, text)
	}
}
