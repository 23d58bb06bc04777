package docker

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"bottle/pkg/engine"
	"bottle/pkg/plan"
)

func TestAnEngineThatTakesRequestsAndAnswersNoneHoldsNobody(t *testing.T) {
	e := played(t, func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/_ping" { // which a stuck engine still does
			w.Header().Set("Api-Version", "1.41")
			return
		}
		<-q.Context().Done()
	})
	e.patience = 10 * time.Millisecond
	for name, call := range map[string]func(context.Context) error{
		"Host":          func(ctx context.Context) error { _, err := e.Host(ctx); return err },
		"List":          func(ctx context.Context) error { _, err := e.List(ctx, "home"); return err },
		"Networks":      func(ctx context.Context) error { _, err := e.Networks(ctx); return err },
		"Volumes":       func(ctx context.Context) error { _, err := e.Volumes(ctx, "home"); return err },
		"CreateNetwork": func(ctx context.Context) error { return e.CreateNetwork(ctx, plan.Network{Name: "n"}) },
		"RemoveNetwork": func(ctx context.Context) error { return e.RemoveNetwork(ctx, "n") },
		"Create":        func(ctx context.Context) error { return e.Create(ctx, plan.Container{Name: "c"}) },
		"Connect":       func(ctx context.Context) error { return e.Connect(ctx, "c", plan.Endpoint{Network: "n"}) },
		"Start":         func(ctx context.Context) error { return e.Start(ctx, "c") },
		"Stop":          func(ctx context.Context) error { return e.Stop(ctx, "c") },
		"Remove":        func(ctx context.Context) error { return e.Remove(ctx, "c") },
	} {
		if err := call(t.Context()); !errors.Is(err, engine.ErrSilent) || !engine.Away(err) {
			t.Errorf("%s: %v", name, err)
		}
		// An operator who does not want to wait hears of that, and not of the engine.
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := call(ctx); !errors.Is(err, context.Canceled) || engine.Away(err) {
			t.Errorf("%s, interrupted: %v", name, err)
		}
	}
}
