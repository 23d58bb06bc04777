package escape

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bottle/pkg/plan"
	"bottle/pkg/probe"
	"bottle/test/rig"
)

// wiretap is a bottle on an engine of the test's own, whose host has a name server
// on its loopback and one wire to the internet, both recording: what an ordinary
// host would hide is seen there.
type wiretap struct {
	e       *rig.Engine
	r       *rig.Rig
	slug    string
	targets probe.Targets
}

// The internet's server, which egress may reach, and another address there.
var (
	server = netip.MustParseAddr("192.0.2.1")
	nobody = netip.MustParseAddr("198.51.100.77")
)

func newWire(t *testing.T) wiretap {
	t.Helper()
	w := wiretap{e: rig.PrivateEngine(t, rig.EngineOptions{})}
	w.r = w.e.Rig()
	w.r.Write("bottles/wire.md", "---\negress:\n  routes:\n    - {host: "+allowed+", private: true}\n---\n")
	w.r.Write("agents/wire.md", "---\nbottle: wire\nprogram: {command: [cat]}\n---\n")
	w.r.Provide("wire")
	w.slug = w.r.Start("wire")
	made := rig.ReadPlan(t, filepath.Join(w.r.Home, "state", w.slug))
	inner := made.Own().Subnet
	w.targets = probe.Targets{Egress: made.IP(plan.EgressService), Inner: inner, Gateway: plan.Address(inner, 1),
		Internet: []netip.AddrPort{netip.AddrPortFrom(nobody, 443), netip.AddrPortFrom(nobody, 53), netip.AddrPortFrom(nobody, 7)}}
	return w
}

// weak is a container without bottle's settings on a network.
func (w wiretap) weak(name, network string) string {
	image := strings.TrimSpace(w.r.Docker("inspect", "-f", "{{.Config.Image}}", agentOf(w.slug)))
	return w.r.Container(name, "--network", network, "-v", filepath.Join(w.r.Libexec, "inside")+":"+plan.InsideDir+":ro",
		"--entrypoint", plan.InsideBin, image, "hold")
}

// asked are the kinds of questions that reached the host's name server with
// what a tunnel would carry: "A udp".
func (w wiretap) asked() []string {
	var kinds []string
	for _, q := range rig.Heard(w.e.Resolver(), ".tunnel.test") {
		kinds = append(kinds, q.Detail+" "+q.Method)
	}
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

// strays are the packets on the wire that are not egress' to the server.
func (w wiretap) strays() []rig.Entry {
	return slices.DeleteFunc(w.e.Internet(), func(e rig.Entry) bool {
		return e.Kind != "packet" || e.Detail == "tcp "+netip.AddrPortFrom(server, 443).String()
	})
}

// dnsTunnel is A3, and sees A1 where all packets are seen.
func dnsTunnel(t *testing.T, _ *stage) {
	w := newWire(t)
	if out, said, _ := w.r.Inside(w.slug, "curl", "-sS", "https://"+allowed+"/mark"); !strings.Contains(out, "/mark") {
		t.Fatalf("an allowed request does not arrive: %s%s", out, said)
	}
	if len(rig.Heard(w.e.Internet(), "/mark")) == 0 || len(rig.Heard(w.e.Resolver(), allowed)) == 0 {
		t.Fatal("internet or name server heard nothing of it: they prove nothing")
	}
	for id, r := range probeIn(t, w.r, agentOf(w.slug), w.targets, "A1", "A3") {
		if !r.OK {
			t.Errorf("%s: %s", id, r)
		}
	}
	if got := w.asked(); len(got) > 0 {
		t.Errorf("the host's name server was asked %v", got)
	}
	if got := w.strays(); len(got) > 0 {
		t.Errorf("there were %d packets on the wire: %+v", len(got), got[0])
	}

	// An engine that leaks, leaks here, and any engine does on a network that is
	// not internal: both recorders see what there is.
	all := []string{"A tcp", "A udp", "AAAA tcp", "AAAA udp", "TXT tcp", "TXT udp"}
	version := strings.TrimSpace(w.r.Docker("version", "-f", "{{.Server.Version}}"))
	probeIn(t, w.r, w.weak("internal", w.r.Network()), w.targets, "A3")
	leaks := w.asked()
	if strings.HasPrefix(version, "20.10") && !slices.Equal(leaks, all) {
		t.Errorf("a plain internal network of engine %s leaks %v: the name server proves nothing", version, leaks)
	}
	t.Logf("a plain internal network of engine %s leaks %v", version, leaks)
	results := probeIn(t, w.r, w.weak("open", w.r.Network("--internal=false")), w.targets, "A1", "A3")
	if results["A1"].OK || results["A3"].OK {
		t.Errorf("blocked where no wall is: %+v", results)
	}
	if got := w.asked(); !slices.Equal(got, all) {
		t.Errorf("on an ordinary network the name server was asked %v: it proves nothing", got)
	}
	for _, want := range []string{"tcp " + nobody.String() + ":443", "udp " + nobody.String() + ":443", "udp " + nobody.String() + ":7"} {
		if len(rig.Heard(w.strays(), want)) == 0 {
			t.Errorf("without walls no %s was on the wire: the record proves nothing", want)
		}
	}
}
