package lifecycle

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bottle/pkg/bottle"
	"bottle/pkg/plan"
	"bottle/pkg/probe"
	"bottle/test/rig"
)

var restarts = flag.Int("restarts", 20, "how often an engine is restarted under a bottle")

// The internet's server, which egress may reach, and another address there.
var (
	server = netip.MustParseAddr("192.0.2.1")
	nobody = netip.MustParseAddr("198.51.100.77")
)

// prober is an agent that tries to get out without end, and counts.
const prober = `---
bottle: dev
program:
  command:
    - sh
    - -c
    - |
      until [ -s /work/targets ]; do sleep 0.1; done
      while :; do /opt/bottle/bottle-inside probe A1 A3 A4 </work/targets >/dev/null 2>&1; echo tried >>/work/tried; done
---
`

// shaken is a bottle whose agent tries to get out, on an engine of the test's own
// whose host has one wire, on which every packet is recorded.
type shaken struct {
	*rig.Rig
	t    *testing.T
	e    *rig.Engine
	slug string
	seen int // requests of egress' that arrived
}

func newShaken(t *testing.T) *shaken {
	t.Helper()
	s := &shaken{t: t, e: rig.PrivateEngine(t, rig.EngineOptions{Config: map[string]any{"live-restore": true}})}
	s.Rig = s.e.Rig()
	s.Write("bottles/dev.md", "---\negress:\n  routes:\n    - {host: allowed.test, private: true}\n---\n")
	s.Write("agents/dev.md", prober)
	s.Provide("dev")
	s.slug = s.Rig.Start("dev")
	made := rig.ReadPlan(t, filepath.Join(s.Home, "state", s.slug))
	inner := made.Own().Subnet
	targets, err := json.Marshal(probe.Targets{Egress: made.IP(plan.EgressService), Inner: inner, Gateway: plan.Address(inner, 1),
		Host:     []netip.Addr{netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("172.17.0.1")},
		Internet: []netip.AddrPort{netip.AddrPortFrom(nobody, 443), netip.AddrPortFrom(nobody, 53), netip.AddrPortFrom(nobody, 7)}})
	if err != nil {
		t.Fatal(err)
	}
	cmd := s.Command(t.Context(), "bottle-attach", s.slug, "--", "sh", "-c", "cat >/work/targets")
	cmd.Stdin = bytes.NewReader(targets)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.tries()
	return s
}

// tries returns when the agent has tried everything once more, from beginning to
// end, whether the engine lives or not.
func (s *shaken) tries() {
	s.t.Helper()
	dir := s.e.Volume("bottle-" + s.slug + "_work")
	count := func() int {
		data, _ := os.ReadFile(filepath.Join(dir, "tried"))
		return bytes.Count(data, []byte("\n"))
	}
	wanted := count() + 2
	awaitWrite(s.t, dir, func() bool { return count() >= wanted }, func() {})
}

// wantShut fails where anything of the agent's was on the wire, or reached the
// host's name server.
func (s *shaken) wantShut(when string) {
	s.t.Helper()
	strays := slices.DeleteFunc(s.e.Internet(), func(e rig.Entry) bool {
		return e.Kind != "packet" || e.Detail == "tcp "+netip.AddrPortFrom(server, 443).String()
	})
	if len(strays) > 0 {
		s.t.Fatalf("%s there were %d packets on the wire: %+v", when, len(strays), strays[0])
	}
	if asked := rig.Heard(s.e.Resolver(), ".tunnel.test"); len(asked) > 0 {
		s.t.Fatalf("%s the host's name server was asked %+v", when, asked[0])
	}
}

// wantServed fails unless the bottle is found again, running, and what it may
// reach it reaches: the record of the wire would show what is on it.
func (s *shaken) wantServed(when string) {
	s.t.Helper()
	if all := s.Bottles(); len(all) != 1 || all[0].Status != bottle.Running || all[0].Slug != s.slug {
		s.t.Fatalf("%s the bottle is %+v", when, all)
	}
	if out, said, _ := s.Inside(s.slug, "curl", "-sS", "-m", "20", "https://allowed.test/mark"); !strings.Contains(out, "/mark") {
		s.t.Fatalf("%s an allowed request does not arrive: %s%s", when, out, said)
	}
	if heard := len(rig.Heard(s.e.Internet(), "/mark")); heard <= s.seen {
		s.t.Fatalf("%s the internet heard nothing of an allowed request: it proves nothing", when)
	} else {
		s.seen = heard
	}
}

// blows are the ways in which an engine ends under a bottle. Whether containers
// live on is decided when it ends in order, and when it starts.
var blows = []struct {
	name         string
	end          func(*rig.Engine)
	lives, found bool // the agent lives while the engine is away, and afterwards
	live         bool // the next engine's configuration
}{
	{"stopped", (*rig.Engine).Stop, true, true, true},
	{"killed", (*rig.Engine).Kill, true, true, true},
	{"killed, and the next one ends what it finds", (*rig.Engine).Kill, true, false, false},
	{"stopped with its containers", (*rig.Engine).Stop, false, false, true},
}

// An engine that ends and starts under a bottle, in order or in the middle of
// things, lets nothing out of it at any moment. What lives on is found again; what
// died is shown, stays shut, and is resumed.
func TestAnEngineThatRestartsLetsNothingOut(t *testing.T) {
	t.Parallel()
	s := newShaken(t)
	s.wantServed("at first")
	for n := range *restarts {
		blow := blows[n%len(blows)]
		blow.end(s.e)
		if blow.lives {
			s.tries()
		}
		s.wantShut("with the engine " + blow.name)
		if out, _, code := s.Run("bottle-ls"); code != 5 || !strings.Contains(out, s.slug) {
			t.Fatalf("without an engine bottle-ls ended with %d: %s", code, out)
		}
		s.e.Configure(map[string]any{"live-restore": blow.live})
		s.e.Start()
		if !blow.found {
			s.wantStopped()
		}
		s.wantServed("after the engine was " + blow.name)
		s.tries()
		s.wantShut("after the engine was " + blow.name)
	}
}

// wantStopped fails unless the bottle is shown as one that ended with its engine,
// and resumes it.
func (s *shaken) wantStopped() {
	s.t.Helper()
	if all := s.Bottles(); len(all) != 1 || all[0].Status != bottle.Stopped || !strings.Contains(all[0].Reason, "bottle-start --resume "+s.slug+" continues it") {
		s.t.Fatalf("the bottle is %+v", all)
	}
	ids := s.Docker("ps", "-aq", "--no-trunc")
	if _, said, code := s.Run("bottle-start", "--resume", s.slug); code != 0 {
		s.t.Fatalf("the resume ended with %d: %s", code, said)
	}
	if now := s.Docker("ps", "-aq", "--no-trunc"); now != ids {
		s.t.Errorf("resumed, its containers are %s, and were %s", now, ids)
	}
}
