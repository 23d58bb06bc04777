package lifecycle

import (
	"encoding/json"

	"bottle/pkg/manifest"
	"bottle/pkg/plan"
	"bottle/pkg/proposal"
)

// asking makes the places where an agent's requests go and the answers come
// from, of every sidecar that asks.
func (t *tree) asking(p *plan.Plan, m manifest.Manifest) {
	for _, c := range p.Containers {
		if c.Service == plan.AgentService {
			continue
		}
		t.dir(c.Service+"/out/proposals", 0o700)
		t.dir(c.Service+"/in/decisions", 0o700)
	}
	if p.Find(plan.SuperviseService) == nil || t.err != nil {
		return
	}
	rules, err := json.Marshal(askable(m))
	if err != nil {
		t.err = err
		return
	}
	t.put("supervise/in/rules.json", append(rules, '\n'), 0o600)
}

// askable is what the manifest lets an agent ask for: names, and no secret.
func askable(m manifest.Manifest) proposal.Rules {
	r := proposal.Rules{Credentials: []proposal.Credential{}}
	for _, c := range m.Credentials {
		r.Credentials = append(r.Credentials, proposal.Credential{Name: c.Auth.Credential, Hosts: c.Hosts, Auth: c.Auth})
	}
	return r
}
