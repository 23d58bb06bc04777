package plan

import "slices"

// Of pipelock's image.
const (
	PipelockProgram = "/pipelock"
	PipelockFile    = SidecarIn + "/pipelock.yaml"
)

// CheckService is the service name of the container in which pipelock looks
// through a file that it may be given.
const CheckService = "check"

// PipelockCheck plans that container: pipelock's walls, no network, and a file of
// the directory that pipelock reads.
func (p *Plan) PipelockCheck(file string) Container {
	pipelock := p.Find(PipelockService)
	c := builder{slug: p.Slug, project: p.Project, h: Host{Home: p.Home, StateDir: p.StateDir}}.walls(CheckService)
	c.Labels["com.docker.compose.oneoff"] = "True"
	c.Image, c.User, c.Env = pipelock.Image, pipelock.User, pipelock.Env
	c.Entrypoint, c.Stdin, c.NoLog = []string{PipelockProgram, "check", "--config", SidecarIn + "/" + file}, true, true
	c.Mounts, c.Tmpfs = slices.Clone(pipelock.Mounts), pipelock.Tmpfs
	c.Sysctls, c.Ulimits = pipelock.Sysctls, pipelock.Ulimits
	c.Pids, c.Memory, c.MilliCPUs = pipelock.Pids, pipelock.Memory, pipelock.MilliCPUs
	return c
}
