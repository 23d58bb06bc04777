package plan

import (
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"bottle/pkg/agent"
	"bottle/pkg/manifest"
)

// Host is what a Plan must know of the machine it is for.
type Host struct {
	Home     string // the id of the $BOTTLE_HOME
	StateDir string // absolute, of this bottle
	Inside   string // absolute path of the directory that holds bottle-inside
	OwnerUID int    // of $BOTTLE_HOME; the sidecars run as it
	OwnerGID int
	CPUs     int
	Memory   int64 // bytes
	Runtimes []string
	Docker28 bool         // the engine knows isolated gateways and sysctls per endpoint
	IPv6     bool         // the kernel has IPv6, to be switched off
	Subnet   netip.Prefix // of the bottle's own network
	Uplink   netip.Prefix // of the network that sidecars get out by
	Sidecar  string       // image of the sidecars
	Gate     string       // image of the git gate; empty where the manifest needs none
	AgentTag string       // image of the agent
	Folder   string       // the operator's, which is at /work itself; empty: a volume is
	Git      bool         // that folder is a repository: a volume covers its .git
}

// Paths inside the containers.
const (
	InsideDir  = "/opt/bottle"
	InsideBin  = InsideDir + "/bottle-inside"
	AgentIn    = "/etc/bottle"
	AgentOut   = "/var/lib/bottle" // a file of its own is in it
	AgentHome  = "/home/agent"
	WorkDir    = "/work"
	DotGit     = WorkDir + "/.git"
	GitConfig  = AgentIn + "/gitconfig"
	CertsDir   = "/etc/ssl/certs"
	CABundle   = CertsDir + "/ca-certificates.crt"
	SidecarIn  = "/in"
	SidecarOut = "/out"
)

// ComposeFile is the name, in the state directory, of the plan as a Compose file.
const ComposeFile = "docker-compose.yml"

// ResolvFile is where, below the state directory, the resolv.conf of agents on
// gVisor is.
const ResolvFile = "agent/resolv.conf"

// gVisor is the runtime whose containers have a kernel of their own.
const gVisor = "runsc"

// ProxyPort is where egress listens for programs that know a proxy.
const ProxyPort = 3128

const (
	megabyte      = 1 << 20
	agentMemory   = 4 << 30
	sidecarMemory = 256 * megabyte
	agentPids     = 512
	sidecarPids   = 128
)

// Make plans a bottle. It fails where the host cannot give what the manifest
// demands.
func Make(slug string, m manifest.Manifest, a agent.Agent, h Host) (*Plan, error) {
	runtime, err := Runtime(m.Runtime, h.Runtimes)
	if err != nil {
		return nil, err
	}
	b := builder{slug: slug, project: Project(slug), h: h, runtime: runtime}
	b.halved = hasPipelock(m)
	p := &Plan{Slug: slug, Project: b.project, Home: h.Home, StateDir: h.StateDir}
	p.Networks = []Network{b.inner()}
	if b.halved {
		p.Networks = append(p.Networks, b.behind())
	}
	p.Networks = append(p.Networks, Uplink(h.Home, h.Uplink))
	p.Volumes = []Volume{b.volume(HomeVolume), b.volume(WorkVolume)}
	for _, row := range sidecars {
		if row.wanted(m) {
			b.with = append(b.with, row)
		}
	}
	for _, row := range b.with {
		if row.volume != "" {
			p.Volumes = append(p.Volumes, b.volume(row.volume))
		}
		p.Containers = append(p.Containers, row.make(b, b.sidecar(row), m))
	}
	p.Containers = append(p.Containers, b.agent(m, a))
	p.labelNetworks()
	return p, nil
}

// Keys of a bottle's volumes.
const (
	HomeVolume    = "home"
	WorkVolume    = "work"
	GitVolume     = "git"     // the gate's repositories
	scratchVolume = "scratch" // of a capture
)

// VolumeName is the engine's name for a bottle's volume.
func VolumeName(slug, key string) string { return Project(slug) + "_" + key }

// Project is the Compose project's name of a bottle.
func Project(slug string) string { return "bottle-" + slug }

// ContainerName is the name of a bottle's container.
func ContainerName(slug, service string) string { return Project(slug) + "-" + service + "-1" }

// UplinkName is the name of the network that the sidecars of a home get out by.
func UplinkName(home string) string { return "bottle-uplink-" + home }

// RunscMissing is the error of a manifest that demands what the engine lacks.
type RunscMissing struct{ Runtime string }

func (e RunscMissing) Error() string {
	return fmt.Sprintf("the manifest demands runtime %s, and the engine does not have it", e.Runtime)
}

// Runtime says which of the engine's runtimes a manifest's wish comes to; empty
// is the engine's own default.
func Runtime(wanted string, have []string) (string, error) {
	switch {
	case wanted == "" || wanted == "auto":
		if slices.Contains(have, gVisor) {
			return gVisor, nil
		}
		return "", nil
	case !slices.Contains(have, wanted):
		return "", RunscMissing{wanted}
	}
	return wanted, nil
}

