package plan

import (
	"fmt"

	"bottle/pkg/bottle"
)

// RelayService is the service name of the container through whose network the
// steps of an image's build fetch what they need, where a company's proxy is the
// way out.
const RelayService = "relay"

// Relay plans that container: a sidecar's walls in the engine's default network,
// where the steps would be without it. The proxy's login comes on its standard
// input, when it runs.
func Relay(slug string, h Host, p bottle.Proxy) Container {
	b := builder{slug: slug, project: Project(slug), h: h}
	c := b.walls(RelayService)
	c.Labels["com.docker.compose.oneoff"] = "True"
	c.Image, c.User = h.Sidecar, fmt.Sprintf("%d:%d", h.OwnerUID, h.OwnerGID)
	c.Entrypoint, c.Stdin, c.NoLog = []string{"/bottle-egress", RelayService, p.Address, p.Except}, true, true
	c.Tmpfs = map[string]string{"/tmp": "rw,nosuid,nodev,noexec,size=8m,mode=1777"}
	c.Endpoints = []Endpoint{{Network: "bridge"}}
	c.Sysctls["net.ipv4.ip_forward"] = "0"
	c.Pids, c.Memory, c.MilliCPUs = sidecarPids, fit(sidecarMemory, h.Memory), cpus(2000, h.CPUs)
	return c
}
