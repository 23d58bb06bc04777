package lifecycle

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"bottle/pkg/bottle"
	"bottle/pkg/engine"
	"bottle/pkg/plan"
	"bottle/pkg/state"
)

func TestStatusIsWhatLivesNotWhatWasRecorded(t *testing.T) {
	agent := func(state string) engine.Container { return engine.Container{Service: "agent", State: state} }
	egress := func(state string) engine.Container { return engine.Container{Service: "egress", State: state} }
	cases := []struct {
		name       string
		recorded   bottle.Status
		containers []engine.Container
		want       bottle.Status
		reason     string
	}{
		{"up", bottle.Running, []engine.Container{agent("running"), egress("running")}, bottle.Running, ""},
		{"egress died", bottle.Running, []engine.Container{agent("running"), egress("exited")}, bottle.Degraded, "not up: egress"},
		{"egress removed", bottle.Running, []engine.Container{agent("running")}, bottle.Degraded, "not up: egress"},
		{"agent died", bottle.Running, []engine.Container{agent("exited"), egress("running")}, bottle.Stopped, ""},
		{"paused", bottle.Running, []engine.Container{agent("paused"), egress("running")}, bottle.Stopped, ""},
		{"removed by hand", bottle.Running, nil, bottle.Lost, "its containers are gone; bottle-stop keeps what work is left"},
		{"removed by hand, a capture left", bottle.Running, []engine.Container{{Service: "capture", State: "running"}}, bottle.Stopped, "its agent's container is gone; bottle-stop keeps what work is left"},
		{"kept and started by hand", bottle.Stopped, []engine.Container{agent("running"), egress("running")}, bottle.Running, ""},
		{"being made", bottle.Starting, nil, bottle.Starting, ""},
	}
	for _, tc := range cases {
		got := judge(bottle.Bottle{Status: tc.recorded, Sidecars: []string{"egress"}}, tc.containers, "fake", func(string) bool { return true })
		if got.Status != tc.want || got.Reason != tc.reason {
			t.Errorf("%s: %s (%s), want %s (%s)", tc.name, got.Status, got.Reason, tc.want, tc.reason)
		}
	}
}

func TestABottleWithoutMetadataIsListedNotHidden(t *testing.T) {
	l := newLab(t)
	b, err := l.Up(t.Context(), l.spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, damage := range []func() error{
		func() error {
			return os.WriteFile(filepath.Join(b.StateDir, state.MetadataFile), []byte("{half"), 0o600)
		},
		func() error { return os.RemoveAll(b.StateDir) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		list, err := List(t.Context(), l.Home, l.fake)
		if err != nil || len(list) != 1 || list[0].Slug != b.Slug || list[0].Agent != "?" || !slices.Contains(list[0].Services, "agent") {
			t.Errorf("listed as %+v, %v", list, err)
		}
	}
	if _, err := l.Down(t.Context(), b.Slug, DownOptions{}, nil); err != nil {
		t.Errorf("such a bottle cannot be stopped: %v", err)
	}
	if left := l.fake.Left(); len(left) > 0 {
		t.Errorf("the engine still holds %q", left)
	}
}

func TestAWatcherSeesABottleComeAndGo(t *testing.T) {
	l := newLab(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := make(chan bottle.Bottle, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- l.Watch(ctx, func(b bottle.Bottle) error { seen <- b; return nil }, func(error) {})
	}()
	b, err := l.Up(t.Context(), l.spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	await := func(want bottle.Status) {
		t.Helper()
		for got := range seen {
			if got.Slug == b.Slug && got.Status == want {
				return
			}
		}
	}
	await(bottle.Running)
	if err := l.fake.Stop(t.Context(), plan.ContainerName(b.Slug, "egress")); err != nil {
		t.Fatal(err)
	}
	await(bottle.Degraded)
	if _, err := l.Down(t.Context(), b.Slug, DownOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	await(bottle.Gone)
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the watcher ended with %v", err)
	}
}

func TestSubnetsComeOutOfThePoolOnceEach(t *testing.T) {
	pool := netip.MustParsePrefix("10.9.0.0/20")
	var taken []netip.Prefix
	for {
		p, err := freeSubnet(pool, innerBits, taken, func(n int) int { return n / 2 })
		if err != nil {
			break
		}
		if overlaps(p, taken) || !pool.Overlaps(p) || p.Bits() != innerBits {
			t.Fatalf("%s out of %s after %d others", p, pool, len(taken))
		}
		taken = append(taken, p)
	}
	if len(taken) != 192 { // three quarters of the /20's 256
		t.Errorf("the pool gave %d subnets", len(taken))
	}
	if p, err := freeSubnet(pool, uplinkBits, taken, func(int) int { return 0 }); err != nil || p.String() != "10.9.12.0/22" {
		t.Errorf("the uplink: %s, %v", p, err)
	}
}
