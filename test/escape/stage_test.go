package escape

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"bottle/pkg/plan"
	"bottle/pkg/probe"
	"bottle/test/rig"
)

// Names of the tests' internet.
const (
	allowed = "allowed.test"
	refused = "refused.test"
	// Of the bottle whose routes have paths and credentials.
	narrow  = "narrow.test"        // /v1/ok alone
	keyed   = "keyed.test"         // egress has its credential
	owned   = "owned.test"         // nobody else's credentials
	foreign = "xn--bcher-kva.test" // bücher.test
	// The host of a model, as an agent's own (agent.Host).
	modelHost = "api.anthropic.com"
	// Two others': no host of the agent's own.
	openAIHost = "api.openai.com"
	geminiHost = "generativelanguage.googleapis.com"
)

// stage is what all rows play on: a bottle, another one beside it, an internet
// that both their egresses reach, a listener on the host, and a container
// without walls in which the same probes must get through.
type stage struct {
	r       *rig.Rig
	u       *rig.Upstream
	keys    keys    // the bottle whose routes have paths and credentials
	guarded guarded // the bottle that holds secrets
	slug    string  // the bottle under attack
	other   string  // its neighbour
	weak    string  // the container without walls
	leaky   string  // the same, into which egress' files were mounted
	host    *listener

	pushes *pushes // the bottle whose git is attacked

	rawBottle rawBottled // the bottle that raw bytes are sent in
	dialers   dialers

	hears struct { // a bottle whose egress asks the tests' name server
		sync.Once
		slug string
	}

	asks struct { // a bottle whose agent asks its operator
		sync.Once
		slug string
	}

	targets     probe.Targets // from inside the bottle
	weakTargets probe.Targets // from inside the container without walls
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{r: rig.New(t)}
	var up sync.WaitGroup
	up.Go(func() { s.pushes = newPushes(t) })
	defer func() {
		if up.Wait(); s.pushes == nil {
			t.Fatal("the bottle whose git is attacked did not come up")
		}
	}()
	s.u = s.r.Upstream(allowed, refused, narrow, keyed, owned, foreign, modelHost, openAIHost, geminiHost)
	s.r.Agent("wall", allowed)
	s.r.Agent("other", allowed)
	s.slug = s.r.Start("wall")
	s.other = s.r.Start("other")
	s.u.Join(s.slug)
	s.u.Join(s.other)
	s.host = listen(t)
	s.aim(t)
	s.weak = s.weakContainer("weak")
	s.leaky = s.weakContainer("leaky", "-v", filepath.Join(s.r.Home, "state", s.slug, "egress", "in")+":/leak:ro")
	return s
}

func agentOf(slug string) string  { return plan.ContainerName(slug, plan.AgentService) }
func egressOf(slug string) string { return plan.ContainerName(slug, plan.EgressService) }

// addresses are a container's, by network.
func (s *stage) addresses(t *testing.T, container string) map[string]netip.Addr {
	t.Helper()
	type network struct{ IPAddress string }
	out := s.r.Docker("inspect", "-f", "{{json .NetworkSettings.Networks}}", container)
	found := map[string]netip.Addr{}
	for name, n := range rig.Decode[map[string]network](t, out) {
		found[name] = netip.MustParseAddr(n.IPAddress)
	}
	return found
}

