package lifecycle

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"bottle/pkg/engine"
	"bottle/pkg/plan"
)

// An uplink that is made a second time after a start had looked is one again, when
// that start, or whoever removes it, meets two.
func TestWhoMeetsASecondUplinkGoesOn(t *testing.T) {
	l := newLab(t)
	var mu sync.Mutex
	met := map[string]bool{}
	l.fake.Fail = func(call, name string) error {
		mu.Lock()
		defer mu.Unlock()
		starts := call == "Start" && strings.HasSuffix(name, "-egress-1")
		removes := call == "RemoveNetwork" && name == plan.UplinkName(l.Home.ID)
		if (starts || removes) && !met[call] {
			met[call] = true
			return fmt.Errorf("cannot: %w", engine.ErrAmbiguous)
		}
		return nil
	}
	b := l.bottle(t)
	if err := os.RemoveAll(b.StateDir); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Reap(t.Context(), yes); err != nil {
		t.Fatal(err)
	}
	if left := l.fake.Left(); len(left) > 0 || len(met) != 2 {
		t.Errorf("left %q, met %v", left, met)
	}
}

// doubled is an engine that has a second network of a name once a container starts,
// until it is removed.
type doubled struct {
	engine.Engine
	mu     sync.Mutex
	second *engine.Network // its ID is not its name
}

func (d *doubled) Networks(ctx context.Context) ([]engine.Network, error) {
	list, err := d.Engine.Networks(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.second != nil {
		list = append(list, *d.second)
	}
	return list, err
}

func (d *doubled) RemoveNetwork(ctx context.Context, name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.second != nil && name == d.second.ID {
		d.second = nil
		return nil
	}
	return d.Engine.RemoveNetwork(ctx, name)
}

func (d *doubled) Start(ctx context.Context, name string) error {
	d.mu.Lock()
	there := d.second != nil
	d.mu.Unlock()
	if there {
		return fmt.Errorf("cannot: %w", engine.ErrAmbiguous)
	}
	return d.Engine.Start(ctx, name)
}

// A bottle's own network that a killed resume's request has made a second time goes,
// and not the one that the bottle is in.
func TestAResumeThatMeetsASecondNetworkOfItsOwnGoesOn(t *testing.T) {
	l := newLab(t)
	b := l.bottle(t)
	l.fake.Stop(t.Context(), plan.ContainerName(b.Slug, plan.EgressService))
	l.fake.Stop(t.Context(), plan.ContainerName(b.Slug, plan.AgentService))
	before, err := l.fake.Networks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(before, func(n engine.Network) bool { return n.Labels[plan.LabelSlug] == b.Slug })
	second := before[i]
	second.ID, second.Subnets = "second", []netip.Prefix{netip.MustParsePrefix("10.213.7.0/28")}
	d := &doubled{Engine: l.fake, second: &second}
	l.Engine = d
	if _, err := l.again(b.Slug); err != nil {
		t.Fatal(err)
	}
	after, err := l.fake.Networks(t.Context())
	if err != nil || d.second != nil || len(after) != len(before) {
		t.Errorf("%v, the second is %v, %d networks of %d", err, d.second, len(after), len(before))
	}
}
