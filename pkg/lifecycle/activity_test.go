package lifecycle

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"bottle/pkg/bottle"
)

// saying has a bottle's agent write its activity.
func saying(t *testing.T, stateDir string, record []byte) {
	t.Helper()
	dir := activityDir(stateDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, bottle.ActivityFile), os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(record, 0); err != nil {
		t.Fatal(err)
	}
}

func TestActivityIsOfAgentsThatRun(t *testing.T) {
	b := bottle.Bottle{StateDir: t.TempDir(), Status: bottle.Running}
	if got := Acting(b); got.Activity != "" {
		t.Errorf("where nothing is told: %s", got.Activity)
	}
	saying(t, b.StateDir, bottle.ActivityRecord(bottle.Working, 0))
	for status, want := range map[bottle.Status]bottle.Activity{bottle.Running: bottle.Working, bottle.Degraded: bottle.Working,
		bottle.Starting: "", bottle.Stopped: "", bottle.Lost: "", "?": ""} {
		b.Status, b.Activity = status, bottle.Waiting // as it was
		if got := Acting(b); got.Activity != want || got.ActivitySince.IsZero() != (want == "") {
			t.Errorf("%s: %q since %s", status, got.Activity, got.ActivitySince)
		}
	}
}

func TestWhatAnAgentSaysOfItselfIsAWordOrNothing(t *testing.T) {
	b := bottle.Bottle{StateDir: t.TempDir(), Status: bottle.Running}
	for _, record := range [][]byte{make([]byte, bottle.ActivitySize), append(bottle.ActivityRecord(bottle.Working, 0), 'x'),
		[]byte("\x1b]52;c;eA==\x07                     \n"), make([]byte, 1<<20)} {
		saying(t, b.StateDir, record)
		if got := Acting(b); got.Activity != "" {
			t.Errorf("%.40q: %s", record, got.Activity)
		}
	}
	file := filepath.Join(activityDir(b.StateDir), bottle.ActivityFile)
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, bottle.ActivityRecord(bottle.Working, 0), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, file); err != nil {
		t.Fatal(err)
	}
	if got := Acting(b); got.Activity != "" {
		t.Errorf("through a link: %s", got.Activity)
	}
}

// Watchers hear of every change that lasts, and the engine is not asked for it.
func TestWatchTellsWhatAgentsDo(t *testing.T) {
	l := newLab(t)
	b, err := l.Up(t.Context(), l.spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	e := &moody{Engine: l.fake}
	m := &Manager{Home: l.Home, Engine: e, Libexec: l.Libexec}
	told := make(chan bottle.Bottle, 100)
	watching := make(chan error, 1)
	go func() {
		watching <- m.Watch(t.Context(), func(b bottle.Bottle) error { told <- b; return nil },
			func(err error) { t.Errorf("the engine was asked: %v", err) })
	}()
	next := func() bottle.Bottle {
		t.Helper()
		select {
		case b := <-told:
			return b
		case err := <-watching:
			t.Fatalf("the watch ended: %v", err)
		case <-time.After(time.Minute):
			t.Fatal("nothing was told")
		}
		return bottle.Bottle{}
	}
	if first := next(); first.Slug != b.Slug || first.Activity != bottle.Idle {
		t.Fatalf("at first: %+v", first)
	}
	e.away.Store(true)
	for _, a := range []bottle.Activity{bottle.Working, bottle.Waiting, bottle.Working, bottle.Exited} {
		saying(t, b.StateDir, bottle.ActivityRecord(a, 0))
		if got := next(); got.Activity != a || got.ActivitySince.IsZero() {
			t.Errorf("told %s since %s, want %s", got.Activity, got.ActivitySince, a)
		}
	}
}