// builder holds what the parts of one Plan have in common.
type builder struct {
	slug, project, runtime string
	h                      Host
	with                   []sidecar // those that this bottle has
	halved                 bool      // its subnet is two networks: the agent's, and pipelock's behind egress
}

// Address returns the n-th address of a subnet; the gateway is the first.
func Address(subnet netip.Prefix, n int) netip.Addr {
	a := subnet.Addr()
	for range n {
		a = a.Next()
	}
	return a
}

func (b builder) innerName() string    { return b.project + "_inner" }
func (b builder) egressIP() netip.Addr { return Address(b.h.Subnet, egressAddress) }
func (b builder) agentIP() netip.Addr  { return Address(b.h.Subnet, agentAddress) }

func (b builder) labels(more ...string) map[string]string {
	l := map[string]string{LabelHome: b.h.Home, LabelSlug: b.slug, LabelProject: b.project}
	for i := 0; i < len(more); i += 2 {
		l[more[i]] = more[i+1]
	}
	return l
}

func (b builder) behindName() string { return b.project + "_behind" }

// innerSubnet is the bottle's subnet, or its first half.
func (b builder) innerSubnet() netip.Prefix {
	if !b.halved {
		return b.h.Subnet
	}
	return netip.PrefixFrom(b.h.Subnet.Addr(), b.h.Subnet.Bits()+1)
}

// behindSubnet is its second half.
func (b builder) behindSubnet() netip.Prefix {
	return netip.PrefixFrom(Address(b.h.Subnet, 1<<(31-b.h.Subnet.Bits())), b.h.Subnet.Bits()+1)
}

func (b builder) inner() Network { return b.private(b.innerName(), "inner", b.innerSubnet()) }

// behind is the network in which egress and pipelock are alone.
func (b builder) behind() Network { return b.private(b.behindName(), "behind", b.behindSubnet()) }

// private is a network that leads to its members and nowhere else.
func (b builder) private(name, key string, subnet netip.Prefix) Network {
	// Without an address of the host on the bridge, nothing of the host is there to be reached.
	options := map[string]string{"com.docker.network.bridge.inhibit_ipv4": "true"}
	if b.h.Docker28 {
		options["com.docker.network.bridge.gateway_mode_ipv4"] = "isolated"
	}
	return Network{Name: name, Key: key, Subnet: subnet, Internal: true, Options: options,
		Labels: b.labels("com.docker.compose.network", key)}
}

// Uplink is the network that the sidecars of a home get out by. Its members
// cannot reach one another.
func Uplink(home string, subnet netip.Prefix) Network {
	return Network{Name: UplinkName(home), Key: "uplink", Subnet: subnet, External: true,
		Options: map[string]string{"com.docker.network.bridge.enable_icc": "false"},
		Labels:  map[string]string{LabelHome: home}}
}

func (b builder) volume(key string) Volume {
	return Volume{Name: VolumeName(b.slug, key), Key: key, Labels: b.labels("com.docker.compose.volume", key)}
}

// walls are the flags that all containers get.
func (b builder) walls(service string) Container {
	c := Container{
		Name: ContainerName(b.slug, service), Service: service,
		Labels: b.labels(LabelService, service, "com.docker.compose.container-number", "1", "com.docker.compose.oneoff", "False",
			// The compose plugin sees only containers with a hash, whichever, and tells of the file.
			"com.docker.compose.config-hash", b.slug, "com.docker.compose.project.working_dir", b.h.StateDir,
			"com.docker.compose.project.config_files", filepath.Join(b.h.StateDir, ComposeFile)),
		CapDrop: []string{"ALL"}, SecurityOpt: []string{"no-new-privileges:true"},
		Sysctls: map[string]string{
			"net.ipv4.ping_group_range": "1 0",
		},
		Ulimits:  map[string]Limit{"core": {0, 0}, "nofile": {4096, 8192}},
		ReadOnly: true, Init: true, StopSeconds: 5,
	}
	if b.h.IPv6 {
		c.Sysctls["net.ipv6.conf.all.disable_ipv6"] = "1"
		c.Sysctls["net.ipv6.conf.default.disable_ipv6"] = "1"
	}
	return c
}

