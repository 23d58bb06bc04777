package plan

import (
	"bytes"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"

	"gopkg.in/yaml.v3"
)

// SeccompFile is the name, in the state directory, under which the Compose file
// finds the profile.
const SeccompFile = "seccomp.json"

// The Compose file, as much of it as a bottle needs. Version 2.4 is the newest
// that both docker-compose 1.29 and the docker compose plugin take with all of
// these keys.
type composeFile struct {
	Version  string                    `yaml:"version"`
	Services map[string]composeService `yaml:"services"`
	Networks map[string]composeNetwork `yaml:"networks"`
	Volumes  map[string]composeVolume  `yaml:"volumes"`
}

type composeService struct {
	Image       string                     `yaml:"image"`
	Container   string                     `yaml:"container_name"`
	Hostname    string                     `yaml:"hostname"`
	Entrypoint  []string                   `yaml:"entrypoint"`
	User        string                     `yaml:"user"`
	Environment map[string]string          `yaml:"environment,omitempty"`
	WorkingDir  string                     `yaml:"working_dir,omitempty"`
	Labels      map[string]string          `yaml:"labels"`
	Volumes     []composeMount             `yaml:"volumes"`
	Tmpfs       []string                   `yaml:"tmpfs"`
	Networks    map[string]composeEndpoint `yaml:"networks"`
	DNS         []string                   `yaml:"dns,omitempty"`
	DNSOpt      []string                   `yaml:"dns_opt,omitempty"`
	ExtraHosts  []string                   `yaml:"extra_hosts,omitempty"`
	CapDrop     []string                   `yaml:"cap_drop"`
	SecurityOpt []string                   `yaml:"security_opt"`
	Sysctls     map[string]string          `yaml:"sysctls"`
	Ulimits     map[string]composeLimit    `yaml:"ulimits"`
	PidsLimit   int64                      `yaml:"pids_limit"`
	MemLimit    int64                      `yaml:"mem_limit"`
	MemSwap     int64                      `yaml:"memswap_limit"`
	CPUs        float64                    `yaml:"cpus"`
	ReadOnly    bool                       `yaml:"read_only"`
	Init        bool                       `yaml:"init"`
	Stdin       bool                       `yaml:"stdin_open,omitempty"`
	IPC         string                     `yaml:"ipc"`
	Runtime     string                     `yaml:"runtime,omitempty"`
	Restart     string                     `yaml:"restart"`
	StopGrace   string                     `yaml:"stop_grace_period"`
	Logging     composeLogging             `yaml:"logging"`
}

type composeMount struct {
	Type     string `yaml:"type"`
	Source   string `yaml:"source"`
	Target   string `yaml:"target"`
	ReadOnly bool   `yaml:"read_only,omitempty"`
}

type composeEndpoint struct {
	IP      string            `yaml:"ipv4_address,omitempty"`
	Aliases []string          `yaml:"aliases,omitempty"`
	Options map[string]string `yaml:"driver_opts,omitempty"`
}

type composeLimit struct {
	Soft int64 `yaml:"soft"`
	Hard int64 `yaml:"hard"`
}

type composeLogging struct {
	Driver  string            `yaml:"driver"`
	Options map[string]string `yaml:"options"`
}

type composeNetwork struct {
	Name     string            `yaml:"name"`
	External bool              `yaml:"external,omitempty"`
	Driver   string            `yaml:"driver,omitempty"`
	Internal bool              `yaml:"internal,omitempty"`
	Options  map[string]string `yaml:"driver_opts,omitempty"`
	IPAM     *composeIPAM      `yaml:"ipam,omitempty"`
	Labels   map[string]string `yaml:"labels,omitempty"`
}

type composeIPAM struct {
	Config []map[string]string `yaml:"config"`
}

type composeVolume struct {
	Name   string            `yaml:"name"`
	Labels map[string]string `yaml:"labels"`
}

// LogOptions bound what a container's log takes of the disk.
func LogOptions() map[string]string { return map[string]string{"max-size": "10m", "max-file": "2"} }

