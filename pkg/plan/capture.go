package plan

import "fmt"

// CaptureService is the service name of the container that captures the work.
const CaptureService = "capture"

// CaptureHome is where the capture finds the agent's home.
const CaptureHome = "/home/captured"

// Capture plans the container that reads a stopped bottle's work: the agent's
// image and walls, no network, the workspace read-only, and a home of its own
// to write to. conversations is where in the agent's home these are, which it
// reads too; empty: nowhere.
func (p *Plan) Capture(conversations string) (Container, Volume) {
	b := builder{slug: p.Slug, project: p.Project, h: Host{Home: p.Home, StateDir: p.StateDir}}
	scratch := b.volume(scratchVolume)
	agent := p.Find(AgentService)
	c := b.walls(CaptureService)
	c.Labels["com.docker.compose.oneoff"] = "True"
	c.Image, c.User = agent.Image, agent.User
	// It reads when it is told to, and writes the bundle to its output.
	c.Entrypoint, c.Stdin, c.NoLog = []string{InsideBin, "capture", "--wait", WorkDir}, true, true
	if conversations != "" {
		c.Entrypoint = []string{InsideBin, "capture", "--conversations", CaptureHome, conversations, "--wait", WorkDir}
		c.Mounts = []Mount{{Type: "volume", Source: VolumeName(p.Slug, HomeVolume), Target: CaptureHome, ReadOnly: true}}
	}
	c.WorkingDir = AgentHome
	c.Env = map[string]string{"HOME": AgentHome, "TMPDIR": AgentHome, "LANG": "C.UTF-8"}
	c.Mounts = append(c.Mounts, Mount{Type: "volume", Source: scratch.Name, Target: AgentHome})
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

// Recover is what is left of a plan that was lost, as far as a capture needs it:
// an agent's container from an image that has git.
func Recover(slug, home, stateDir, inside, image string) *Plan {
	return &Plan{Slug: slug, Project: Project(slug), Home: home, StateDir: stateDir, Containers: []Container{{
		Name: ContainerName(slug, AgentService), Service: AgentService, Image: image,
		User: agentUser(),
		Mounts: []Mount{
			{Type: "bind", Source: inside, Target: InsideDir, ReadOnly: true},
			{Type: "volume", Source: VolumeName(slug, WorkVolume), Target: WorkDir},
		},
		Tmpfs: agentTmpfs(), Pids: agentPids, Memory: captureMemory, MilliCPUs: 1000,
	}}}
}

// captureMemory is little enough for every host.
const captureMemory = 1 << 30

func agentUser() string { return fmt.Sprintf("%d:%d", AgentUID, AgentUID) }
