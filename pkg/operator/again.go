package operator

import (
	"context"

	"bottle/pkg/agent"
	"bottle/pkg/bottle"
	"bottle/pkg/lifecycle"
	"bottle/pkg/manifest"
)

// Again is what bringing a bottle back needs of its manifest, besides what was
// recorded of the bottle, and how many values that are.
func Again(ctx context.Context, m *lifecycle.Manager, slug string) (lifecycle.Again, int, error) {
	names, err := m.Needed(slug)
	if err != nil {
		return lifecycle.Again{}, 0, err
	}
	man, values, err := Values(ctx, m, slug, names)
	return lifecycle.Again{Slug: slug, Env: values.Env, Values: values.ByName(man),
		Spec: func(context.Context) (lifecycle.Spec, error) { return asNow(m, slug) }}, len(names), err
}

// asNow is what a bottle would be started as now.
func asNow(m *lifecycle.Manager, slug string) (lifecycle.Spec, error) {
	b, err := m.Home.Bottle(slug)
	if err != nil {
		return lifecycle.Spec{}, err
	}
	man, err := manifest.Load(m.Home.Dir, b.Agent)
	if err != nil {
		return lifecycle.Spec{}, err
	}
	a, err := agent.Lookup(man.Program)
	return lifecycle.Spec{Manifest: man, Agent: a}, err
}

// rebuild gives a bottle's agent the image that was approved, and goes over to it.
func rebuild(ctx context.Context, m *lifecycle.Manager, p bottle.Proposal, answer func() error) error {
	again, _, err := Again(ctx, m, p.Slug)
	if err != nil {
		return err
	}
	return m.Rebuild(ctx, again, p.Capability.Dockerfile, func() error {
		if err := answer(); err != nil {
			return err
		}
		m.AwaitTold(ctx, p.Slug, p.ID) // the agent hears of it before it is stopped for it
		return nil
	}, nil)
}
