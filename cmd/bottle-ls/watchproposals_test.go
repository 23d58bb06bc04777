package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	"bottle/pkg/bottle"
	"bottle/pkg/decision"
	"bottle/pkg/operator"
	"bottle/pkg/proposal"
)

// newHome is a decider of an empty home, without an engine.
func newHome(t *testing.T) *decision.Decider {
	t.Helper()
	dir := t.TempDir()
	os.Chmod(dir, 0o700)
	t.Setenv("BOTTLE_HOME", dir)
	t.Setenv("DOCKER_HOST", "unix://"+filepath.Join(dir, "none.sock"))
	d, err := open(t.Context(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A watcher that is older than a bottle hears of what it asks, whenever its
// directories come.
func TestWhoWatchesHearsOfBottlesThatComeLater(t *testing.T) {
	d := newHome(t)
	h := d.Home
	w, err := fsnotify.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	told := make(chan operator.Line, 16)
	added := make(chan string, 256)
	watch := func(dir string) error {
		err := w.Add(dir)
		if err == nil {
			added <- dir
		}
		return err
	}
	f := &follower{d: d, w: w, watch: watch, known: map[string]operator.Line{}, emit: func(l operator.Line) error { told <- l; return nil }}
	ended := make(chan error, 1)
	go func() { ended <- f.run(ctx) }()
	defer func() {
		cancel()
		<-ended
	}()
	hears := func(id string) {
		t.Helper()
		select {
		case l := <-told:
			if l.ID != id {
				t.Fatalf("%s is told of, not %s", l.ID, id)
			}
		case <-time.After(time.Minute):
			t.Fatalf("nothing is told of %s", id)
		}
	}
	watched := func(path string) { // as far as it is there: an event of ours would hide a gap
		t.Helper()
		for late := time.After(time.Minute); ; {
			select {
			case dir := <-added:
				if dir == path {
					return
				}
			case <-late:
				t.Fatalf("%s is not watched: %v", path, w.WatchList())
			}
		}
	}
	lock, err := h.Create(bottle.Bottle{Slug: "web-aaaa", Status: bottle.Starting})
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Unlock()
	at := h.StateDir("web-aaaa")
	watched(at)
	for _, name := range []string{"supervise", "out", "proposals"} {
		at = filepath.Join(at, name)
		if err := os.Mkdir(at, 0o700); err != nil {
			t.Fatal(err)
		}
		watched(at)
	}
	for _, host := range []string{"one.example", "two.example"} {
		p, err := proposal.Make(bottle.Proposal{Kind: bottle.EgressBlock, Justification: "to read its pages", Egress: &bottle.EgressAsk{Host: host}}, proposal.Rules{}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(at, p.ID+".json"), proposal.Encode(p), 0o600); err != nil {
			t.Fatal(err)
		}
		hears(p.ID)
	}
	if err := os.MkdirAll(filepath.Join(h.StateDir("web-aaaa"), "agent", "out"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, p := range w.WatchList() {
		if filepath.Base(filepath.Dir(p)) == "agent" || filepath.Base(p) == "out" {
			t.Errorf("%s is watched, which others write without end", p)
		}
	}
}

// What was asked and decided between two looks was never seen waiting: with --all
// it is told all the same, once.
func TestAllTellsWhatWasDecidedBetweenTwoLooks(t *testing.T) {
	for _, all := range []bool{false, true} {
		t.Run(fmt.Sprintf("all=%t", all), func(t *testing.T) {
			d := newHome(t)
			const slug = "web-aaaa"
			lock, err := d.Home.Create(bottle.Bottle{Slug: slug, Status: bottle.Running})
			if err != nil {
				t.Fatal(err)
			}
			defer lock.Unlock()
			filed := filepath.Join(d.Home.StateDir(slug), "supervise", "out", "proposals")
			for _, dir := range []string{filed, filepath.Join(d.Home.StateDir(slug), "supervise", "in")} {
				if err := os.MkdirAll(dir, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			ask := func(host string) string {
				t.Helper()
				p, err := proposal.Make(bottle.Proposal{Kind: bottle.EgressBlock, Justification: "to read its pages", Egress: &bottle.EgressAsk{Host: host}}, proposal.Rules{}, time.Now())
				if err == nil {
					err = os.WriteFile(filepath.Join(filed, p.ID+".json"), proposal.Encode(p), 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
				return p.ID
			}
			decide := func(id string) {
				t.Helper()
				if err := d.Home.Decide(slug, "supervise", bottle.Decision{Proposal: id, Verdict: bottle.Rejected}); err != nil {
					t.Fatal(err)
				}
			}
			w, err := fsnotify.NewWatcher()
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			var told []string
			f := &follower{d: d, w: w, watch: w.Add, all: all, known: map[string]operator.Line{},
				emit: func(l operator.Line) error { told = append(told, l.ID+" "+l.Status); return nil }}
			look := func(when string, want ...string) {
				t.Helper()
				told = nil
				if err := f.look(); err != nil {
					t.Fatal(err)
				}
				if slices.Sort(want); !slices.Equal(told, want) {
					t.Errorf("%s: told %q, not %q", when, told, want)
				}
			}
			ifAll := func(told string) (lines []string) {
				if all {
					lines = []string{told}
				}
				return lines
			}
			before := ask("before.example")
			decide(before)
			look("decided before the first look", ifAll(before+" rejected")...)
			waits := ask("waits.example")
			look("one that waits", waits+" pending")
			between := ask("between.example")
			decide(between)
			look("decided between two looks", ifAll(between+" rejected")...)
			look("nothing new")
			decide(waits)
			look("decided later", waits+" rejected")
			if err := os.Rename(filed, filed+".away"); err != nil {
				t.Fatal(err)
			}
			look("what cannot be read")
			if err := os.Rename(filed+".away", filed); err != nil {
				t.Fatal(err)
			}
			look("what can be read again")
		})
	}
}
