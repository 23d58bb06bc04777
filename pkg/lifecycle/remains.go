package lifecycle

import (
	"context"
	"errors"
	"slices"

	"bottle/pkg/engine"
	"bottle/pkg/plan"
)

// remains is all that an engine holds of one bottle.
type remains struct {
	containers, networks, volumes []string
}

func (r remains) empty() bool {
	return len(r.containers)+len(r.networks)+len(r.volumes) == 0
}

// find looks for what carries the bottle's label.
func (m *Manager) find(ctx context.Context, slug string) (r remains, err error) {
	err = together(ctx, func(ctx context.Context) error {
		list, err := m.Engine.List(ctx, m.Home.ID)
		for _, c := range list {
			if c.Slug == slug {
				r.containers = append(r.containers, c.Name)
			}
		}
		return err
	}, func(ctx context.Context) error {
		list, err := m.Engine.Networks(ctx)
		for _, n := range list {
			if n.Labels[plan.LabelHome] == m.Home.ID && n.Labels[plan.LabelSlug] == slug {
				r.networks = append(r.networks, n.Name)
			}
		}
		return err
	}, func(ctx context.Context) error {
		list, err := m.Engine.Volumes(ctx, m.Home.ID)
		for _, v := range list {
			if v.Slug == slug {
				r.volumes = append(r.volumes, v.Name)
			}
		}
		return err
	})
	return r, err
}

// remove removes it: containers side by side, then networks and volumes.
func (m *Manager) remove(ctx context.Context, r remains) error {
	var steps []func(context.Context) error
	for _, name := range r.containers {
		steps = append(steps, func(ctx context.Context) error { return m.Engine.Remove(ctx, name) })
	}
	if err := all(ctx, steps); err != nil {
		return err
	}
	steps = nil
	for _, name := range r.networks {
		steps = append(steps, func(ctx context.Context) error { return m.Engine.RemoveNetwork(ctx, name) })
	}
	for _, name := range r.volumes {
		steps = append(steps, func(ctx context.Context) error { return m.Engine.RemoveVolume(ctx, name) })
	}
	return all(ctx, steps)
}

// all runs every step to its end, whatever becomes of the others.
func all(ctx context.Context, steps []func(context.Context) error) error {
	errs := make(chan error, len(steps))
	for _, s := range steps {
		go func() { errs <- s(ctx) }()
	}
	var failed []error
	for range steps {
		failed = append(failed, <-errs)
	}
	return errors.Join(failed...)
}

// dropUplink removes the shared network if no bottle of the home is left. The
// state directory decides: a bottle in the making has its directory before it
// asks for the network.
func (m *Manager) dropUplink(ctx context.Context) error {
	lock, err := m.Home.LockShared()
	if err != nil {
		return err
	}
	defer lock.Unlock()
	slugs, err := m.Home.Slugs()
	if err != nil || len(slugs) > 0 {
		return err
	}
	err = m.Engine.RemoveNetwork(ctx, plan.UplinkName(m.Home.ID))
	if errors.Is(err, engine.ErrConflict) {
		return nil // somebody's container is still in it: the next last bottle removes it
	}
	return err
}

func findNetwork(networks []engine.Network, name string) (engine.Network, bool) {
	i := slices.IndexFunc(networks, func(n engine.Network) bool { return n.Name == name })
	if i < 0 {
		return engine.Network{}, false
	}
	return networks[i], true
}
