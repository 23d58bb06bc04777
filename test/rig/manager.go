package rig

import (
	"context"

	"bottle/pkg/agent"
	"bottle/pkg/engine/docker"
	"bottle/pkg/lifecycle"
	"bottle/pkg/manifest"
	"bottle/pkg/plan"
	"bottle/pkg/state"
)

// Manager is what the programs use to make bottles.
func (r *Rig) Manager() *lifecycle.Manager {
	r.t.Helper()
	home, err := state.Open(r.Home)
	if err != nil {
		r.t.Fatal(err)
	}
	e, err := docker.New()
	if err != nil {
		r.t.Fatal(err)
	}
	return &lifecycle.Manager{Home: home, Engine: e, Libexec: r.Libexec}
}

// Up starts a bottle with an empty workspace, as Start does, of a plan that was
// changed before anything was made of it, and returns its slug.
func (r *Rig) Up(name string, change func(*plan.Plan)) (string, error) {
	r.t.Helper()
	man, err := manifest.Load(r.Home, name)
	if err != nil {
		return "", err
	}
	a, err := agent.Lookup(man.Program)
	if err != nil {
		return "", err
	}
	m := r.Manager()
	m.Adjust = change
	b, err := m.Up(context.Background(), lifecycle.Spec{Manifest: man, Agent: a, Workspace: lifecycle.WorkspaceNone}, nil)
	return b.Slug, err
}
