package lifecycle

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bottle/pkg/bottle"
	"bottle/pkg/engine"
	"bottle/pkg/engine/enginetest"
	"bottle/pkg/plan"
	"bottle/pkg/state"
)

// What a listing called an orphan is looked at again under its lock: it may have come
// to life since, or be kept, or somebody is at work on it. A slug is no path.
func TestWhatIsNoOrphanAnyMoreStays(t *testing.T) {
	l := newLab(t)
	dead := bottle.Bottle{Slug: "dead", Status: bottle.Starting, Engine: "fake"}
	ran, kept, busy := dead, dead, dead
	ran.Slug, ran.Ran, kept.Slug, busy.Slug = "ran", true, "kept", "busy"
	l.leave(t, ran, true).Unlock()
	l.leave(t, kept, true).Unlock()
	l.leave(t, dead, true).Unlock()
	defer l.leave(t, busy, true).Unlock()
	if err := os.WriteFile(filepath.Join(l.Home.StateDir("kept"), state.PreserveFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	before := l.fake.Left()
	for _, slug := range []string{"ran", "kept", "busy"} {
		if err := l.reapBottle(t.Context(), slug); err != nil {
			t.Errorf("%s: %v", slug, err)
		}
	}
	if err := l.reapBottle(t.Context(), "../state/dead"); err == nil {
		t.Error("a path is taken for a slug")
	}
	if left := l.fake.Left(); !slices.Equal(left, before) {
		t.Errorf("the engine holds %q, not %q", left, before)
	}
	if slugs, _ := l.Home.Slugs(); !slices.Equal(slugs, []string{"busy", "dead", "kept", "ran"}) {
		t.Errorf("state is left of %q", slugs)
	}
	l.fake.Fail = func(string, string) error { return errors.New("no") }
	if err := l.reapBottle(t.Context(), "dead"); err == nil {
		t.Error("what cannot be removed is no error")
	}
	if !exists(l.Home.StateDir("dead")) {
		t.Error("a bottle of which the engine holds something is forgotten")
	}
}

// Another home's networks are not judged, whatever bottle they are of.
func TestNetworksOfAnotherHomeAreNoOrphans(t *testing.T) {
	l := newLab(t)
	theirs := plan.Network{Name: "theirs", Labels: map[string]string{plan.LabelHome: "another-home", plan.LabelSlug: "stateless"}}
	ours := plan.Network{Name: "ours", Labels: map[string]string{plan.LabelHome: l.Home.ID, plan.LabelSlug: "stateless"}}
	if err := errors.Join(l.fake.CreateNetwork(t.Context(), theirs), l.fake.CreateNetwork(t.Context(), ours)); err != nil {
		t.Fatal(err)
	}
	if list, err := l.Orphans(t.Context()); err != nil || !slices.Equal(list, []Orphan{{"network", "ours", "stateless", noState}}) {
		t.Errorf("%v, %v", list, err)
	}
}

// beginning is an engine on which a bottle begins while it is listed.
type beginning struct {
	*enginetest.Fake
	begin func()
}

func (b *beginning) Volumes(ctx context.Context, home string) ([]engine.Volume, error) {
	b.begin()
	return b.Fake.Volumes(ctx, home)
}

// A bottle that begins while the engine is asked is on its list, and is known.
func TestABottleThatBeginsMeanwhileIsNoOrphan(t *testing.T) {
	l := newLab(t)
	var lock *state.Lock
	l.Manager.Engine = &beginning{l.fake, func() {
		if lock == nil {
			lock = l.leave(t, bottle.Bottle{Slug: "young", Status: bottle.Starting, Engine: "fake"}, true)
		}
	}}
	if list, err := l.Orphans(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("%v, %v", list, err)
	}
	lock.Unlock()
}

// A network of the uplink's name that is not this home's is nobody's second uplink.
func TestAnotherHomesNetworkIsNoSecondUplink(t *testing.T) {
	l := newLab(t)
	if err := l.fake.CreateNetwork(t.Context(), plan.Network{Name: plan.UplinkName(l.Home.ID), Labels: map[string]string{plan.LabelHome: l.Home.ID}}); err != nil {
		t.Fatal(err)
	}
	theirs := &engine.Network{ID: "zzz", Name: plan.UplinkName(l.Home.ID), Labels: map[string]string{plan.LabelHome: "another-home"}}
	d := &doubled{Engine: l.fake, second: theirs}
	l.Manager.Engine = d
	if err := l.oneUplink(t.Context()); err != nil || d.second == nil {
		t.Errorf("%v, theirs is gone: %t", err, d.second == nil)
	}
	if left := l.fake.Left(); len(left) != 1 {
		t.Errorf("left are %q", left)
	}
}

// A network is not made where this machine has one.
func TestABottlesNetworkIsNotTheMachines(t *testing.T) {
	l := newLab(t)
	if _, err := l.Up(t.Context(), l.spec, nil); err != nil { // with an uplink
		t.Fatal(err)
	}
	l.Home.Config.SubnetPool = netip.MustParsePrefix("127.64.0.0/16")
	if _, err := l.Up(t.Context(), l.spec, nil); err == nil || !strings.Contains(err.Error(), "subnet") {
		t.Errorf("in %v: %v", l.Home.Config.SubnetPool, err)
	}
}
