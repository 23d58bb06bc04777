package lifecycle

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"bottle/pkg/bottle"
	"bottle/pkg/engine"
	"bottle/pkg/plan"
)

// A network that leads out, or is another's, is not the one that was planned, whatever
// it is called; a bottle is not resumed in it.
func TestANetworkThatIsNotAsPlannedIsRefused(t *testing.T) {
	l, p := emptied(t)
	n := p.Own()
	have := func(change func(*engine.Network)) engine.Network {
		h := engine.Network{Name: n.Name, Internal: n.Internal, Labels: map[string]string{plan.LabelHome: n.Labels[plan.LabelHome], plan.LabelSlug: p.Slug},
			Subnets: []netip.Prefix{n.Subnet}}
		change(&h)
		return h
	}
	if !n.Internal || !asPlanned(have(func(*engine.Network) {}), n) {
		t.Fatalf("it is %+v", n)
	}
	for what, change := range map[string]func(*engine.Network){
		"leads out":       func(h *engine.Network) { h.Internal = false },
		"another home's":  func(h *engine.Network) { h.Labels[plan.LabelHome] = "another" },
		"another slug's":  func(h *engine.Network) { h.Labels[plan.LabelSlug] = "another" },
		"elsewhere":       func(h *engine.Network) { h.Subnets = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/28")} },
		"without subnets": func(h *engine.Network) { h.Subnets = nil },
	} {
		if asPlanned(have(change), n) {
			t.Errorf("one that is %s passes", what)
		}
	}
	n.Internal = false
	if err := l.fake.CreateNetwork(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if _, err := l.again(p.Slug); !errors.Is(err, ErrForeign) {
		t.Error(err)
	}
}

// A sidecar that was ready before does not speak for the one that is started.
func TestASidecarThatWasReadyDoesNotSpeakForTheNext(t *testing.T) {
	l := newLab(t)
	l.started(t)
	b := l.bottle(t)
	ready := filepath.Join(b.StateDir, plan.EgressService, "out", readyFile)
	l.fake.Stop(t.Context(), plan.ContainerName(b.Slug, plan.EgressService))
	starts := l.fake.OnStart
	l.fake.OnStart = func(c plan.Container) {
		if c.Service == plan.EgressService && exists(ready) {
			t.Error("the next one starts as ready")
		}
		starts(c)
	}
	if _, err := l.again(b.Slug); err != nil {
		t.Fatal(err)
	}
}

// A sidecar that is started again trusts whom this machine trusts now.
func TestAStartedSidecarIsToldOfTheRootsOfNow(t *testing.T) {
	l, _, b := renewing(t)
	l.started(t)
	for _, service := range takers {
		l.fake.Stop(t.Context(), plan.ContainerName(b.Slug, service))
		if err := os.WriteFile(filepath.Join(b.StateDir, service, "in/roots.pem"), []byte("of before"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	values := map[string]string{"env:DOCS": "value-of-docs", "env:TOKEN": "value-of-the-token", reference(t, "file:/keys/mine").Name(): "value-of-mine"}
	if _, err := l.Resume(t.Context(), Again{Slug: b.Slug, Values: values}, nil); err != nil {
		t.Fatal(err)
	}
	for _, service := range takers {
		if roots, err := os.ReadFile(filepath.Join(b.StateDir, service, "in/roots.pem")); err != nil || string(roots) == "of before" {
			t.Errorf("%s trusts %q, %v", service, roots, err)
		}
	}
}

// Where the uplink was made anew elsewhere, the plan says where.
func TestAResumeRecordsWhereTheUplinkIs(t *testing.T) {
	l, p := emptied(t)
	uplink := plan.UplinkName(l.Home.ID)
	l.fake.RemoveNetwork(t.Context(), uplink)
	there := netip.MustParsePrefix("192.0.2.0/24")
	if err := l.fake.CreateNetwork(t.Context(), plan.Uplink(l.Home.ID, there)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.again(p.Slug); err != nil {
		t.Fatal(err)
	}
	now, err := l.loadPlan(p.Slug)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range now.Networks {
		if n.Name == uplink && n.Subnet != there {
			t.Errorf("it is in %v, and planned in %v", there, n.Subnet)
		}
	}
}

// A login stays here where nobody knows which proxy it is for.
func TestALoginForNoProxyStaysHere(t *testing.T) {
	l, _, b := renewing(t)
	tellProxy(t, b, plan.EgressService, "old.corp:3128")
	given := map[string]map[string]string{plan.EgressService: {bottle.ProxyLogin: "ada:geheim", "env:TOKEN": "t"}, plan.GateService: {bottle.ProxyLogin: "ada:geheim"}}
	for _, at := range []*bottle.Proxy{nil, {Address: "new.corp:3128"}} {
		own := l.ownLogins(b.Slug, at, given)
		if _, has := own[plan.EgressService][bottle.ProxyLogin]; has || own[plan.EgressService]["env:TOKEN"] != "t" {
			t.Errorf("egress, %+v: %v", at, own)
		}
		if _, has := own[plan.GateService][bottle.ProxyLogin]; has { // it goes by no proxy
			t.Errorf("the git gate, %+v: %v", at, own)
		}
	}
	if given[plan.EgressService][bottle.ProxyLogin] == "" {
		t.Error("what was given is changed")
	}
	at := bottle.Proxy{Address: "old.corp:3128"}
	if err := l.CheckLogin(b.Slug, at); err != nil {
		t.Error(err)
	}
	told := filepath.Join(b.StateDir, plan.EgressService, "in", hostFile)
	if err := os.WriteFile(told, []byte("{half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.CheckLogin(b.Slug, at); err == nil {
		t.Error("an egress that was told nobody knows what is handed a login")
	}
	if own := l.ownLogins(b.Slug, &at, given); own[plan.EgressService][bottle.ProxyLogin] != "" {
		t.Error("and so it is at a resume")
	}
	if err := os.Remove(told); err != nil {
		t.Fatal(err)
	}
	if err := l.CheckLogin(b.Slug, at); err != nil { // there is no such sidecar
		t.Error(err)
	}
}
