package plan

import (
	"fmt"
	"net/netip"
	"slices"

	"bottle/pkg/manifest"
)

// sidecar is one row of the table of a bottle's sidecars.
type sidecar struct {
	service string
	address int    // its number in the bottle's own subnet, the same in every bottle
	volume  string // key of one that is its own; empty: none
	apart   bool   // in none of the agent's networks: nobody in these is told of it
	wanted  func(manifest.Manifest) bool
	// make completes the container that all sidecars begin as.
	make func(builder, Container, manifest.Manifest) Container
}

// Addresses in the bottle's own subnet, of which the first is the gateway's.
const (
	egressAddress    = 2
	agentAddress     = 3
	superviseAddress = 4
	gateAddress      = 5
)

// Addresses in the second half of the bottle's subnet, where egress and pipelock
// are alone: the first is the gateway's there too.
const (
	egressBehind    = 2
	pipelockAddress = 3
)

// sidecars is the table, in the order in which sidecars are told of.
var sidecars = []sidecar{
	{service: EgressService, address: egressAddress, wanted: always, make: builder.egress},
	{service: SuperviseService, address: superviseAddress, wanted: func(m manifest.Manifest) bool { return m.Supervise }, make: builder.supervise},
	{service: GateService, address: gateAddress, volume: GitVolume, wanted: hasGate, make: builder.gate},
	{service: PipelockService, apart: true, wanted: hasPipelock, make: builder.pipelock},
}

func always(manifest.Manifest) bool { return true }

func hasGate(m manifest.Manifest) bool { return len(m.Git.Remotes) > 0 }

func hasPipelock(m manifest.Manifest) bool { return m.Pipelock.Image != "" }

func (b builder) addressOf(s sidecar) netip.Addr { return Address(b.h.Subnet, s.address) }

// sidecar is what all sidecars have in common: the owner of the state directory
// as their user, a folder to read and one to write there, a place in the
// bottle's own network, and no forwarding.
func (b builder) sidecar(row sidecar) Container {
	c := b.walls(row.service)
	c.Image = b.h.Sidecar
	c.User = fmt.Sprintf("%d:%d", b.h.OwnerUID, b.h.OwnerGID)
	c.Mounts = []Mount{b.bind(row.service+"/in", SidecarIn, true), b.bind(row.service+"/out", SidecarOut, false)}
	c.Tmpfs = map[string]string{"/tmp": "rw,nosuid,nodev,noexec,size=8m,mode=1777"}
	c.Endpoints = []Endpoint{{Network: b.innerName(), IP: b.addressOf(row), Aliases: []string{row.service}}}
	c.Sysctls["net.ipv4.ip_forward"] = "0"
	c.Sysctls["net.ipv4.ip_unprivileged_port_start"] = "0"
	c.Ulimits["nofile"] = Limit{8192, 8192}
	c.Pids, c.Memory, c.MilliCPUs = sidecarPids, fit(sidecarMemory, b.h.Memory), cpus(2000, b.h.CPUs)
	return c
}

// uplink gives a sidecar the way out, as its first network.
func (b builder) uplink(c *Container) {
	c.Endpoints = append([]Endpoint{{Network: UplinkName(b.h.Home)}}, c.Endpoints...)
}

// egress answers the names of all sidecars with their addresses.
func (b builder) egress(c Container, _ manifest.Manifest) Container {
	c.Entrypoint = []string{"/bottle-egress", "--in", SidecarIn, "--out", SidecarOut,
		"--listen", netip.PrefixFrom(b.egressIP(), b.innerSubnet().Bits()).String(), "--proxy-port", fmt.Sprint(ProxyPort)}
	for _, row := range b.beside() {
		c.Entrypoint = append(c.Entrypoint, "--name", row.service+"="+b.addressOf(row).String())
	}
	if !b.halved {
		b.uplink(&c)
		return c
	}
	c.Endpoints = append(c.Endpoints, Endpoint{Network: b.behindName(), IP: Address(b.behindSubnet(), egressBehind)})
	return c
}

// beside are the sidecars that are in the agent's network.
func (b builder) beside() []sidecar {
	return slices.DeleteFunc(slices.Clone(b.with), func(s sidecar) bool { return s.apart })
}

// SupervisePort is where supervise listens for the agent.
const SupervisePort = 8090

// SuperviseURL is where an agent finds supervise's MCP server.
func SuperviseURL() string {
	return fmt.Sprintf("http://%s:%d/mcp", SuperviseService, SupervisePort)
}

// superviseMemory is what a server for one client needs, many times over.
const superviseMemory = 128 * megabyte

// supervise has no way out: it asks egress what is open, and the host's files for
// what was decided.
func (b builder) supervise(c Container, _ manifest.Manifest) Container {
	c.Entrypoint = []string{"/bottle-supervise", "--in", SidecarIn, "--out", SidecarOut,
		"--listen", netip.AddrPortFrom(Address(b.h.Subnet, superviseAddress), SupervisePort).String(), "--name", SuperviseService,
		"--egress", netip.AddrPortFrom(b.egressIP(), 80).String()}
	c.Memory = fit(superviseMemory, b.h.Memory)
	return c
}

// GateRepos is where the git gate has its repositories.
const GateRepos = "/repos"

// gateMemory is for the gate and the gits that it runs, each of which is bounded
// by itself.
const gateMemory = 1024 * megabyte

const gatePids = 256

// gate keeps its repositories in a volume, and has a way out only where some
// remote has an upstream.
func (b builder) gate(c Container, m manifest.Manifest) Container {
	c.Image = b.h.Gate
	c.Entrypoint = []string{"/bottle-git-gate", "--in", SidecarIn, "--out", SidecarOut, "--repos", GateRepos,
		"--listen", netip.PrefixFrom(Address(b.h.Subnet, gateAddress), b.innerSubnet().Bits()).String()}
	c.Mounts = append(c.Mounts, Mount{Type: "volume", Source: VolumeName(b.slug, GitVolume), Target: GateRepos})
	c.Memory, c.Pids = fit(gateMemory, b.h.Memory), gatePids
	if slices.ContainsFunc(m.Git.Remotes, func(r manifest.Remote) bool { return r.Upstream != "" }) {
		b.uplink(&c)
	}
	return c
}

// pipelockMemory is for the bodies that it scans whole.
const pipelockMemory = 1024 * megabyte

// pipelock is somebody else's program behind egress: it reads its file, and writes
// nothing but its log. It has the way out, and egress alone for company.
func (b builder) pipelock(c Container, m manifest.Manifest) Container {
	c.Image = m.Pipelock.Image
	c.Entrypoint = []string{PipelockProgram, "run", "--config", PipelockFile}
	c.Env = map[string]string{"HOME": "/tmp", "SSL_CERT_FILE": SidecarIn + "/roots.pem"}
	c.Mounts = []Mount{b.bind(PipelockService+"/in", SidecarIn, true)}
	c.Endpoints = []Endpoint{{Network: b.behindName(), IP: Address(b.behindSubnet(), pipelockAddress)}}
	b.uplink(&c)
	c.Memory = fit(pipelockMemory, b.h.Memory)
	return c
}
