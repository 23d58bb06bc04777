package operator

import (
	"context"
	"os"

	"bottle/pkg/agent"
	"bottle/pkg/bottle"
	"bottle/pkg/lifecycle"
	"bottle/pkg/manifest"
	"bottle/pkg/tokenref"
)

// Again is what bringing a bottle back needs of its manifest, besides what was
// recorded of the bottle, and how many values that are.
func Again(ctx context.Context, m *lifecycle.Manager, slug string) (lifecycle.Again, int, error) {
	names, err := m.Needed(slug)
	if err != nil {
		return lifecycle.Again{}, 0, err
	}
	man, values, err := Values(ctx, m, slug, names)
	if err != nil {
		return lifecycle.Again{}, 0, err
	}
	way, err := Way(ctx, m, tokenref.Resolver{Lookup: os.LookupEnv})
	if err != nil {
		return lifecycle.Again{}, 0, err
	}
	again := lifecycle.Again{Slug: slug, Env: values.Env, Values: values.ByName(man), Way: way, Spec: func(context.Context) (lifecycle.Spec, error) {
		s, err := asNow(m, slug)
		s.Way = way
		return s, err
	}}
	if way.Login != "" {
		again.Values[bottle.ProxyLogin] = way.Login
	}
	return again, len(names), nil
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
