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
	stopped                       bool // none of the containers runs in the networks
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

// remove removes it side by side: volumes after the containers that hold them,
// networks after those that run in them.
func (m *Manager) remove(ctx context.Context, r remains) error {
	var containers, volumes, networks []func(context.Context) error
	for _, name := range r.containers {
		containers = append(containers, func(ctx context.Context) error { return m.Engine.Remove(ctx, name) })
	}
	for _, name := range r.volumes {
		volumes = append(volumes, func(ctx context.Context) error { return m.Engine.RemoveVolume(ctx, name) })
	}
	for _, name := range r.networks {
		networks = append(networks, func(ctx context.Context) error { return m.Engine.RemoveNetwork(ctx, name) })
	}
	then := volumes
	if !r.stopped {
		then, networks = append(volumes, networks...), nil
	}
	return all(ctx, append(networks, func(ctx context.Context) error {
		if err := all(ctx, containers); err != nil {
			return err
		}
		return all(ctx, then)
	}))
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

// dropUplink removes the shared network if no bottle of the home is left on this
// engine, of that ID. The state directory decides: a bottle in the making has its
// directory before it asks for the network.
func (m *Manager) dropUplink(ctx context.Context, id string) error {
	lock, err := m.Home.LockShared(ctx)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	bottles, err := records(m.Home)
	if err != nil {
		return err
	}
	for _, b := range bottles {
		if !elsewhere(b, id) {
			return nil
		}
	}
	uplink := plan.UplinkName(m.Home.ID)
	if err = m.Engine.RemoveNetwork(ctx, uplink); errors.Is(err, engine.ErrAmbiguous) {
		if err = m.oneUplink(ctx); err == nil {
			err = m.Engine.RemoveNetwork(ctx, uplink)
		}
	}
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
