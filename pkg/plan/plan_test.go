package plan

import (
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bottle/pkg/agent"
	"bottle/pkg/manifest"
	"bottle/pkg/tokenref"
)

var update = flag.Bool("update", false, "write the golden files anew")

// host is a machine as plans are tested for.
func host() Host {
	return Host{Home: "0123456789abcdef", StateDir: "/home/ada/.bottle/state/dev-k3zq", Inside: "/usr/local/libexec/bottle/inside",
		OwnerUID: 1000, OwnerGID: 1000, CPUs: 8, Memory: 32 << 30, Runtimes: []string{"runc"}, IPv6: true,
		Subnet: netip.MustParsePrefix("10.213.4.16/28"), Uplink: netip.MustParsePrefix("10.213.192.0/22"),
		Sidecar: "bottle-sidecar:1111", Gate: "bottle-git:3333", AgentTag: "bottle-agent:2222"}
}

func program(t *testing.T, p agent.Program) agent.Agent {
	t.Helper()
	a, err := agent.Lookup(p)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func made(t *testing.T, m manifest.Manifest, h Host) *Plan {
	t.Helper()
	p, err := Make("dev-k3zq", m, program(t, m.Program), h)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var stageKey = func() tokenref.Ref {
	r, err := tokenref.Parse("STAGE_KEY")
	if err != nil {
		panic(err)
	}
	return r
}()

func simple(name string) manifest.Manifest {
	return manifest.Manifest{Agent: "dev", BottleName: "dev", Program: agent.Program{Name: name}, Supervise: true,
		Env: []manifest.EnvVar{{Name: "EDITOR", Literal: "vi"}, {Name: "STAGE_KEY", From: stageKey}, {Name: "PRICE", Literal: "5$ ${x}"}}}
}

func withRemotes(remotes ...manifest.Remote) manifest.Manifest {
	m := simple("shell")
	m.Git.Remotes = remotes
	return m
}

func withPipelock() manifest.Manifest {
	m := simple("shell")
	m.Pipelock.Image = "ghcr.io/luckypipewrench/pipelock:2.3.0"
	return m
}

// Egress has no other way than pipelock, and pipelock no company but egress: the
// agent's network and pipelock's have one member in common.
func TestPipelockStandsBehindEgressAlone(t *testing.T) {
	p := made(t, withPipelock(), host())
	members := map[string][]string{}
	for _, c := range p.Containers {
		for _, e := range c.Endpoints {
			members[e.Network] = append(members[e.Network], c.Service)
		}
	}
	uplink := UplinkName(host().Home)
	if want := []string{PipelockService}; !slices.Equal(members[uplink], want) {
		t.Errorf("in the uplink are %q, want %q", members[uplink], want)
	}
	if want := []string{EgressService, PipelockService}; !slices.Equal(members["bottle-dev-k3zq_behind"], want) {
		t.Errorf("behind egress are %q, want %q", members["bottle-dev-k3zq_behind"], want)
	}
	agent, egress, pipelock := p.Find(AgentService), p.Find(EgressService), p.Find(PipelockService)
	if _, told := agent.Hosts[PipelockService]; told || strings.Contains(strings.Join(egress.Entrypoint, " "), PipelockService) {
		t.Error("the agent is told of pipelock")
	}
	if !slices.Equal(pipelock.CapDrop, egress.CapDrop) || !slices.Equal(pipelock.SecurityOpt, egress.SecurityOpt) || !pipelock.ReadOnly || pipelock.User != egress.User {
		t.Errorf("pipelock's walls are not egress': %+v", pipelock)
	}
	for _, m := range append(slices.Clone(pipelock.Mounts), p.PipelockCheck("candidate.yaml").Mounts...) {
		if !m.ReadOnly {
			t.Errorf("it may write %s", m.Source)
		}
	}
	if c := p.PipelockCheck("candidate.yaml"); len(c.Endpoints) > 0 {
		t.Error("what checks a file has a network")
	}
	old := p.Pipelock()
	p.Move(netip.MustParsePrefix("10.213.9.32/28"))
	for name, want := range map[string]string{p.IP(EgressService).String(): "10.213.9.34", p.Pipelock().String(): "10.213.9.43", old.String(): "10.213.4.27",
		p.Networks[0].Subnet.String(): "10.213.9.32/29", p.Networks[1].Subnet.String(): "10.213.9.40/29", egress.Endpoints[1].IP.String(): "10.213.9.42"} {
		if name != want {
			t.Errorf("%s, want %s", name, want)
		}
	}
}

// The golden plans are what reviewers look at when a wall changes.
func TestGoldenPlans(t *testing.T) {
	newer := host()
	newer.Docker28, newer.Runtimes = true, []string{"runc", "runsc"}
	small := host()
	small.CPUs, small.Memory = 1, 2<<30
	for name, p := range map[string]*Plan{
		"claude":          made(t, simple("claude"), host()),
		"shell":           made(t, simple("shell"), host()),
		"command":         made(t, manifest.Manifest{Agent: "dev", BottleName: "dev", Program: agent.Program{Command: []string{"vi", "a b"}}}, host()),
		"docker-28-runsc": made(t, simple("shell"), newer),
		"small-host":      made(t, simple("shell"), small),
		"git":             made(t, withRemotes(manifest.Remote{Name: "origin"}), host()),
		"git-upstream":    made(t, withRemotes(manifest.Remote{Name: "origin", Upstream: "https://git.example.com/engine.git"}), host()),
		"pipelock":        made(t, withPipelock(), host()),
	} {
		data, err := json.MarshalIndent(p, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name+".json", append(data, '\n'))
		compose, err := p.Compose()
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name+".yml", compose)
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s differs; if that is meant, run go test ./pkg/plan -update and read the diff\n%s", name, got)
	}
}

func TestEveryContainerStandsBehindTheWalls(t *testing.T) {
	p := made(t, simple("claude"), host())
	capture, _ := p.Capture(".claude/projects")
	for _, c := range append(slices.Clone(p.Containers), capture) {
		if !slices.Equal(c.CapDrop, []string{"ALL"}) || !slices.Contains(c.SecurityOpt, "no-new-privileges:true") || !c.ReadOnly || !c.Init {
			t.Errorf("%s: %+v", c.Service, c)
		}
		if c.Pids == 0 || c.Memory == 0 || c.MilliCPUs == 0 || c.Ulimits["core"] != (Limit{}) {
			t.Errorf("%s is not bounded: %+v", c.Service, c)
		}
		for _, m := range c.Mounts {
			if m.Type == "bind" && !m.ReadOnly && m.Target != SidecarOut && m.Target != AgentOut {
				t.Errorf("%s may write %s on the host", c.Service, m.Source)
			}
		}
	}
	agent, egress := p.Find(AgentService), p.Find(EgressService)
	if agent.User == egress.User {
		t.Error("agent and sidecar share a uid")
	}
	if len(agent.Endpoints) != 1 || len(capture.Endpoints) != 0 {
		t.Error("only sidecars have a second network, and a capture has none")
	}
	if egress.Sysctls["net.ipv4.ip_forward"] != "0" {
		t.Error("egress would route")
	}
}

func TestASecretIsNotInThePlan(t *testing.T) {
	p := made(t, simple("shell"), host())
	if v, there := p.Find(AgentService).Env["STAGE_KEY"]; there {
		t.Errorf("STAGE_KEY is in the plan as %q", v)
	}
}

func TestNoManifestLoosensTheWallsOwnVariables(t *testing.T) {
	m := simple("shell")
	m.Env = []manifest.EnvVar{{Name: "HTTPS_PROXY", Literal: "http://elsewhere:1"}}
	if got := made(t, m, host()).Find(AgentService).Env["HTTPS_PROXY"]; strings.Contains(got, "elsewhere") {
		t.Errorf("HTTPS_PROXY is %q", got)
	}
}

func TestADemandedRuntimeThatIsMissingIsRefused(t *testing.T) {
	for _, tc := range []struct {
		wanted string
		have   []string
		want   string
		ok     bool
	}{
		{"auto", []string{"runc"}, "", true},
		{"auto", []string{"runc", "runsc"}, "runsc", true},
		{"", []string{"runsc"}, "runsc", true},
		{"runsc", []string{"runc", "runsc"}, "runsc", true},
		{"runc", []string{"runc", "runsc"}, "runc", true},
		{"runsc", []string{"runc"}, "", false},
	} {
		got, err := Runtime(tc.wanted, tc.have)
		if got != tc.want || (err == nil) != tc.ok {
			t.Errorf("%q of %q: %q, %v", tc.wanted, tc.have, got, err)
		}
	}
}

// The profile is an allowlist: what is listed here must not be on it.
func TestTheSeccompProfileHasNoWayOut(t *testing.T) {
	var profile struct {
		DefaultAction string
		Syscalls      []struct {
			Names  []string
			Action string
			Args   []struct{ Index, Value uint64 }
		}
	}
	if err := json.Unmarshal(Seccomp(), &profile); err != nil {
		t.Fatal(err)
	}
	if profile.DefaultAction != "SCMP_ACT_ERRNO" {
		t.Errorf("what is not listed is %s", profile.DefaultAction)
	}
	never := []string{"io_uring_setup", "io_uring_enter", "unshare", "setns", "mount", "umount2", "pivot_root", "bpf", "perf_event_open",
		"userfaultfd", "kexec_load", "init_module", "finit_module", "keyctl", "add_key", "open_by_handle_at", "socketcall", "fsopen", "clone3", "chroot"}
	filtered := []string{"socket", "clone", "personality"}
	families := map[uint64]bool{}
	for _, s := range profile.Syscalls {
		if s.Action != "SCMP_ACT_ALLOW" {
			continue
		}
		for _, name := range s.Names {
			if slices.Contains(never, name) {
				t.Errorf("%s is allowed", name)
			}
			if slices.Contains(filtered, name) && len(s.Args) == 0 {
				t.Errorf("%s is allowed with any arguments", name)
			}
			if name == "socket" {
				families[s.Args[0].Value] = true
			}
		}
	}
	if len(families) != 4 || !families[1] || !families[2] || !families[10] || !families[16] {
		t.Errorf("socket families: %v", families)
	}
}
