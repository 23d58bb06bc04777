package lifecycle

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/engine"
	"bottle/pkg/manifest"
	"bottle/pkg/plan"
	"bottle/pkg/policy"
	"bottle/pkg/spool"
)

// handTime bounds a handover to a sidecar.
const handTime = 20 * time.Second

// sidecarProgram is what takes secrets in a sidecar's container, by its own
// program: command line below /.
func sidecarProgram(service string) []string { return []string{"/bottle-" + service, "secrets"} }

// takers are the sidecars that are handed values.
var takers = []string{plan.EgressService, plan.GateService}

// handSecrets gives egress the values of its policy, and the git gate these too,
// which it looks for, and its own, once both can serve.
func (u *bringUp) handSecrets(ctx context.Context) error {
	values := manifest.Values{Env: u.spec.Secrets, Credentials: u.spec.Credentials}
	egress := values.ByName(u.spec.Manifest)
	values.Git = u.spec.Keys
	return u.handEach(ctx, u.bottle.Slug, map[string]map[string]string{plan.EgressService: egress, plan.GateService: values.ByName(u.spec.Manifest)},
		func(service string) bool { return u.plan.Find(service) != nil })
}

// handEach hands the sidecars that are there their values, side by side.
func (m *Manager) handEach(ctx context.Context, slug string, values map[string]map[string]string, there func(service string) bool) error {
	var steps []func(context.Context) error
	for _, service := range takers {
		if there(service) {
			steps = append(steps, func(ctx context.Context) error { return m.hand(ctx, slug, service, values[service]) })
		}
	}
	return together(ctx, steps...)
}

// hand gives a sidecar values over the standard input of an exec: no argv, no
// environment and no file has them.
func (m *Manager) hand(ctx context.Context, slug, service string, values map[string]string) error {
	if len(values) == 0 {
		return nil
	}
	doc, err := json.Marshal(bottle.Secrets{Values: values})
	if err != nil {
		return fmt.Errorf("cannot encode the secrets of %s", service)
	}
	ctx, cancel := context.WithTimeout(ctx, handTime)
	defer cancel()
	var said bytes.Buffer
	code, err := m.Engine.Exec(ctx, plan.ContainerName(slug, service),
		engine.Exec{Cmd: sidecarProgram(service), Stdin: bytes.NewReader(doc), Stdout: &said, Stderr: &said})
	switch {
	case err != nil:
		return fmt.Errorf("cannot hand %s its secrets: %w", service, err)
	case code != 0:
		return fmt.Errorf("cannot hand %s its secrets: %s", service, lastLine(said.String()))
	}
	return nil
}

// placeholders are the agent's environment where egress has the credential for
// its own host.
func placeholders(s Spec) map[string]string {
	env := map[string]string{}
	if slices.ContainsFunc(s.Manifest.Env, func(v manifest.EnvVar) bool { return slices.Contains(s.Agent.Keys(), v.Name) }) {
		return env // the operator gave it one of its own
	}
	p, err := Policy(s)
	if err != nil {
		return env // it was computed before, and then nothing came this far
	}
	for _, r := range p.Routes {
		if r.Auth.Set() && isOwn(s.Agent, r) {
			maps.Copy(env, s.Agent.Placeholder(r.Host, r.Auth.Target()))
		}
	}
	return env
}

// Needed are the names of the values that a bottle's policy and its git gate rest
// on, sorted.
func (m *Manager) Needed(slug string) ([]string, error) {
	needs, err := m.needs(slug)
	all := slices.Concat(needs[plan.EgressService], needs[plan.GateService])
	slices.Sort(all)
	return slices.Compact(all), err
}

// needs are these names by the sidecar that must have the values.
func (m *Manager) needs(slug string) (map[string][]string, error) {
	p, err := m.policy(slug)
	if err != nil {
		return nil, err
	}
	needs := map[string][]string{plan.EgressService: p.Credentials()}
	g, err := m.gateOf(slug)
	if len(g.Remotes) > 0 {
		needs[plan.GateService] = gateNeeds(g, p)
	}
	return needs, err
}

