// Package enginetest is the conformance suite that every engine passes, and a
// fake in memory that passes it, for tests of what stands on an engine.
package enginetest

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"bottle/pkg/engine"
	"bottle/pkg/plan"
)

// Lab is where the suite works: an engine, an image with a shell in it, a home
// id that nobody else uses, and two subnets that are free.
type Lab struct {
	Engine engine.Engine
	Image  string
	Home   string
	Free   [2]netip.Prefix
}

// Run runs the suite. What it makes, it removes.
func Run(t *testing.T, lab func(t *testing.T) Lab) {
	for name, test := range map[string]func(*testing.T, Lab){
		"ListFindsWhatCarriesTheLabelAndNothingElse": labels,
		"ExecPassesStreamsAndExitCode":               execs,
		"ExecEndsWithItsContext":                     execCancel,
		"NetworksWantTheirOwnSubnet":                 networks,
		"RemovingWhatIsNotThereIsNoError":            removes,
		"EventsTellOfStartAndDeath":                  events,
		"WaitReturnsTheExitCode":                     waits,
		"SignalsReachTheMainProcess":                 signals,
		"EndedReturnsWithTheMainProcess":             ends,
		"AttachedStreamsAreTheMainProcess":           attaches,
		"ARunningContainerJoinsOneMoreNetwork":       joins,
		"AnEndedContainerBecomesAnImage":             commits,
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); test(t, lab(t)) })
	}
}

// idle is a container that waits to be stopped.
func (l Lab) idle(slug string) plan.Container {
	return plan.Container{Name: "bottle-" + slug + "-" + l.Home + "-agent-1", Service: "agent", Image: l.Image,
		Entrypoint: []string{"sleep", "600"}, Init: true, Pids: 64, Memory: 256 << 20, MilliCPUs: 1000,
		CapDrop: []string{"ALL"}, Sysctls: map[string]string{}, StopSeconds: 2,
		Labels: map[string]string{plan.LabelHome: l.Home, plan.LabelSlug: slug, plan.LabelService: "agent"}}
}

// up makes and starts a container; it goes with the test.
func (l Lab) up(t *testing.T, c plan.Container) {
	t.Helper()
	t.Cleanup(func() {
		if err := l.Engine.Remove(context.Background(), c.Name); err != nil {
			t.Error(err)
		}
	})
	if err := l.Engine.Create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := l.Engine.Start(t.Context(), c.Name); err != nil {
		t.Fatal(err)
	}
}

func labels(t *testing.T, l Lab) {
	mine, other := l.idle("suite-aaaa"), l.idle("suite-bbbb")
	other.Labels[plan.LabelHome] = l.Home + "-other"
	l.up(t, mine)
	l.up(t, other)
	list, err := l.Engine.List(t.Context(), l.Home)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0].Name != mine.Name || list[0].Slug != "suite-aaaa" || list[0].Service != "agent" || !list[0].Running() {
		t.Errorf("listed %+v", list)
	}
	if err := l.Engine.Stop(t.Context(), mine.Name); err != nil {
		t.Fatal(err)
	}
	if list, _ = l.Engine.List(t.Context(), l.Home); len(list) != 1 || list[0].Running() {
		t.Errorf("after the stop: %+v", list)
	}
}

func execs(t *testing.T, l Lab) {
	c := l.idle("suite-cccc")
	l.up(t, c)
	in := strings.Repeat("0123456789abcdef", 64<<10)
	var out, errOut bytes.Buffer
	code, err := l.Engine.Exec(t.Context(), c.Name, engine.Exec{Cmd: []string{"sh", "-c", "cat; echo $WORD >&2; exit 7"},
		Env: []string{"WORD=said"}, Stdin: strings.NewReader(in), Stdout: &out, Stderr: &errOut})
	if err != nil || code != 7 || out.String() != in || errOut.String() != "said\n" {
		t.Errorf("code %d, %d bytes of %d back, stderr %q, %v", code, out.Len(), len(in), errOut.String(), err)
	}
	if _, err := l.Engine.Exec(t.Context(), c.Name+"-none", engine.Exec{Cmd: []string{"true"}}); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("in a container that is not there: %v", err)
	}
}

// forever is a reader that never ends.
type forever struct{ done <-chan struct{} }

func (f forever) Read([]byte) (int, error) { <-f.done; return 0, context.Canceled }

