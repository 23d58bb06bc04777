package rig

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"bottle/pkg/agent"
	"bottle/pkg/engine/docker"
	"bottle/pkg/lifecycle"
	"bottle/pkg/manifest"
	"bottle/pkg/plan"
	"bottle/pkg/state"
)

// Manager is what the programs use to make bottles. On a private engine it sees
// this machine's addresses and name servers, where programs see that engine's.
func (r *Rig) Manager() *lifecycle.Manager {
	r.t.Helper()
	home, err := state.Open(r.Home)
	if err != nil {
		r.t.Fatal(err)
	}
	e, err := docker.At(r.host())
	if err != nil {
		r.t.Fatal(err)
	}
	return &lifecycle.Manager{Home: home, Engine: e, Libexec: r.Libexec}
}

// ClientsImage is the Dockerfile of an agent that has what agents use besides
// curl and git.
const ClientsImage = `FROM bottle
RUN apt-get update && apt-get install -y --no-install-recommends nodejs python3 && rm -rf /var/lib/apt/lists/*
`

// Provide copies what bottles of these agents need into the rig's private
// engine. Images are made on the tests' other engine where they are missing, which
// takes a network.
func (r *Rig) Provide(agents ...string) {
	r.t.Helper()
	var all []string
	for _, agent := range agents {
		images := r.images(agent)
		if _, err := client(append([]string{"image", "inspect"}, images...)...); err != nil {
			elsewhere := *r
			elsewhere.engine = nil
			if _, said, code := elsewhere.Run("bottle-stop", "--discard", elsewhere.Start(agent)); code != 0 {
				r.t.Fatalf("bottle-stop ended with %d: %s", code, said)
			}
		}
		all = append(all, images...)
	}
	r.engine.Load(all...)
}

// images are those that a bottle of an agent is made of.
func (r *Rig) images(agent string) []string {
	r.t.Helper()
	out, said, code := r.Run("bottle-start", "--dry-run", "-o", "json", "--workspace", "none", agent)
	if code != 0 {
		r.t.Fatalf("bottle-start --dry-run ended with %d: %s", code, said)
	}
	p := Decode[plan.Plan](r.t, out)
	images := []string{p.Find(plan.AgentService).Image}
	if gate := p.Find(plan.GateService); gate != nil {
		images = append(images, gate.Image)
	}
	return images
}

// ProvideGate is Provide, also of what a bottle needs when it has a git gate.
func (r *Rig) ProvideGate(agents ...string) {
	r.t.Helper()
	r.Write("bottles/gated.md", "---\ngit: {remotes: {here: {}}}\n---\n")
	r.Write("agents/gated.md", "---\nbottle: gated\nprogram: shell\n---\n")
	r.Provide(append(agents, "gated")...)
}

// Up starts a bottle with an empty workspace, as Start does, of a plan that was
// changed before anything was made of it, and returns its slug.
func (r *Rig) Up(name string, change func(*plan.Plan)) (string, error) {
	r.t.Helper()
	return r.up(name, func(*lifecycle.Spec) {}, change)
}

// UpAs is Up for a specification that was changed: another agent, or values that
// no environment has.
func (r *Rig) UpAs(name string, change func(*lifecycle.Spec)) (string, error) {
	r.t.Helper()
	return r.up(name, change, nil)
}

func (r *Rig) up(name string, specify func(*lifecycle.Spec), change func(*plan.Plan)) (string, error) {
	r.t.Helper()
	man, err := manifest.Load(r.Home, name)
	if err != nil {
		return "", err
	}
	a, err := agent.Lookup(man.Program)
	if err != nil {
		return "", err
	}
	spec := lifecycle.Spec{Manifest: man, Agent: a, Workspace: lifecycle.WorkspaceNone}
	specify(&spec)
	m := r.Manager()
	m.Adjust = change
	b, err := m.Up(context.Background(), spec, nil)
	return b.Slug, err
}

// ReadPlan reads what was made of a bottle out of its state directory.
func ReadPlan(t testing.TB, stateDir string) plan.Plan {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join(stateDir, "plan.json"))
	if err != nil {
		t.Fatal(err)
	}
	return Decode[plan.Plan](t, string(doc))
}
