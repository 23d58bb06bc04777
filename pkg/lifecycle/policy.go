package lifecycle

import (
	"fmt"
	"slices"
	"strings"

	"bottle/pkg/agent"
	"bottle/pkg/manifest"
	"bottle/pkg/policy"
)

// Policy is the policy a bottle starts with: the manifest's routes, and the
// agent's own hosts, as narrow as the agent allows. Where the manifest names
// such a host itself, the keys that it wrote win, and the others keep the
// agent's. What is asked of a model's provider is looked into whoever asks.
func Policy(s Spec) (policy.Policy, error) {
	var p policy.Policy
	named := map[string]bool{}
	for _, r := range s.Manifest.Routes {
		for _, own := range s.Agent.Hosts() {
			if own.Name != r.Host || r.Scheme != policy.HTTPS || r.Port != policy.DefaultPort(policy.HTTPS) {
				continue
			}
			named[own.Name] = true
			if !r.Wrote("path_allowlist") {
				r.Paths = own.Paths
			}
			if !r.Wrote("methods") {
				r.Methods = own.Methods
			}
			if !r.Wrote("foreign_credentials") {
				r.RefuseForeign = !own.Foreign
			}
		}
		r.Model = policy.ModelAt(&r.Route)
		p.Routes = append(p.Routes, r.Route)
	}
	for _, own := range s.Agent.Hosts() {
		if named[own.Name] || own.Choice {
			continue
		}
		r, err := ownRoute(own)
		if err != nil {
			return p, fmt.Errorf("cannot allow %s's own host: %w", s.Agent.Name(), err)
		}
		p.Routes = append(p.Routes, r)
	}
	p.Model, p.MaxBody, p.AskTimeout = s.Manifest.Model, s.Manifest.MaxBody, s.Manifest.AskTimeout
	for _, v := range s.Manifest.Env {
		if v.Secret() {
			p.Given = append(p.Given, policy.Given{Name: v.Name, Credential: v.From.Name(), Hosts: v.Hosts})
		}
	}
	return p, nil
}

// keyless says whether an agent with a model of its own gets a key from nowhere: no
// variable, no route, no login. Another route with auth may lead to another model.
func keyless(s Spec, p policy.Policy) bool {
	given := func(v manifest.EnvVar) bool { return slices.Contains(s.Agent.Keys(), v.Name) }
	foreign := func(h agent.Host) bool { return h.Foreign || h.Choice }
	auth := func(r policy.Route) bool { return r.Auth.Set() }
	return len(s.Agent.Keys()) > 0 && !slices.ContainsFunc(s.Manifest.Env, given) &&
		!slices.ContainsFunc(s.Agent.Hosts(), foreign) && !slices.ContainsFunc(p.Routes, auth)
}

// Warnings are what a manifest allows, or leaves out, and is hardly meant.
func Warnings(s Spec) []string {
	p, err := Policy(s)
	if err != nil {
		return nil // Up will tell
	}
	var warnings []string
	for _, h := range s.Agent.Hosts() {
		if h.Foreign {
			warnings = append(warnings, fmt.Sprintf("%s logs in by itself: anybody's account at %s is a way out", s.Agent.Name(), h.Name))
		}
	}
	if choice := choices(s.Agent); len(choice) > 0 && !slices.ContainsFunc(p.Routes, func(r policy.Route) bool { return isOwn(s.Agent, r) }) {
		warnings = append(warnings, fmt.Sprintf("%s has no model to ask: egress.routes needs one of %s", s.Agent.Name(), strings.Join(choice, ", ")))
	}
	if keyless(s, p) {
		warnings = append(warnings, fmt.Sprintf("%s has no key: give it %s under env, or write auth on its route", s.Agent.Name(), s.Agent.Keys()[0]))
	}
	for _, v := range s.Manifest.Env {
		if !slices.Contains(s.Agent.Keys(), v.Name) {
			continue
		}
		for _, r := range p.Routes {
			if isOwn(s.Agent, r) && r.RefuseForeign && !r.Auth.Set() && !slices.Contains(v.Hosts, r.Host) {
				warnings = append(warnings, fmt.Sprintf("%s: %s is refused by egress unless it is given for %s: {from: …, hosts: [%s]}", v.Where, v.Name, r.Host, r.Host))
			}
		}
	}
	return append(warnings, warnPipelock(s.Manifest, p)...)
}

// choices are the hosts of which an agent needs one.
func choices(a agent.Agent) (names []string) {
	for _, h := range a.Hosts() {
		if h.Choice {
			names = append(names, h.Name)
		}
	}
	return names
}

// isOwn says whether a route leads to one of the agent's own hosts.
func isOwn(a agent.Agent, r policy.Route) bool {
	return r.Scheme == policy.HTTPS && slices.ContainsFunc(a.Hosts(), func(h agent.Host) bool { return h.Name == r.Host })
}

// ownRoute is the route to an agent's own host. Whose account it is matters
// there: a key that somebody slipped in is refused.
func ownRoute(h agent.Host) (policy.Route, error) {
	r, err := policy.NewRoute(h.Name)
	r.Paths, r.Methods, r.RefuseForeign, r.Model = h.Paths, h.Methods, !h.Foreign, policy.ModelAt(&r)
	return r, err
}