func execCancel(t *testing.T, l Lab) {
	c := l.idle("suite-dddd")
	l.up(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	said := make(chan struct{}, 1)
	ended := make(chan error, 1)
	go func() {
		_, err := l.Engine.Exec(ctx, c.Name, engine.Exec{Cmd: []string{"sh", "-c", "echo up; cat >/dev/null"},
			Stdin: forever{ctx.Done()}, Stdout: signal(said)})
		ended <- err
	}()
	<-said
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

// signal tells a channel of the first write.
type signal chan struct{}

func (s signal) Write(p []byte) (int, error) {
	select {
	case s <- struct{}{}:
	default:
	}
	return len(p), nil
}

func networks(t *testing.T, l Lab) {
	first := plan.Network{Name: "bottle-suite-one-" + l.Home, Subnet: l.Free[0], Internal: true,
		Labels: map[string]string{plan.LabelHome: l.Home}}
	second := first
	second.Name = "bottle-suite-two-" + l.Home
	third := second
	third.Subnet = l.Free[1]
	for _, n := range []plan.Network{first, second} {
		t.Cleanup(func() { l.Engine.RemoveNetwork(context.Background(), n.Name) })
	}
	if err := l.Engine.CreateNetwork(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if err := l.Engine.CreateNetwork(t.Context(), second); !errors.Is(err, engine.ErrSubnetTaken) {
		t.Errorf("a taken subnet: %v", err)
	}
	if err := l.Engine.CreateNetwork(t.Context(), third); err != nil {
		t.Error(err)
	}
	list, err := l.Engine.Networks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(n engine.Network) bool { return n.Name == first.Name })
	if i < 0 || len(list[i].Subnets) != 1 || list[i].Subnets[0] != l.Free[0] || list[i].Labels[plan.LabelHome] != l.Home {
		t.Errorf("listed %+v", list)
	}
	c := l.idle("suite-eeee")
	c.Endpoints = []plan.Endpoint{{Network: first.Name, IP: plan.Address(l.Free[0], 3)}, {Network: third.Name}}
	l.up(t, c)
	containers, _ := l.Engine.List(t.Context(), l.Home)
	if len(containers) != 1 || !slices.Contains(containers[0].IPs, plan.Address(l.Free[0], 3)) || len(containers[0].IPs) != 2 {
		t.Errorf("the container's addresses: %+v", containers)
	}
	if err := l.Engine.RemoveNetwork(t.Context(), first.Name); !errors.Is(err, engine.ErrConflict) {
		t.Errorf("removing a network in use: %v", err)
	}
}

func removes(t *testing.T, l Lab) {
	for what, err := range map[string]error{
		"container": l.Engine.Remove(t.Context(), "bottle-none-agent-1"),
		"network":   l.Engine.RemoveNetwork(t.Context(), "bottle-none_inner"),
		"volume":    l.Engine.RemoveVolume(t.Context(), "bottle-none_work"),
		"stop":      l.Engine.Stop(t.Context(), "bottle-none-agent-1"),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	v := plan.Volume{Name: "bottle-suite_" + l.Home, Labels: map[string]string{plan.LabelHome: l.Home, plan.LabelSlug: "suite"}}
	if err := l.Engine.CreateVolume(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	if list, err := l.Engine.Volumes(t.Context(), l.Home); err != nil || len(list) != 1 || list[0] != (engine.Volume{Name: v.Name, Slug: "suite"}) {
		t.Errorf("volumes: %+v, %v", list, err)
	}
	other := plan.Volume{Name: v.Name, Labels: map[string]string{plan.LabelHome: l.Home + "-other", plan.LabelSlug: "suite"}}
	if err := l.Engine.CreateVolume(t.Context(), other); !errors.Is(err, engine.ErrConflict) {
		t.Errorf("another home's volume is taken as made: %v", err)
	}
	if used, err := l.Engine.Usage(t.Context(), l.Home+"-other"); err != nil || len(used) > 0 {
		t.Errorf("another home uses %v, %v", used, err)
	}
	if err := l.Engine.RemoveVolume(t.Context(), v.Name); err != nil {
		t.Error(err)
	}
	if list, _ := l.Engine.Volumes(t.Context(), l.Home); len(list) != 0 {
		t.Errorf("a removed volume is listed: %+v", list)
	}
	if has, err := l.Engine.HasImage(t.Context(), "bottle-none:none"); has || err != nil {
		t.Errorf("an image that is not there: %v, %v", has, err)
	}
}

func events(t *testing.T, l Lab) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := l.Engine.Events(ctx, l.Home)
	if err != nil {
		t.Fatal(err)
	}
	c := l.idle("suite-ffff")
	l.up(t, c)
	if err := l.Engine.Stop(t.Context(), c.Name); err != nil {
		t.Fatal(err)
	}
	limit := time.After(20 * time.Second)
	for _, want := range []string{"create", "start", "die"} {
		select {
		case ev := <-stream:
			for ev.Slug == "" { // of a network, which may be anybody's
				ev = <-stream
			}
			if ev.Action != want || ev.Slug != "suite-ffff" || ev.Service != "agent" {
				t.Errorf("got %+v, want %s", ev, want)
			}
		case <-limit:
			t.Fatalf("no event %s", want)
		}
	}
	cancel()
	for range stream {
	}
}

func waits(t *testing.T, l Lab) {
	c := l.idle("suite-gggg")
	c.Entrypoint = []string{"sh", "-c", "exit 5"}
	l.up(t, c)
	if code, err := l.Engine.Wait(t.Context(), c.Name); err != nil || code != 5 {
		t.Errorf("code %d, %v", code, err)
	}
	if end, err := l.Engine.LastEnd(t.Context(), c.Name); err != nil || end != (engine.Ended{Code: 5}) {
		t.Errorf("it ended as %+v, %v", end, err)
	}
}

func attaches(t *testing.T, l Lab) {
	c := l.idle("suite-kkkk")
	c.Entrypoint, c.Stdin, c.Init = []string{"cat"}, true, false
	t.Cleanup(func() {
		if err := l.Engine.Remove(context.Background(), c.Name); err != nil {
			t.Error(err)
		}
	})
	if err := l.Engine.Create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	in := strings.Repeat("0123456789abcdef", 64<<10)
	attachesBy := func(attach func(context.Context, string, engine.Streams) (<-chan engine.End, error)) {
		t.Helper()
		var out bytes.Buffer
		ended, err := attach(t.Context(), c.Name, engine.Streams{Stdin: strings.NewReader(in), Stdout: &out})
		if err != nil {
			t.Fatal(err)
		}
		if e := <-ended; e.Err != nil || e.Code != 0 || out.String() != in {
			t.Errorf("ended with %d, %v; %d bytes of %d came back", e.Code, e.Err, out.Len(), len(in))
		}
	}
	attachesBy(l.Engine.StartAttached)
	// What ended starts again where it is, with streams as new.
	if err := l.Engine.Start(t.Context(), c.Name); err != nil {
		t.Fatal(err)
	}
	attachesBy(l.Engine.Attach)
	if _, err := l.Engine.StartAttached(t.Context(), c.Name+"-none", engine.Streams{}); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("one that is not there: %v", err)
	}
}

// network makes an internal network; it goes with the test.
func (l Lab) network(t *testing.T, name string, subnet netip.Prefix) plan.Network {
	t.Helper()
	n := plan.Network{Name: name, Key: name, Subnet: subnet, Internal: true, Labels: map[string]string{plan.LabelHome: l.Home}}
	if err := l.Engine.CreateNetwork(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Engine.RemoveNetwork(context.Background(), n.Name); err != nil {
			t.Error(err)
		}
	})
	return n
}

func joins(t *testing.T, l Lab) {
	// Cleanups run last in, first out: the container goes before its networks.
	one, two := l.network(t, "bottle-suite-one-"+l.Home, l.Free[0]), l.network(t, "bottle-suite-two-"+l.Home, l.Free[1])
	c := l.idle("suite-jjjj")
	c.Endpoints = []plan.Endpoint{{Network: one.Name}}
	c.Labels[plan.LabelNetworks] = one.Name + "," + two.Name
	l.up(t, c)
	if list, err := l.Engine.List(t.Context(), l.Home); err != nil || len(list) != 1 || !slices.Equal(list[0].Astray(), []string{two.Name}) {
		t.Errorf("in one of two networks it is listed as %+v, %v", list, err)
	}
	ip := plan.Address(two.Subnet, 5)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := l.Engine.Events(ctx, l.Home)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Engine.Connect(t.Context(), c.Name, plan.Endpoint{Network: two.Name, IP: ip}); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(20*time.Second, cancel)
	defer late.Stop()
	joined := false
	for ev := range stream {
		if joined = ev.Action == "connect"; joined {
			break
		}
	}
	if !joined {
		t.Error("nobody tells that it joined")
	}
	list, err := l.Engine.List(t.Context(), l.Home)
	if err != nil || len(list) != 1 || len(list[0].IPs) != 2 || !slices.Contains(list[0].IPs, ip) || len(list[0].Astray()) > 0 {
		t.Errorf("listed %+v, %v", list, err)
	}
	if err := l.Engine.Connect(t.Context(), c.Name, plan.Endpoint{Network: two.Name + "-none"}); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("to a network that is not there: %v", err)
	}
}

