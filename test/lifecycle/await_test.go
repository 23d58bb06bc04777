package lifecycle

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

// awaitChange acts, and returns when a file of the directory was replaced.
func awaitChange(t *testing.T, dir, name string, act func()) {
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
	late := time.After(20 * time.Second)
	for {
		select {
		case e := <-w.Events:
			if filepath.Base(e.Name) == name && e.Has(fsnotify.Create) {
				return
			}
		case err := <-w.Errors:
			t.Fatal(err)
		case <-late:
			t.Fatalf("%s was not replaced", name)
		}
	}
}

// awaitWrite acts, and returns when something was written in the directory so that
// done is true.
func awaitWrite(t *testing.T, dir string, done func() bool, act func()) {
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
	late := time.After(20 * time.Second)
	for !done() {
		select {
		case <-w.Events:
		case err := <-w.Errors:
			t.Fatal(err)
		case <-late:
			t.Fatalf("what was awaited in %s did not come", dir)
		}
	}
}
