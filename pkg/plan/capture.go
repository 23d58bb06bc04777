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
		case WorkDir, DotGit:
			m.ReadOnly = true
			c.Mounts = append(c.Mounts, m)
		}
	}
	c.Tmpfs = agent.Tmpfs
	c.Runtime = agent.Runtime
	c.Pids, c.Memory, c.MilliCPUs = agent.Pids, agent.Memory, agent.MilliCPUs
	return c, scratch
}

// Furnish plans a container that is made and never started: of a volume the
// engine lets the image's user have what the image has at its mount point, and at
// that of .git it has nothing. Not ok: there is no such volume.
func (p *Plan) Furnish() (c Container, ok bool) {
	b := builder{slug: p.Slug, project: p.Project, h: Host{Home: p.Home, StateDir: p.StateDir}}
	agent := p.Find(AgentService)
	for _, m := range agent.Mounts {
		if m.Target == DotGit {
			c = b.walls("furnish")
			c.Labels["com.docker.compose.oneoff"] = "True"
			c.Image, c.User, c.Entrypoint = agent.Image, agent.User, []string{InsideBin}
			c.Mounts = []Mount{{Type: m.Type, Source: m.Source, Target: WorkDir}}
			return c, true
		}
	}
	return c, false
}

// Recover is what is left of a plan that was lost, as far as a capture needs it:
// an agent's container from an image that has git. h has its Home, StateDir and
// Inside, and the Folder that was mounted, if one was.
func Recover(slug string, h Host, image string) *Plan {
	h.Git = true // nothing else is captured of a folder
	b := builder{slug: slug, project: Project(slug), h: h}
	return &Plan{Slug: slug, Project: b.project, Home: h.Home, StateDir: h.StateDir, Containers: []Container{{
		Name: ContainerName(slug, AgentService), Service: AgentService, Image: image,
		User:   agentUser(),
		Mounts: append([]Mount{{Type: "bind", Source: h.Inside, Target: InsideDir, ReadOnly: true}}, b.work()...),
		Tmpfs:  agentTmpfs(), Pids: agentPids, Memory: captureMemory, MilliCPUs: 1000,
	}}}
}

// captureMemory is little enough for every host.
const captureMemory = 1 << 30

func agentUser() string { return fmt.Sprintf("%d:%d", AgentUID, AgentUID) }
