package docker

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// played is an engine whose part handler plays.
func played(t *testing.T, handler http.HandlerFunc) *Engine {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "engine.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	e, err := At("unix://" + socket)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// ofAPI plays an engine of this API, on which every container runs, and counts how
// many are ended.
func ofAPI(t *testing.T, api string) (*Engine, *atomic.Int64) {
	t.Helper()
	var ended atomic.Int64
	return played(t, func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Api-Version", api)
		switch {
		case q.Method == http.MethodDelete && q.URL.Query().Get("force") == "":
			w.WriteHeader(http.StatusConflict)
			io.WriteString(w, `{"message": "You cannot remove a running container"}`)
		case q.URL.Path != "/_ping":
			ended.Add(1)
			w.WriteHeader(http.StatusNoContent)
		}
	}), &ended
}

func TestContainersEndInTurnWhereTheEngineNeedsIt(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	old, ended := ofAPI(t, "1.41")
	done, err := old.turn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, end := range map[string]func(context.Context, string) error{"Stop": old.Stop, "Remove": old.Remove} {
		if err := end(cancelled, "another"); err == nil || ended.Load() != 0 {
			t.Errorf("%s did not wait for its turn: %v, %d ended", name, err, ended.Load())
		}
	}
	done()
	if err := old.Remove(t.Context(), "another"); err != nil || ended.Load() == 0 {
		t.Errorf("its turn did not come: %v, %d ended", err, ended.Load())
	}

	newer, ended := ofAPI(t, "1.42")
	if _, err := newer.turn(t.Context()); err != nil { // and it is not given on
		t.Fatal(err)
	}
	if err := newer.Remove(t.Context(), "another"); err != nil || ended.Load() == 0 {
		t.Errorf("a newer engine was waited for: %v, %d ended", err, ended.Load())
	}
}

// Two programs are two engines of this package's, and one lock.
func TestContainersOfTwoProgramsEndInTurn(t *testing.T) {
	held := make(chan struct{}, 1)
	lock := func(ctx context.Context) (func(), error) {
		select {
		case held <- struct{}{}:
			return func() { <-held }, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	first, _ := ofAPI(t, "1.41")
	second, ended := ofAPI(t, "1.41")
	first.TakeTurns(lock)
	second.TakeTurns(lock)
	done, err := first.turn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	removed := make(chan error, 1)
	go func() { removed <- second.Remove(cancelled, "another") }()
	cancel()
	if err := <-removed; err == nil || ended.Load() != 0 {
		t.Errorf("it did not wait for its turn: %v, %d ended", err, ended.Load())
	}
	second.patience = 250 * time.Millisecond
	if err := second.Remove(t.Context(), "another"); err != nil || ended.Load() == 0 {
		t.Errorf("it waited for one that does not go on: %v, %d ended", err, ended.Load())
	}
	done()
	if len(held) != 0 {
		t.Error("the lock is held on")
	}
	newer, ended := ofAPI(t, "1.42")
	newer.TakeTurns(func(context.Context) (func(), error) { t.Error("a newer engine needs no turns"); return nil, nil })
	if err := newer.Remove(t.Context(), "another"); err != nil || ended.Load() == 0 {
		t.Errorf("%v, %d ended", err, ended.Load())
	}
}
