package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	"bottle/pkg/bottle"
	"bottle/pkg/decision"
	"bottle/pkg/operator"
	"bottle/pkg/proposal"
	"bottle/pkg/sidecar"
)

// refusals is the queue of a bottle's egress, and an ID for each host that it
// refused, oldest first.
func refusals(t *testing.T, d *decision.Decider, hosts ...string) (q *sidecar.Queue, ids []string) {
	t.Helper()
	lock, err := d.Home.Create(bottle.Bottle{Slug: "web-aaaa", Agent: "web", Status: bottle.Running})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lock.Unlock() })
	base := filepath.Join(d.Home.StateDir("web-aaaa"), proposal.Egress)
	for _, dir := range []string{"in/decisions", "out"} {
		if err := os.MkdirAll(filepath.Join(base, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(base, "in", "routes.yaml"), []byte("routes: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if q, err = sidecar.OpenQueue(filepath.Join(base, "in"), filepath.Join(base, "out"), sidecar.Limits{Pending: 10, PerMinute: 10}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	for i, host := range hosts {
		p, err := proposal.Make(bottle.Proposal{Kind: bottle.EgressDenied, Egress: &bottle.EgressAsk{Host: host, Methods: []string{"GET"}}}, proposal.Rules{}, time.Now().Add(time.Duration(i)*time.Second))
		if err == nil {
			p, err = q.Ask(p)
		}
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, p.ID)
	}
	return q, ids
}

func hold(q *sidecar.Queue, id string) (release func()) {
	q.Note(id, func(w *bottle.Pending) { w.HeldUntil = time.Now().Add(time.Minute).UTC() })
	_, release = q.Hold(id)
	return release
}

func TestWhatIsHeldIsListedFirst(t *testing.T) {
	d := newHome(t)
	q, ids := refusals(t, d, "one.example", "two.example")
	hold(q, ids[1])
	q.Close() // which tells what there is
	var out, errOut bytes.Buffer
	if code := run([]string{"bottle-ls", "proposals", "-o", "table"}, nil, &out, &errOut); code != 0 || errOut.Len() > 0 {
		t.Fatalf("%d: %s", code, &errOut)
	}
	lines := strings.Split(out.String(), "\n")
	if len(lines) != 4 || !regexp.MustCompile(ids[1]+` .* held (59|60|1m0)s? .*two\.example`).MatchString(lines[1]) || !regexp.MustCompile(ids[0]+` .* pending `).MatchString(lines[2]) {
		t.Errorf("%s", &out)
	}
	out.Reset()
	if code := run([]string{"bottle-ls", "proposals"}, nil, &out, &errOut); code != 0 {
		t.Fatalf("%d: %s", code, &errOut)
	}
	var first struct {
		ID       string
		Status   string
		HeldLeft int64 `json:"held_left"`
		Pending  struct {
			Held int
		}
	}
	if err := json.NewDecoder(&out).Decode(&first); err != nil || first.ID != ids[1] || first.Status != "pending" || first.HeldLeft < 50 || first.HeldLeft > 60 || first.Pending.Held != 1 {
		t.Errorf("%+v, %v", first, err)
	}
}

// Whoever watches hears that a request is held, and that it is no more, though
// nobody watches the file that says so.
func TestWhoWatchesHearsWhatIsHeld(t *testing.T) {
	d := newHome(t)
	q, ids := refusals(t, d, "one.example")
	w, err := fsnotify.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	told := make(chan operator.Line, 16)
	f := &follower{d: d, w: w, watch: w.Add, known: map[string]operator.Line{}, emit: func(l operator.Line) error { told <- l; return nil }}
	ended := make(chan error, 1)
	go func() { ended <- f.run(ctx) }()
	defer func() {
		cancel()
		<-ended
	}()
	hears := func(held, again bool) {
		t.Helper()
		select {
		case l := <-told:
			if l.ID != ids[0] || l.Status != "pending" || (l.HeldLeft != nil) != held || l.Again != again {
				t.Fatalf("told of %+v", l)
			}
		case <-time.After(time.Minute):
			t.Fatal("nothing is told")
		}
	}
	hears(false, false)
	release := hold(q, ids[0])
	hears(true, true)
	release()
	hears(false, true)
}