// aim works out what must not be reached.
func (s *stage) aim(t *testing.T) {
	t.Helper()
	inner := plan.Project(s.slug) + "_inner"
	agent := s.addresses(t, agentOf(s.slug))
	bits := netip.MustParsePrefix(strings.TrimSpace(s.r.Docker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", inner)))
	s.targets = probe.Targets{Egress: s.addresses(t, egressOf(s.slug))[inner], Inner: bits, Gateway: plan.Address(bits, 1),
		Host: hostAddresses(t), Refused: []string{refused, "never.test"},
		Internet:  []netip.AddrPort{netip.AddrPortFrom(s.u.Addr, 7), netip.AddrPortFrom(s.u.Addr, 443)},
		Listeners: s.host.addresses(t), Names: []string{agentOf(s.other), egressOf(s.other)}}
	if !s.targets.Egress.IsValid() || !bits.Contains(agent[inner]) {
		t.Fatalf("the bottle's network is not as expected: %+v", s.targets)
	}
	for _, container := range []string{agentOf(s.other), egressOf(s.other), egressOf(s.slug)} {
		for network, a := range s.addresses(t, container) {
			switch {
			case strings.HasPrefix(network, "bottle-uplink-"):
				s.targets.Uplink = append(s.targets.Uplink, a)
			case network == s.u.Network:
				s.targets.Uplink = append(s.targets.Uplink, a)
			case network != inner:
				s.targets.Neighbours = append(s.targets.Neighbours, a)
			}
		}
	}
	s.weakTargets = s.targets
	s.weakTargets.Inner, s.weakTargets.Gateway = s.u.Subnet, plan.Address(s.u.Subnet, 1)
	s.weakTargets.Neighbours, s.weakTargets.Uplink = []netip.Addr{s.u.Addr}, []netip.Addr{s.u.Addr}
}

// weakContainer is a container as an engine makes them when told nothing, and
// with what some ask for besides: no filter, more capabilities, IPv6.
func (s *stage) weakContainer(name string, flags ...string) string {
	args := append([]string{"--network", s.u.Network, "--dns", s.u.Addr.String(), "--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW",
		"--security-opt", "seccomp=unconfined", "--user", "0:0",
		"-v", s.r.Libexec + "/inside:" + plan.InsideDir + ":ro", "--entrypoint", plan.InsideBin}, flags...)
	if hasIPv6() {
		args = append(args, "--sysctl", "net.ipv6.conf.all.disable_ipv6=0")
	}
	name = s.r.Container(name, append(args, s.image(agentOf(s.slug)), "hold")...)
	if hasIPv6() {
		s.r.Docker("network", "connect", s.six(), name)
	}
	return name
}

// hasIPv6 says whether this machine's kernel has IPv6 at all.
func hasIPv6() bool {
	_, err := os.Stat("/proc/net/if_inet6")
	return err == nil
}

// six makes a network with IPv6.
func (s *stage) six() string {
	prefix := fmt.Sprintf("fd00:214:%x::/64", rand.IntN(1<<16))
	return s.r.Network("--ipv6", "--subnet", prefix)
}

func (s *stage) image(container string) string {
	return strings.TrimSpace(s.r.Docker("inspect", "-f", "{{.Config.Image}}", container))
}

// elsewhere is a name that only the tests' name server knows.
const elsewhere = "elsewhere.test"

// listened returns a bottle whose egress asks the tests' name server, so that a
// question that leaves is heard. Its route is to elsewhere.
func (s *stage) listened(t *testing.T) string {
	t.Helper()
	s.hears.Do(func() {
		s.r.Agent("hears", elsewhere)
		b, err := s.r.Up("hears", func(p *plan.Plan) { p.Find(plan.EgressService).DNS = []string{s.u.Addr.String()} })
		if err != nil {
			t.Errorf("cannot start the bottle that is listened to: %v", err)
			return
		}
		s.u.Join(b)
		s.hears.slug = b
	})
	if s.hears.slug == "" {
		t.Fatal("there is no bottle that is listened to")
	}
	return s.hears.slug
}

// probe runs rows of pkg/probe in a container.
func (s *stage) probe(t *testing.T, container string, targets probe.Targets, ids ...string) map[string]probe.Result {
	t.Helper()
	return probeIn(t, s.r, container, targets, ids...)
}

func probeIn(t *testing.T, r *rig.Rig, container string, targets probe.Targets, ids ...string) map[string]probe.Result {
	t.Helper()
	doc, err := json.Marshal(targets)
	if err != nil {
		t.Fatal(err)
	}
	cmd := r.DockerCommand(append([]string{"exec", "-i", container, plan.InsideBin, "probe"}, ids...)...)
	cmd.Stdin = bytes.NewReader(doc)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	results := map[string]probe.Result{}
	for line := range strings.Lines(string(out)) {
		r := rig.Decode[probe.Result](t, line)
		results[r.ID] = r
	}
	if len(results) != len(ids) {
		t.Fatalf("%d of %d probes ran in %s: %v: %s", len(results), len(ids), container, err, said.String())
	}
	return results
}

// holds tries a row in the bottle: it must be blocked.
func (s *stage) holds(t *testing.T, id string) {
	t.Helper()
	if r := s.probe(t, agentOf(s.slug), s.targets, id)[id]; !r.OK {
		t.Error(r)
	}
}

// falls tries the same row where no wall is: it must get through, and say all
// of this.
func (s *stage) falls(t *testing.T, id string, says ...string) {
	t.Helper()
	r := s.probe(t, s.weak, s.weakTargets, id)[id]
	if r.OK {
		t.Errorf("%s is blocked where no wall is: the probe proves nothing", id)
	}
	for _, want := range says {
		if !strings.Contains(r.Detail, want) {
			t.Errorf("%s without walls says %q, not %q", id, r.Detail, want)
		}
	}
}
