package bench

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sync/errgroup"

	"bottle/pkg/engine/docker"
	"bottle/pkg/plan"
	"bottle/test/rig"
)

// bare is the least that any program can ask of the engine for a bottle: its
// containers, network and volumes, as they were planned, and nothing of what
// makes a bottle of them.
type bare struct {
	*plan.Plan
	engine *docker.Engine
}

func readPlan(t *testing.T, r *rig.Rig, slug string) bare {
	t.Helper()
	e, err := docker.New()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(r.Home, "state", slug, "plan.json"))
	if err != nil {
		t.Fatal(err)
	}
	p := rig.Decode[plan.Plan](t, string(data))
	return bare{&p, e}
}

// together runs steps side by side.
func together(t *testing.T, steps ...func(context.Context) error) {
	t.Helper()
	g, ctx := errgroup.WithContext(t.Context())
	for _, s := range steps {
		g.Go(func() error { return s(ctx) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

func (b bare) up(t *testing.T) {
	var volumes, starts []func(context.Context) error
	for _, v := range b.Volumes {
		volumes = append(volumes, func(ctx context.Context) error { return b.engine.CreateVolume(ctx, v) })
	}
	together(t, append(volumes, func(ctx context.Context) error { return b.engine.CreateNetwork(ctx, b.Own()) })...)
	for _, c := range b.Containers {
		starts = append(starts, func(ctx context.Context) error {
			early, late := b.Early(c)
			if c.Endpoints = early; len(early) == 0 {
				c.Endpoints, late = late, nil
			}
			if err := b.engine.Create(ctx, c); err != nil {
				return err
			}
			if err := b.engine.Start(ctx, c.Name); err != nil {
				return err
			}
			for _, ep := range late {
				if err := b.engine.Connect(ctx, c.Name, ep); err != nil {
					return err
				}
			}
			return nil
		})
	}
	together(t, starts...)
}

func (b bare) down(t *testing.T) {
	var stops, removes, volumes []func(context.Context) error
	for _, c := range b.Containers {
		stops = append(stops, func(ctx context.Context) error { return b.engine.Stop(ctx, c.Name) })
		removes = append(removes, func(ctx context.Context) error { return b.engine.Remove(ctx, c.Name) })
	}
	for _, v := range b.Volumes {
		volumes = append(volumes, func(ctx context.Context) error { return b.engine.RemoveVolume(ctx, v.Name) })
	}
	together(t, stops...)
	together(t, append(removes, func(ctx context.Context) error { return b.engine.RemoveNetwork(ctx, b.Own().Name) })...)
	together(t, volumes...)
}
