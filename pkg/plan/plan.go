// Package plan turns a manifest and what is known of the host into a Plan: the
// containers, networks and volumes of one bottle. It does no I/O, and a Plan
// holds no secret.
package plan

import (
	"net/netip"
	"slices"
)

// AgentUID is the user an agent runs as: fixed, above every range that
// distributions and container tools hand out, nobody on the host, and never a
// sidecar's.
const AgentUID = 70707

// Services, the names a Plan's containers have on their network.
const (
	AgentService     = "agent"
	EgressService    = "egress"
	SuperviseService = "supervise"
	GateService      = "git-gate"
	PipelockService  = "pipelock"
)

// Labels on all that belongs to a bottle.
const (
	LabelHome    = "bottle.home"
	LabelSlug    = "bottle.slug"
	LabelService = "com.docker.compose.service"
	LabelProject = "com.docker.compose.project"
)

// Plan is one bottle, ready to be made.
type Plan struct {
	Slug       string      `json:"slug"`
	Project    string      `json:"project"`
	Home       string      `json:"home"` // the id of the $BOTTLE_HOME
	StateDir   string      `json:"state_dir"`
	Networks   []Network   `json:"networks"`
	Volumes    []Volume    `json:"volumes"`
	Containers []Container `json:"containers"`
	// Original is what the agent's container was at the start, where its image was
	// replaced since.
	Original *Original `json:"original,omitempty"`
}

// Original is an agent's container before its image was replaced.
type Original struct {
	Image string            `json:"image"`
	Env   map[string]string `json:"env"`
}

// Network is a bridge. Those that are External belong to all bottles of a home.
type Network struct {
	Name     string            `json:"name"`
	Key      string            `json:"key"` // its name inside the Compose file
	Subnet   netip.Prefix      `json:"subnet"`
	Internal bool              `json:"internal"`
	External bool              `json:"external"`
	Options  map[string]string `json:"options"`
	Labels   map[string]string `json:"labels"`
}

// Volume is a named volume.
type Volume struct {
	Name   string            `json:"name"`
	Key    string            `json:"key"`
	Labels map[string]string `json:"labels"`
}

// Container is one container. There is no field for a secret: secrets travel
// over an exec's standard input.
type Container struct {
	Name        string            `json:"name"`
	Service     string            `json:"service"`
	Image       string            `json:"image"`
	Entrypoint  []string          `json:"entrypoint"`
	User        string            `json:"user"`
	Env         map[string]string `json:"env"`
	WorkingDir  string            `json:"working_dir,omitempty"`
	Labels      map[string]string `json:"labels"`
	Mounts      []Mount           `json:"mounts"`
	Tmpfs       map[string]string `json:"tmpfs"`
	Endpoints   []Endpoint        `json:"endpoints"`
	DNS         []string          `json:"dns,omitempty"`
	DNSOptions  []string          `json:"dns_options,omitempty"`
	Hosts       map[string]string `json:"hosts,omitempty"` // /etc/hosts: name → address
	CapDrop     []string          `json:"cap_drop"`
	CapAdd      []string          `json:"cap_add,omitempty"`
	SecurityOpt []string          `json:"security_opt"` // without the seccomp profile, which all get
	Sysctls     map[string]string `json:"sysctls"`
	Ulimits     map[string]Limit  `json:"ulimits"`
	Pids        int64             `json:"pids"`
	Memory      int64             `json:"memory"`    // bytes; swap included
	MilliCPUs   int64             `json:"milli_cpu"` // thousandths of a CPU
	ReadOnly    bool              `json:"read_only"`
	Init        bool              `json:"init"`
	Stdin       bool              `json:"stdin,omitempty"`  // who starts it may speak to its main process
	NoLog       bool              `json:"no_log,omitempty"` // the engine keeps nothing of what it says
	Runtime     string            `json:"runtime,omitempty"`
	StopSeconds int               `json:"stop_seconds"`
}

// Limit is a ulimit.
type Limit struct {
	Soft int64 `json:"soft"`
	Hard int64 `json:"hard"`
}

// Mount is a host directory (Type bind) or a volume of the plan.
type Mount struct {
	Type     string `json:"type"` // bind or volume
	Source   string `json:"source"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"read_only"`
}

// Endpoint joins a container to a network of the plan, by the network's name.
type Endpoint struct {
	Network string     `json:"network"`
	IP      netip.Addr `json:"ip,omitzero"` // zero: the engine chooses
	Aliases []string   `json:"aliases,omitempty"`
	// Options of the engine's bridge driver for this endpoint.
	Options map[string]string `json:"options,omitempty"`
}

// Find returns the container of a service, or nil.
func (p *Plan) Find(service string) *Container {
	for i := range p.Containers {
		if p.Containers[i].Service == service {
			return &p.Containers[i]
		}
	}
	return nil
}

// IP returns the address that a service has on the bottle's own network; the
// zero address where it has none.
func (p *Plan) IP(service string) netip.Addr {
	if c := p.Find(service); c != nil {
		return c.ip(p.Own().Name)
	}
	return netip.Addr{}
}

// Pipelock is the address of a bottle's pipelock; the zero address where it has
// none.
func (p *Plan) Pipelock() netip.Addr {
	if c := p.Find(PipelockService); c != nil {
		return c.ip(builder{project: p.Project}.behindName())
	}
	return netip.Addr{}
}

// ip is a container's address in a network.
func (c *Container) ip(network string) netip.Addr {
	for _, e := range c.Endpoints {
		if e.Network == network {
			return e.IP
		}
	}
	return netip.Addr{}
}

// Own is the bottle's own network: the agent's.
func (p *Plan) Own() Network { return p.Networks[0] }

// Private are the networks that are the bottle's alone, its own first.
func (p *Plan) Private() []Network {
	return slices.DeleteFunc(slices.Clone(p.Networks), func(n Network) bool { return n.External })
}

// Early splits a container's endpoints: those in networks that all bottles
// share, which are there before the bottle's are, and the rest.
func (p *Plan) Early(c Container) (early, late []Endpoint) {
	for _, e := range c.Endpoints {
		if slices.ContainsFunc(p.Private(), func(n Network) bool { return n.Name == e.Network }) {
			late = append(late, e)
		} else {
			early = append(early, e)
		}
	}
	return early, late
}