func (b builder) agent(m manifest.Manifest, a agent.Agent) Container {
	c := b.walls(AgentService)
	c.Image = b.h.AgentTag
	c.User = agentUser()
	c.Entrypoint, c.Stdin = []string{InsideBin, "hold"}, true
	c.WorkingDir = WorkDir
	c.Env = b.env(m, a)
	c.Mounts = []Mount{
		{Type: "bind", Source: b.h.Inside, Target: InsideDir, ReadOnly: true},
		b.bind("agent/in", AgentIn, true),
		b.bind("agent/out", AgentOut, false),
		b.bind("agent/certs", CertsDir, true),
		{Type: "volume", Source: VolumeName(b.slug, HomeVolume), Target: AgentHome},
	}
	c.Mounts = append(c.Mounts, b.work()...)
	c.Tmpfs = agentTmpfs()
	c.Endpoints = []Endpoint{{Network: b.innerName(), IP: b.agentIP(), Aliases: []string{AgentService}}}
	c.DNS = []string{b.egressIP().String()}
	c.DNSOptions = []string{"timeout:1", "attempts:1"}
	// In /etc/hosts the sidecars are found while the engine, and its DNS, are away.
	c.Hosts = map[string]string{}
	for _, row := range b.beside() {
		c.Hosts[row.service] = b.addressOf(row).String()
	}
	// The engine takes away the namespace of a container that was killed, so nobody
	// says no there; who knows its address would send into the void for a minute.
	c.Sysctls["net.ipv4.tcp_syn_retries"] = "2"
	b.fastFail(&c)
	if c.Runtime = b.runtime; c.Runtime == gVisor {
		// Its network stack passes the engine's own name server by.
		c.Mounts = append(c.Mounts, b.bind(ResolvFile, "/etc/resolv.conf", true))
	}
	c.Pids, c.Memory, c.MilliCPUs = agentPids, fit(agentMemory, b.h.Memory), cpus(2000, b.h.CPUs)
	return c
}

// work is what is at /work. A mount point can be neither removed nor renamed, so
// the repository of the operator's folder stays out of reach.
func (b builder) work() []Mount {
	volume := Mount{Type: "volume", Source: VolumeName(b.slug, WorkVolume), Target: WorkDir}
	if b.h.Folder == "" {
		return []Mount{volume}
	}
	folder := Mount{Type: "bind", Source: b.h.Folder, Target: WorkDir}
	if !b.h.Git {
		return []Mount{folder}
	}
	volume.Target = DotGit
	return []Mount{folder, volume}
}

func agentTmpfs() map[string]string {
	return map[string]string{
		"/tmp": "rw,nosuid,nodev,exec,size=1g,mode=1777",
		"/run": "rw,nosuid,nodev,noexec,size=8m",
	}
}

// fastFail bounds the wait for a neighbour that does not exist to 30 ms, so that
// a direct connection fails at once: three questions, of which one may get lost.
// Who is there answers in less than a tenth of that on the busiest machine, since
// all are of one kernel. Engines differ in how it is said.
func (b builder) fastFail(c *Container) {
	const solicit, retrans, times, every = "net.ipv4.neigh.%s.mcast_solicit", "net.ipv4.neigh.%s.retrans_time_ms", "3", "10"
	if !b.h.Docker28 {
		c.Sysctls[fmt.Sprintf(solicit, "eth0")] = times
		c.Sysctls[fmt.Sprintf(retrans, "eth0")] = every
		return
	}
	c.Endpoints[0].Options = map[string]string{"com.docker.network.endpoint.sysctls": fmt.Sprintf(solicit+"="+times+","+retrans+"="+every, "IFNAME", "IFNAME")}
}

func (b builder) bind(below, target string, readOnly bool) Mount {
	return Mount{Type: "bind", Source: filepath.Join(b.h.StateDir, below), Target: target, ReadOnly: readOnly}
}

// env is what the agent's container may know in clear: no secret.
func (b builder) env(m manifest.Manifest, a agent.Agent) map[string]string {
	env := map[string]string{"HOME": AgentHome, "LANG": "C.UTF-8", "USER": "agent", "LOGNAME": "agent", "BOTTLE": b.slug}
	maps.Copy(env, a.Env())
	for _, v := range m.Env {
		if !v.Secret() {
			env[v.Name] = v.Literal
		}
	}
	if hasGate(m) || b.h.Folder != "" {
		env["GIT_CONFIG_SYSTEM"] = GitConfig
	}
	maps.Copy(env, b.proxyEnv()) // last: no manifest loosens the walls' own
	return env
}

// trustVariables name the file of trusted CAs, each for the programs that know it.
var trustVariables = []string{"SSL_CERT_FILE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "REQUESTS_CA_BUNDLE", "PIP_CERT",
	"NODE_EXTRA_CA_CERTS", "NPM_CONFIG_CAFILE", "CARGO_HTTP_CAINFO", "AWS_CA_BUNDLE", "DENO_CERT"}

func (b builder) proxyEnv() map[string]string {
	proxy := fmt.Sprintf("http://%s:%d", EgressService, ProxyPort)
	direct := "localhost,127.0.0.1"
	for _, row := range b.with {
		direct += "," + row.service
	}
	env := map[string]string{"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "ALL_PROXY": proxy, "NO_PROXY": direct}
	for k, v := range maps.Clone(env) {
		env[strings.ToLower(k)] = v
	}
	for _, name := range trustVariables {
		env[name] = CABundle
	}
	return env
}

// fit takes no more than three quarters of what the host has.
func fit(wanted, have int64) int64 {
	if most := have / 4 * 3; have > 0 && wanted > most {
		return most
	}
	return wanted
}

// cpus fits a limit to the host: an engine refuses more than there are.
func cpus(wanted int64, have int) int64 {
	if most := int64(have) * 1000; have > 0 && wanted > most {
		return most
	}
	return wanted
}
