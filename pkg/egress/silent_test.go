package egress

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/sidecar"
)

// A pipelock that hangs is told of after two questions, and no more when it answers;
// a policy that comes meanwhile does not hide it.
func TestASilentPipelockIsTold(t *testing.T) {
	var hangs atomic.Bool
	out := t.TempDir()
	w := newWorldWith(t, Config{Out: out})
	asked := make(chan struct{}, 1000)
	go w.s.watchBehind(func(context.Context) error {
		asked <- struct{}{}
		if hangs.Load() {
			return errors.New("it did not answer in time")
		}
		return nil
	}, time.Millisecond, time.Millisecond)
	silent := func() bool {
		var a bottle.Applied
		data, err := os.ReadFile(filepath.Join(out, sidecar.AppliedFile))
		must(t, err)
		must(t, json.Unmarshal(data, &a))
		return a.Silent
	}
	for range 5 {
		<-asked
	}
	if silent() {
		t.Error("one that answers is silent")
	}
	hangs.Store(true)
	if e := w.event("pipelock"); e.Verdict != "error" || e.Reason != "it did not answer in time" || !silent() {
		t.Errorf("%+v", e)
	}
	p := *w.s.policy.Load()
	p.MaxBody = 1 << 20
	w.setPolicy(p)
	if !silent() {
		t.Error("another policy hides it")
	}
	hangs.Store(false)
	if e := w.event("pipelock"); e.Reason != "it answers again" || silent() {
		t.Errorf("%+v", e)
	}
}

// A way that fails has pipelock asked at once, and not as often as an agent likes.
func TestAFailingWayHasPipelockAsked(t *testing.T) {
	var asked atomic.Int64
	first := make(chan struct{}, 100)
	w := newWorldWith(t, Config{Answers: func(context.Context) error {
		asked.Add(1)
		first <- struct{}{}
		return nil
	}})
	for range 20 {
		resp, err := w.agent().Get("https://dead.example/")
		must(t, err)
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadGateway {
			t.Fatal(resp.Status)
		}
	}
	<-first
	if n := asked.Load(); n > 3 {
		t.Errorf("it was asked %d times", n)
	}
}