func commits(t *testing.T, l Lab) {
	tag := "bottle-suite-commit:" + l.Home
	c := l.idle("suite-llll")
	c.Entrypoint, c.Env = []string{"sh", "-c", "exit 0"}, map[string]string{"SUITE": "a=b"}
	l.up(t, c)
	if _, err := l.Engine.Wait(t.Context(), c.Name); err != nil {
		t.Fatal(err)
	}
	if err := l.Engine.Commit(t.Context(), c.Name, tag); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{"/var/run": true, "/etc/passwd": false, "/none": false} {
		if is, err := l.Engine.IsLink(t.Context(), c.Name, path); err != nil || is != want {
			t.Errorf("%s is a link: %v, %v", path, is, err)
		}
	}
	if _, err := l.Engine.IsLink(t.Context(), c.Name+"-none", "/var/run"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("a link of nothing: %v", err)
	}
	if has, err := l.Engine.HasImage(t.Context(), tag); !has || err != nil {
		t.Errorf("there is no image: %v", err)
	}
	if env, err := l.Engine.ImageEnv(t.Context(), tag); err != nil || env["SUITE"] != "a=b" {
		t.Errorf("its environment is %v, %v", env, err)
	}
	user := l.idle("suite-mmmm")
	user.Image = tag
	if err := l.Engine.Create(t.Context(), user); err != nil {
		t.Fatal(err)
	}
	if err := l.Engine.RemoveImage(t.Context(), tag); !errors.Is(err, engine.ErrConflict) {
		t.Errorf("an image in use is removed: %v", err)
	}
	for _, err := range []error{l.Engine.Remove(t.Context(), user.Name), l.Engine.RemoveImage(t.Context(), tag),
		l.Engine.RemoveImage(t.Context(), tag)} { // twice: it is no error
		if err != nil {
			t.Error(err)
		}
	}
	if has, err := l.Engine.HasImage(t.Context(), tag); has || err != nil {
		t.Errorf("a removed image is there: %v", err)
	}
	if _, err := l.Engine.ImageEnv(t.Context(), tag); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("the environment of no image: %v", err)
	}
	if err := l.Engine.Commit(t.Context(), c.Name+"-none", tag); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("an image of nothing: %v", err)
	}
}