// Given are the names of the values that are in the environment of a bottle's
// session, sorted.
func (m *Manager) Given(slug string) ([]string, error) {
	p, err := m.policy(slug)
	var names []string
	for _, v := range p.Given {
		names = append(names, v.Credential)
	}
	slices.Sort(names)
	return slices.Compact(names), err
}

// policy reads the policy that the host gave egress.
func (m *Manager) policy(slug string) (policy.Policy, error) {
	dir := filepath.Join(m.Home.StateDir(slug), plan.EgressService, "in")
	data, err := spool.ReadFile(dir, policyFile, maxPolicy)
	if err != nil {
		return policy.Policy{}, fmt.Errorf("cannot read the policy of %s: %w", slug, err)
	}
	p, err := policy.Parse(data)
	if err != nil {
		return policy.Policy{}, fmt.Errorf("cannot read the policy of %s: %w", slug, err)
	}
	return p, nil
}

const (
	policyFile  = "routes.yaml"
	hostFile    = "host.json"
	appliedFile = "applied.json"
	maxPolicy   = 16 << 20
	maxApplied  = 256 << 10
	maxTold     = 4 // names in a reason
)

// applied is what a sidecar of a bottle says is in force, nothing where it says
// nothing. What it says is its word, and no more than a word.
func applied(stateDir, service string) (a bottle.Applied) {
	data, err := spool.ReadFile(filepath.Join(stateDir, service, "out"), appliedFile, maxApplied)
	if err != nil || json.Unmarshal(data, &a) != nil {
		return bottle.Applied{}
	}
	return a
}

// allApplied is what the sidecars of a bottle say that take values, by service.
func allApplied(b bottle.Bottle) map[string]bottle.Applied {
	all := map[string]bottle.Applied{}
	for _, service := range takers {
		if slices.Contains(b.Services, service) {
			all[service] = applied(b.StateDir, service)
		}
	}
	return all
}

// late is how long after its time a value may be renewed without a word.
const late = 2 * time.Minute

// lacking marks a running bottle of which a sidecar says that it lacks values,
// since it was restarted, or that they have aged, or that pipelock is silent. It adds those that an upstream
// refuses: that alone is no fault of the bottle's.
func lacking(b bottle.Bottle, said map[string]bottle.Applied) bottle.Bottle {
	for _, service := range takers {
		a := said[service]
		if slices.Contains(b.Services, service) {
			b.Stale = append(b.Stale, named(a.Stale)...)
		}
		switch {
		case b.Status != bottle.Running:
		case len(a.Needs) > 0:
			b.Status, b.Reason = bottle.Degraded, lacks(b.Slug, service, a)
		case a.Silent:
			b.Status, b.Reason = bottle.Degraded, "pipelock does not answer: run bottle-start --resume "+b.Slug
		case a.RenewAt != nil && time.Since(*a.RenewAt) > late:
			b.Status = bottle.Degraded
			b.Reason = fmt.Sprintf("%s has values that were to be renewed: run bottle-start --renew %s", service, b.Slug)
		}
	}
	slices.Sort(b.Stale)
	b.Stale = slices.Compact(b.Stale)
	return b
}

// maxNamed bounds the names that are taken from a sidecar.
const maxNamed = 256

// named are the names of credentials among what a sidecar says.
func named(said []string) []string {
	return slices.DeleteFunc(said[:min(len(said), maxNamed)], func(s string) bool { return policy.CheckCredential(s) != nil })
}

// lacks says which values a sidecar lacks.
func lacks(slug, service string, a bottle.Applied) string {
	names := named(a.Needs)
	told := strings.Join(names[:min(len(names), maxTold)], ", ")
	if len(names) > maxTold || told == "" {
		told += " …"
	}
	return fmt.Sprintf("%s was restarted and lacks %s: run bottle-start --resume %s", service, told, slug)
}