// Compose renders the plan as a Compose file, on which docker-compose config,
// up, ps, logs and down work. The network that all bottles share is external.
func (p *Plan) Compose() ([]byte, error) {
	f := composeFile{Version: "2.4", Services: map[string]composeService{},
		Networks: map[string]composeNetwork{}, Volumes: map[string]composeVolume{}}
	keys := map[string]string{} // engine name → key in the file
	for _, n := range p.Networks {
		keys[n.Name] = n.Key
		f.Networks[n.Key] = composeNet(n)
	}
	for _, v := range p.Volumes {
		keys[v.Name] = v.Key
		f.Volumes[v.Key] = composeVolume{Name: v.Name, Labels: ownLabels(v.Labels)}
	}
	for _, c := range p.Containers {
		f.Services[c.Service] = p.composeService(c, keys)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "# What bottle-start made of %s. It is written anew at every start.\n", p.Slug)
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(f); err != nil {
		return nil, fmt.Errorf("cannot render the Compose file: %w", err)
	}
	// Compose expands $NAME; what stands here is meant as it is.
	return bytes.ReplaceAll(b.Bytes(), []byte("$"), []byte("$$")), nil
}

func composeNet(n Network) composeNetwork {
	if n.External {
		return composeNetwork{Name: n.Name, External: true}
	}
	return composeNetwork{Name: n.Name, Driver: "bridge", Internal: n.Internal, Options: n.Options, Labels: ownLabels(n.Labels),
		IPAM: &composeIPAM{Config: []map[string]string{{"subnet": n.Subnet.String(), "gateway": Address(n.Subnet, 1).String()}}}}
}

func (p *Plan) composeService(c Container, keys map[string]string) composeService {
	s := composeService{
		Image: c.Image, Container: c.Name, Hostname: c.Service, Entrypoint: c.Entrypoint, User: c.User, Environment: c.Env,
		WorkingDir: c.WorkingDir, Labels: ownLabels(c.Labels), DNS: c.DNS, DNSOpt: c.DNSOptions,
		CapDrop: c.CapDrop, SecurityOpt: append([]string{"seccomp:" + filepath.Join(p.StateDir, SeccompFile)}, c.SecurityOpt...),
		Sysctls: c.Sysctls, Ulimits: map[string]composeLimit{}, Networks: map[string]composeEndpoint{},
		PidsLimit: c.Pids, MemLimit: c.Memory, MemSwap: c.Memory, CPUs: float64(c.MilliCPUs) / 1000,
		ReadOnly: c.ReadOnly, Init: c.Init, Stdin: c.Stdin, IPC: "private", Runtime: c.Runtime, Restart: "no",
		StopGrace: strconv.Itoa(c.StopSeconds) + "s", Logging: composeLogging{"json-file", LogOptions()},
	}
	for _, m := range c.Mounts {
		source := m.Source
		if m.Type == "volume" {
			source = keys[source]
		}
		s.Volumes = append(s.Volumes, composeMount{m.Type, source, m.Target, m.ReadOnly})
	}
	for _, path := range slices.Sorted(maps.Keys(c.Tmpfs)) {
		s.Tmpfs = append(s.Tmpfs, path+":"+c.Tmpfs[path])
	}
	for _, e := range c.Endpoints {
		out := composeEndpoint{Aliases: e.Aliases, Options: e.Options}
		if e.IP.IsValid() {
			out.IP = e.IP.String()
		}
		s.Networks[keys[e.Network]] = out
	}
	for _, name := range slices.Sorted(maps.Keys(c.Hosts)) {
		s.ExtraHosts = append(s.ExtraHosts, name+":"+c.Hosts[name])
	}
	for name, l := range c.Ulimits {
		s.Ulimits[name] = composeLimit(l)
	}
	return s
}

// ownLabels are the labels less those that Compose sets itself.
func ownLabels(all map[string]string) map[string]string {
	own := map[string]string{}
	for k, v := range all {
		if k == LabelHome || k == LabelSlug || k == LabelNetworks {
			own[k] = v
		}
	}
	return own
}
