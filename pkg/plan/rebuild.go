package plan

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// BuildService is the service name of the container that carries out one step of
// a bottle's new image.
const BuildService = "build"

// buildAddress is its number in the bottle's own network, the last that one of
// half the size has.
const buildAddress = 6

// buildCaps are what installing programs needs, and no more.
var buildCaps = []string{"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"}

// Step is one command on the way to a bottle's new image.
type Step struct {
	Image string
	Argv  []string
	User  string // empty: root
	Dir   string // absolute; empty: /
	Env   map[string]string
}

// Build plans the container that carries out a step: behind the agent's own
// walls and in its network, with neither its home nor its work, on a root that
// can be written to.
func (p *Plan) Build(s Step) Container {
	agent := p.Find(AgentService)
	b := builder{slug: p.Slug, project: p.Project, h: Host{Home: p.Home, StateDir: p.StateDir, Subnet: p.Own().Subnet}}
	c := b.walls(BuildService)
	c.Labels["com.docker.compose.oneoff"] = "True"
	c.Image, c.Entrypoint, c.Stdin, c.NoLog = s.Image, s.Argv, true, true
	c.User, c.WorkingDir = s.User, s.Dir
	if c.User == "" {
		c.User = "0:0"
	}
	c.ReadOnly, c.CapAdd = false, slices.Clone(buildCaps)
	c.Env = map[string]string{}
	maps.Copy(c.Env, s.Env)
	for _, name := range wallVariables() {
		c.Env[name] = agent.Env[name]
	}
	c.Env["HOME"], c.Env["DEBIAN_FRONTEND"] = "/root", "noninteractive"
	for _, m := range agent.Mounts {
		if m.Type == "bind" && (m.Target == CertsDir || m.Target == "/etc/resolv.conf") {
			c.Mounts = append(c.Mounts, m)
		}
	}
	c.Tmpfs = maps.Clone(agent.Tmpfs)
	c.Endpoints = slices.Clone(agent.Endpoints)
	c.Endpoints[0].IP, c.Endpoints[0].Aliases = Address(b.h.Subnet, buildAddress), nil
	c.DNS, c.DNSOptions, c.Hosts = agent.DNS, agent.DNSOptions, agent.Hosts
	c.Sysctls, c.Ulimits = agent.Sysctls, agent.Ulimits
	c.Runtime = agent.Runtime
	c.Pids, c.Memory, c.MilliCPUs = agent.Pids, agent.Memory, agent.MilliCPUs
	return c
}

// wallVariables name what no image and no Dockerfile may set: the way out, and
// whom to trust there.
func wallVariables() []string {
	return append(slices.Sorted(maps.Keys(builder{}.proxyEnv())), "LANG")
}

// Places are the paths at which the engine puts something into the containers
// that run the agent's image, with all directories on the way, outermost first.
func (p *Plan) Places() []string {
	agent := p.Find(AgentService)
	targets := append(slices.Collect(maps.Keys(agent.Tmpfs)), CaptureHome)
	for _, m := range agent.Mounts {
		targets = append(targets, m.Target)
	}
	places := map[string]bool{}
	for _, t := range targets {
		for ; t != "/"; t = path.Dir(t) {
			places[t] = true
		}
	}
	return slices.Sorted(maps.Keys(places)) // a prefix sorts first
}

// Replace returns the plan with another image for its agent, and these variables
// besides the ones it had at the start, whose own win.
func (p *Plan) Replace(image string, env map[string]string) *Plan {
	q := *p
	q.Containers = slices.Clone(p.Containers)
	agent := q.Find(AgentService)
	original := p.First()
	q.Original = &original
	agent.Image, agent.Env = image, maps.Clone(original.Env)
	for name, value := range env {
		if _, fixed := original.Env[name]; !fixed {
			agent.Env[name] = value
		}
	}
	return &q
}

// First is what the agent's container was at the start.
func (p *Plan) First() Original {
	if p.Original != nil {
		return *p.Original
	}
	agent := p.Find(AgentService)
	return Original{Image: agent.Image, Env: agent.Env}
}

// RebuiltImage is the tag of an image that replaces a bottle's own: of that
// bottle alone, so that it goes with it.
func RebuiltImage(slug, digest string) string { return rebuiltPrefix(slug) + digest }

// IsRebuilt says whether an image is one that replaced a bottle's own.
func IsRebuilt(slug, image string) bool { return strings.HasPrefix(image, rebuiltPrefix(slug)) }

func rebuiltPrefix(slug string) string { return "bottle-rebuilt:" + slug + "-" }
