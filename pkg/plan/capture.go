package plan

// CaptureService is the service name of the container that captures the work.
const CaptureService = "capture"

// Capture plans the container that reads a stopped bottle's work: the agent's
// image and walls, no network, the workspace read-only, and a home of its own
// to write to.
func (p *Plan) Capture() (Container, Volume) {
	b := builder{slug: p.Slug, project: p.Project, h: Host{Home: p.Home, StateDir: p.StateDir}}
	scratch := b.volume("scratch")
	agent := p.Find(AgentService)
	c := b.walls(CaptureService)
	c.Labels["com.docker.compose.oneoff"] = "True"
	c.Image, c.User, c.Entrypoint = agent.Image, agent.User, agent.Entrypoint
	c.WorkingDir = AgentHome
	c.Env = map[string]string{"HOME": AgentHome, "TMPDIR": AgentHome, "LANG": "C.UTF-8"}
	c.Mounts = []Mount{
		{Type: "volume", Source: scratch.Name, Target: AgentHome},
	}
	for _, m := range agent.Mounts {
		switch m.Target {
		case InsideDir:
			c.Mounts = append(c.Mounts, m)
		case WorkDir:
			m.ReadOnly = true
			c.Mounts = append(c.Mounts, m)
		}
	}
	c.Tmpfs = agent.Tmpfs
	c.Runtime = agent.Runtime
	c.Pids, c.Memory, c.MilliCPUs = agent.Pids, agent.Memory, agent.MilliCPUs
	return c, scratch
}
