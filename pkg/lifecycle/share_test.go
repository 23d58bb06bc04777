package lifecycle

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/pkg/bottle"
	"bottle/pkg/workspace"
)

// mounts makes a bottle of the lab's spec one that works in dir itself.
func (l *lab) mounts(dir string) Spec {
	s := l.spec
	s.Workspace, s.Folder, s.Mount = WorkspaceMount, dir, workspace.Info{Root: dir}
	return s
}

// The outer agent could lead the engine anywhere when the inner bottle starts.
func TestNoFolderIsMountedInAnother(t *testing.T) {
	l := newLab(t)
	outer := t.TempDir()
	inner := filepath.Join(outer, "inner")
	if err := os.Mkdir(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dirs := range [][2]string{{outer, inner}, {inner, outer}} {
		there := bottle.Bottle{Slug: "there", Status: bottle.Running, Ran: true, Engine: "fake", Workspace: WorkspaceMount, Folder: dirs[0]}
		l.leave(t, there, true).Unlock()
		if _, err := l.Up(t.Context(), l.mounts(dirs[1]), nil); !errors.Is(err, ErrNested) || !strings.Contains(err.Error(), "there works in "+dirs[0]) {
			t.Errorf("%s beside %s: %v", dirs[1], dirs[0], err)
		}
		if err := l.Home.Forget("there"); err != nil {
			t.Fatal(err)
		}
	}
}

// Who stops a bottle hears of what the agent left for his git.
func TestTheStopTellsOfPlantedRepositories(t *testing.T) {
	l := newLab(t)
	dir := t.TempDir()
	b := bottle.Bottle{Slug: "b", Workspace: WorkspaceMount, Folder: dir}
	l.leave(t, b, true).Unlock()
	for _, name := range []string{"src\x1b[2J/.git/refs", "data/refs", "data/objects", "data/HEAD"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	log, err := openJournal(filepath.Join(t.TempDir(), "log"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	said := l.unshare(t.Context(), b, log)
	text := strings.Join(said, "\n")
	if strings.Count(text, "is a repository to git") != 2 || !strings.Contains(text, `/data"`) || !strings.Contains(text, `\x1b[2J`) || strings.Contains(text, "\x1b") {
		t.Errorf("%q", said)
	}
}
