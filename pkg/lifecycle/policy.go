package lifecycle

import (
	"fmt"

	"bottle/pkg/agent"
	"bottle/pkg/policy"
)

// Policy is the policy a bottle starts with: the manifest's routes, and the
// agent's own hosts, as narrow as the agent allows. Where the manifest names
// such a host itself, the keys that it wrote win, and the others keep the
// agent's.
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
				r.RefuseForeign = true
			}
		}
		p.Routes = append(p.Routes, r.Route)
	}
	for _, own := range s.Agent.Hosts() {
		if named[own.Name] {
			continue
		}
		r, err := ownRoute(own)
		if err != nil {
			return p, fmt.Errorf("cannot allow %s's own host: %w", s.Agent.Name(), err)
		}
		p.Routes = append(p.Routes, r)
	}
	return p, nil
}

// ownRoute is the route to an agent's own host. Whose account it is matters
// there: a key that somebody slipped in is refused.
func ownRoute(h agent.Host) (policy.Route, error) {
	r, err := policy.NewRoute(h.Name)
	r.Paths, r.Methods, r.RefuseForeign = h.Paths, h.Methods, true
	return r, err
}
