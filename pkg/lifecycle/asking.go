package lifecycle

import (
	"bytes"
	"encoding/json"
	"path"

	"bottle/pkg/agent"
	"bottle/pkg/manifest"
	"bottle/pkg/plan"
	"bottle/pkg/proposal"
)

// asking makes the places where an agent's requests go and the answers come
// from, of every sidecar that asks.
func (t *tree) asking(p *plan.Plan, m manifest.Manifest) {
	for _, c := range p.Containers {
		if c.Service == plan.AgentService || c.Service == plan.PipelockService {
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
	r := proposal.Rules{Credentials: []proposal.Credential{}, Pipelock: m.Pipelock.Image != ""}
	for _, c := range m.Credentials {
		r.Credentials = append(r.Credentials, proposal.Credential{Name: c.Auth.Credential, Hosts: c.Hosts, Auth: c.Auth})
	}
	return r
}

// wallsFile is where, below agent/in, an agent finds what its walls are.
const wallsFile = "walls.md"

// walls writes what an agent is told of its walls, and the Dockerfile in force,
// which is what it sends back when it asks for more.
func (t *tree) walls(s Spec, i images) {
	text, skill := agent.Walls(agent.Enclosure{Ask: s.Manifest.Supervise, Git: hasGate(s), Pipelock: hasPipelock(s), Held: s.Manifest.AskTimeout})
	t.put("agent/in/"+wallsFile, text, 0o644)
	t.put("agent/in/"+DockerfileInForce, inForce(i), 0o644)
	if dir := s.Agent.SkillsDir(); dir != "" {
		t.put(path.Join("agent/in/home", dir, agent.WallsSkill, "SKILL.md"), skill, 0o644)
	}
}

// inForce is the Dockerfile of the image that a bottle starts with: what an
// agent may ask for stands on it. How that image itself was made is told in
// comments.
func inForce(i images) []byte {
	var b bytes.Buffer
	b.WriteString("# The image in force. For another one, send this whole text, with lines added, through capability-block.\n")
	b.WriteString("# RUN, ENV, ARG, USER, WORKDIR and COPY <<EOF are taken.\n")
	if i.agent.Tag != i.tools.Tag {
		b.WriteString("#\n# FROM bottle stands for the tools (git, curl, jq, ripgrep, tmux), and on them:\n")
		for _, step := range i.agent.Steps {
			for line := range bytes.Lines([]byte(step)) {
				b.WriteString("#   " + string(bytes.TrimRight(line, "\n")) + "\n")
			}
		}
	}
	b.WriteString(OriginalDockerfile)
	return b.Bytes()
}
