package operator

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/pkg/cli"
)

func streams(err *bytes.Buffer) cli.Streams {
	return cli.Streams{In: new(bytes.Buffer), Out: new(bytes.Buffer), Err: err}
}

func taken([]byte) error { return nil }
func used([]byte) error  { return nil }

// What somebody typed is not thrown away because it is not put in force.
func TestAnEditThatIsNotUsedIsKept(t *testing.T) {
	no := func([]byte) error { return errors.New("no") }
	for name, c := range map[string]struct {
		editor     string
		check, use func([]byte) error
		kept       string // empty: nothing is
	}{
		"used":               {editor: "echo b >>", check: taken, use: used},
		"declined":           {editor: "echo b >>", check: taken, use: no, kept: "a\nb\n"},
		"wrong":              {editor: "echo b >>", check: no, use: used, kept: "a\nb\n"},
		"the editor failed":  {editor: "f() { echo b >> $1; false; }; f", check: taken, use: used, kept: "a\nb\n"},
		"unchanged":          {editor: "true", check: taken, use: no},
		"unchanged, failed":  {editor: "false", check: taken, use: used},
		"unchanged, refused": {editor: "true", check: no, use: used},
	} {
		t.Run(name, func(t *testing.T) {
			tmp := t.TempDir()
			t.Setenv("TMPDIR", tmp)
			t.Setenv("VISUAL", c.editor)
			var said bytes.Buffer
			changed, err := Edit(t.Context(), streams(&said), "a.yaml", []byte("a\n"), c.check, c.use)
			if works := name == "used" || name == "unchanged"; (err == nil) != works || changed != (name == "used" || name == "declined") {
				t.Errorf("changed %v, %v", changed, err)
			}
			files, _ := filepath.Glob(filepath.Join(tmp, "*", "*"))
			if c.kept == "" {
				if dirs, _ := os.ReadDir(tmp); len(dirs) != 0 || said.Len() != 0 {
					t.Errorf("%v is left: %s", dirs, said.String())
				}
				return
			}
			if len(files) != 1 || !strings.Contains(said.String(), files[0]) {
				t.Fatalf("%v is kept: %s", files, said.String())
			}
			info, _ := os.Stat(files[0])
			if text, err := os.ReadFile(files[0]); err != nil || string(text) != c.kept || info.Mode() != 0o600 {
				t.Errorf("%v: %v %q", err, info.Mode(), text)
			}
		})
	}
}

// An editor that is a script makes its change each time it is opened: where nobody
// can look at a mistake, it is opened once.
func TestAMistakeOfAScriptIsTheEndOfTheEdit(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ran := filepath.Join(t.TempDir(), "ran")
	t.Setenv("VISUAL", "")
	t.Setenv("EDITOR", "echo x >> "+ran+"; echo more >>")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	checks := 0
	_, err := Edit(ctx, streams(new(bytes.Buffer)), "a.yaml", []byte("a\n"), func([]byte) error {
		if checks++; checks > 1 {
			cancel()
		}
		return errors.New("it is wrong")
	}, used)
	if e := (cli.Error{}); !errors.As(err, &e) || e.Code != cli.Failed {
		t.Errorf("%v", err)
	}
	if text, err := os.ReadFile(ran); err != nil || string(text) != "x\n" {
		t.Errorf("%v: it ran %q", err, text)
	}
}