func signals(t *testing.T, lab Lab) {
	c := lab.idle("signal")
	if err := lab.Engine.Signal(t.Context(), c.Name, "HUP"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("one that is not there: %v", err)
	}
	lab.up(t, c)
	if err := lab.Engine.Signal(t.Context(), c.Name, "HUP"); err != nil {
		t.Fatal(err)
	}
	if code, err := lab.Engine.Wait(t.Context(), c.Name); err != nil || code != 129 {
		t.Errorf("it ended with %d, %v", code, err)
	}
	if err := lab.Engine.Signal(t.Context(), c.Name, "HUP"); !errors.Is(err, engine.ErrConflict) {
		t.Errorf("one that has ended: %v", err)
	}
}

func ends(t *testing.T, l Lab) {
	c := l.idle("suite-eeee")
	l.up(t, c)
	watch := func(ctx context.Context) <-chan error {
		ended := make(chan error, 1)
		go func() { ended <- l.Engine.Ended(ctx, c.Name) }()
		return ended
	}
	ctx, cancel := context.WithCancel(t.Context())
	left, ended := watch(ctx), watch(t.Context())
	select {
	case err := <-ended:
		t.Fatalf("it tells of the end of one that runs: %v", err)
	case <-time.After(200 * time.Millisecond): // long enough for a wrong answer
	}
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v, not with its context", err)
	}
	if err := l.Engine.Stop(t.Context(), c.Name); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("it does not tell of the end")
	}
}
