package lifecycle

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

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
		busy       bool
	}{
		{"up", bottle.Running, []engine.Container{agent("running"), egress("running")}, bottle.Running, "", false},
		{"egress died", bottle.Running, []engine.Container{agent("running"), egress("exited")}, bottle.Degraded, "not up: egress; run bottle-start --resume web", false},
		{"egress removed", bottle.Running, []engine.Container{agent("running")}, bottle.Degraded, "not up: egress; run bottle-start --resume web", false},
		{"agent died", bottle.Running, []engine.Container{agent("exited"), egress("running")}, bottle.Stopped, "its agent's container ended; bottle-start --resume web continues it, bottle-stop keeps its work", false},
		{"kept", bottle.Stopped, []engine.Container{agent("exited"), egress("exited")}, bottle.Stopped, "it was stopped and kept; bottle-start --resume web continues it", false},
		{"paused", bottle.Running, []engine.Container{agent("paused"), egress("running")}, bottle.Stopped, "its agent's container is paused; docker unpause bottle-web-agent-1 continues it", false},
		{"being stopped", bottle.Running, []engine.Container{agent("exited"), egress("running")}, bottle.Stopped, "it is being stopped", true},
		{"being taken down", bottle.Running, nil, bottle.Stopped, "it is being stopped", true},
		{"handed its secrets", bottle.Running, []engine.Container{agent("running"), egress("running")}, bottle.Running, "", true},
		{"removed by hand", bottle.Running, nil, bottle.Lost, "its containers are gone; bottle-start --resume web makes them anew, bottle-stop keeps what work is left", false},
		{"removed by hand, a capture left", bottle.Running, []engine.Container{{Service: "capture", State: "running"}}, bottle.Stopped, "its agent's container is gone; bottle-start --resume web makes it anew, bottle-stop keeps what work is left", false},
		{"kept and started by hand", bottle.Stopped, []engine.Container{agent("running"), egress("running")}, bottle.Degraded,
			"it was stopped, and its agent's container runs; run bottle-start --resume web", false},
		{"taken out of its network", bottle.Running, []engine.Container{{Service: "agent", State: "running", Planned: []string{"inner"}}, egress("running")}, bottle.Degraded,
			"agent is not in network inner; run bottle-start --resume web", false},
		{"being made", bottle.Starting, nil, bottle.Starting, "", true},
		{"made by a dead one", bottle.Starting, nil, bottle.Starting, "its bottle-start is dead; bottle-stop --orphans clears it up", false},
	}
	for _, tc := range cases {
		got := judge(bottle.Bottle{Slug: "web", Status: tc.recorded, Sidecars: []string{"egress"}}, tc.containers, "fake", func(string) bool { return tc.busy }, nil)
		if got.Status != tc.want || got.Reason != tc.reason {
			t.Errorf("%s: %s (%s), want %s (%s)", tc.name, got.Status, got.Reason, tc.want, tc.reason)
		}
	}
}

func TestABottleWithoutMetadataIsListedNotHidden(t *testing.T) {
	l := newLab(t)
	b := l.bottle(t)
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
	b := l.bottle(t)
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

// vanishing is an engine that is so slow to say what it is called that the only
// bottle is taken down meanwhile.
type vanishing struct {
	engine.Engine
	meanwhile func()
}

func (v vanishing) Host(ctx context.Context) (engine.Host, error) {
	v.meanwhile()
	return v.Engine.Host(ctx)
}

// The lock lies in the directory, and goes with it: who looks for it then must not
// take the bottle for one that nobody is at work on.
func TestABottleThatIsTakenDownWhileItIsListedIsNeitherLostNorDead(t *testing.T) {
	for _, recorded := range []bottle.Status{bottle.Running, bottle.Stopped, bottle.Starting} {
		l := newLab(t)
		lock, err := l.Home.Create(bottle.Bottle{Slug: "web", Status: recorded})
		if err != nil {
			t.Fatal(err)
		}
		defer lock.Unlock()
		list, err := List(t.Context(), l.Home, vanishing{l.fake, func() {
			if err := l.Home.Forget("web"); err != nil {
				t.Error(err)
			}
		}})
		if err != nil || len(list) > 0 {
			t.Errorf("recorded as %s, it is listed as %+v, %v", recorded, list, err)
		}
	}
}

// The metadata go into the history shortly before the bottle is gone.
func TestAWatcherKnowsABottleToItsEnd(t *testing.T) {
	l := newLab(t)
	files, err := fsnotify.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	var told []string
	w := watcher{Manager: l.Manager, files: files, outs: files, told: map[string]bottle.Bottle{},
		emit: func(b bottle.Bottle) error { told = append(told, b.Agent+" "+string(b.Status)); return nil }}
	lock, err := l.Home.Create(bottle.Bottle{Slug: "web", Agent: "dev", Status: bottle.Running})
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Unlock()
	for _, step := range []func() error{
		func() error { return nil },
		func() error { return os.Remove(filepath.Join(l.Home.StateDir("web"), state.MetadataFile)) },
		func() error { return l.Home.Forget("web") },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
		if err := w.refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"dev stopped", "dev gone"}; !slices.Equal(told, want) {
		t.Errorf("it told %q, not %q", told, want)
	}
}

// moody is an engine that goes away and comes back.
type moody struct {
	engine.Engine
	away atomic.Bool
}

func (m *moody) List(ctx context.Context, home string) ([]engine.Container, error) {
	if m.away.Load() {
		return nil, engine.ErrUnreachable
	}
	return m.Engine.List(ctx, home)
}

func TestAWatcherInventsNothingWhileTheEngineIsAway(t *testing.T) {
	l := newLab(t)
	b, err := l.Up(t.Context(), l.spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	l.fake.Stop(t.Context(), plan.ContainerName(b.Slug, "agent")) // recorded as running, and stopped
	e := &moody{Engine: l.fake}
	m := &Manager{Home: l.Home, Engine: e, Libexec: l.Libexec}
	seen, lost := make(chan bottle.Bottle, 100), make(chan error, 100)
	go m.Watch(t.Context(), func(b bottle.Bottle) error { seen <- b; return nil }, func(err error) { lost <- err })
	if got := <-seen; got.Slug != b.Slug || got.Status != bottle.Stopped {
		t.Fatalf("begins with %+v", got)
	}
	e.away.Store(true)
	for _, slug := range []string{"one", "two"} {
		create := bottle.Bottle{Slug: slug, Status: bottle.Running}
		lock, err := l.Home.Create(create)
		if err != nil {
			t.Fatal(err)
		}
		lock.Unlock()
		if got := <-seen; got.Slug != slug {
			t.Errorf("with the engine away it tells of %+v", got)
		}
	}
	if len(lost) != 1 {
		t.Errorf("that the engine is away was told %d times", len(lost))
	}
}

// No event tells of a lock that its holder's death gave up.
func TestAWatcherTellsThatAStartIsDead(t *testing.T) {
	l := newLab(t)
	lock, err := l.Home.Create(bottle.Bottle{Slug: "web", Status: bottle.Starting})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan bottle.Bottle, 100)
	go l.Watch(t.Context(), func(b bottle.Bottle) error { seen <- b; return nil }, func(error) {})
	if got := <-seen; got.Reason != "" {
		t.Fatalf("begins with %+v", got)
	}
	lock.Unlock()
	select {
	case got := <-seen:
		if got.Status != bottle.Starting || got.Reason != "its bottle-start is dead; bottle-stop --orphans clears it up" {
			t.Errorf("tells of %+v", got)
		}
	case <-time.After(time.Minute):
		t.Error("it tells nothing")
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
