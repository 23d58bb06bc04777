package lifecycle

import (
	"path/filepath"
	"testing"

	"github.com/fsnotify/fsnotify"

	"bottle/test/rig"
)

// awaitChange acts, and returns when a file of the directory was replaced.
func awaitChange(t *testing.T, dir, name string, act func()) {
	t.Helper()
	awaitEvent(t, dir, act, func(e fsnotify.Event) bool { return filepath.Base(e.Name) == name && e.Has(fsnotify.Create) })
}

// awaitWrite acts, and returns when something was written in the directory so that
// done is true.
func awaitWrite(t *testing.T, dir string, done func() bool, act func()) {
	t.Helper()
	awaitEvent(t, dir, act, func(fsnotify.Event) bool { return done() })
}

// awaitEvent acts, and returns when enough has happened in the directory: it is
// asked at each event, and once before the first.
func awaitEvent(t *testing.T, dir string, act func(), enough func(fsnotify.Event) bool) {
	t.Helper()
	w, err := fsnotify.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Add(dir); err != nil {
		t.Fatal(err)
	}
	act()
	ctx, cancel := rig.Patient(t)
	defer cancel()
	for e := (fsnotify.Event{}); !enough(e); {
		select {
		case e = <-w.Events:
		case err := <-w.Errors:
			t.Fatal(err)
		case <-ctx.Done():
			t.Fatalf("what was awaited in %s did not come", dir)
		}
	}
}
