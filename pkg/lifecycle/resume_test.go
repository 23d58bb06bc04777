package lifecycle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bottle/pkg/bottle"
	"bottle/pkg/engine"
	"bottle/pkg/frame"
	"bottle/pkg/plan"
	"bottle/pkg/probe"
)

// again resumes the lab's bottle as the programs do.
func (l *lab) again(slug string) (bottle.Bottle, error) {
	return l.Resume(context.Background(), Again{Slug: slug, Env: map[string]string{"KEY": "another-value"},
		Spec: func(context.Context) (Spec, error) { return l.spec, nil }}, nil)
}

// started has the lab note the start that bottle-inside is told of, and answers
// for what runs beside it.
func (l *lab) started(t *testing.T) *frame.Start {
	t.Helper()
	var last frame.Start
	l.play = func(x engine.Exec) (int, error) {
		if x.Stdin == nil || x.Cmd[1] == "capture" {
			return answer(x, "")
		}
		asked, played := json.NewDecoder(x.Stdin), json.NewEncoder(x.Stdout)
		for {
			var ask frame.Ask
			if asked.Decode(&ask) != nil {
				return 0, nil
			}
			tellRows(ask.Rows, played)
			if ask.Start != nil {
				last = *ask.Start
			}
			if played.Encode(frame.Answer{Done: true}) != nil || ask.Start != nil {
				return 0, nil
			}
		}
	}
	l.fake.OnExec = func(_ string, x engine.Exec) (int, error) {
		switch x.Cmd[len(x.Cmd)-1] {
		case "probe":
			io.Copy(io.Discard, x.Stdin)
			tellRows(nil, json.NewEncoder(x.Stdout))
		case "start":
			return frame.ExitConflict, nil
		}
		return 0, nil
	}
	return &last
}

func tellRows(ids []string, out *json.Encoder) {
	for _, row := range probe.SelfTestRows() {
		if ids == nil || slices.Contains(ids, row.ID) {
			out.Encode(probe.Result{ID: row.ID, Title: row.Title, By: row.By, OK: true})
		}
	}
}

// What becomes of a bottle, and what a resume then makes anew and what not.
func TestAResumeStartsWhatIsThereAndMakesWhatIsGone(t *testing.T) {
	agent, egress := func(slug string) string { return plan.ContainerName(slug, plan.AgentService) }, func(slug string) string { return plan.ContainerName(slug, plan.EgressService) }
	inner := func(slug string) string { return plan.Project(slug) + "_inner" }
	for name, c := range map[string]struct {
		harm  func(l *lab, slug string)
		calls []string // of those that make or start something, with SLUG for the slug
		lives bool     // the agent went on
	}{
		"stopped": {func(l *lab, slug string) {
			l.fake.Stop(t.Context(), agent(slug))
			l.fake.Stop(t.Context(), egress(slug))
		}, []string{"Start agent", "Start egress"}, false},
		"lost": {func(l *lab, slug string) {
			l.fake.Remove(t.Context(), agent(slug))
			l.fake.Remove(t.Context(), egress(slug))
			l.fake.RemoveNetwork(t.Context(), inner(slug))
			l.fake.RemoveNetwork(t.Context(), plan.UplinkName(l.Home.ID))
		}, []string{"Create agent", "Create egress", "CreateNetwork inner", "CreateNetwork uplink", "Start agent", "Start egress"}, false},
		"its network gone while it stood": {func(l *lab, slug string) {
			l.fake.Stop(t.Context(), agent(slug))
			l.fake.Stop(t.Context(), egress(slug))
			l.fake.RemoveNetwork(t.Context(), inner(slug))
		}, []string{"Create agent", "Create egress", "CreateNetwork inner", "Start agent", "Start egress"}, false},
		"a sidecar died":    {func(l *lab, slug string) { l.fake.Stop(t.Context(), egress(slug)) }, []string{"Start egress"}, true},
		"a sidecar is gone": {func(l *lab, slug string) { l.fake.Remove(t.Context(), egress(slug)) }, []string{"Create egress", "Start egress"}, true},
		"taken out of the uplink": {func(l *lab, slug string) {
			l.fake.Disconnect(egress(slug), plan.UplinkName(l.Home.ID))
			l.fake.RemoveNetwork(t.Context(), plan.UplinkName(l.Home.ID))
		}, []string{"Connect egress", "CreateNetwork uplink"}, true},
		"taken out of its own network": {func(l *lab, slug string) {
			l.fake.Disconnect(egress(slug), inner(slug))
			l.fake.Disconnect(agent(slug), inner(slug))
			l.fake.RemoveNetwork(t.Context(), inner(slug))
		}, []string{"Connect egress", "Create agent", "CreateNetwork inner", "Start agent"}, false},
		"nothing": {func(*lab, string) {}, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			last := l.started(t)
			b, err := l.Up(t.Context(), l.spec, nil)
			if err != nil {
				t.Fatal(err)
			}
			before := last.Argv
			*last = frame.Start{}
			facts := filepath.Join(b.StateDir, "egress/in/host.json")
			if err := os.WriteFile(facts, []byte("of before the reboot"), 0o600); err != nil {
				t.Fatal(err)
			}
			c.harm(l, b.Slug)
			if list, _ := List(t.Context(), l.Home, l.fake); len(list) != 1 || (list[0].Status == bottle.Running) != (c.calls == nil) {
				t.Errorf("listed as %+v", list)
			}
			l.fake.Calls = nil
			now, err := l.again(b.Slug)
			if err != nil || now.Status != bottle.Running || now.Slug != b.Slug {
				t.Fatalf("resumed as %+v, %v", now, err)
			}
			if list, _ := List(t.Context(), l.Home, l.fake); len(list) != 1 || list[0].Status != bottle.Running || list[0].Reason != "" {
				t.Errorf("listed as %+v", list)
			}
			if doc, err := os.ReadFile(facts); err != nil || slices.Contains(c.calls, "Start egress") == (string(doc) == "of before the reboot") {
				t.Errorf("egress is told %s, %v", doc, err)
			}
			made := madeOrStarted(l.fake.Calls, l.Home.ID, b.Slug)
			if !slices.Equal(made, c.calls) {
				t.Errorf("it made and started %q, want %q", made, c.calls)
			}
			if c.lives {
				return
			}
			if !last.Resume || last.Env["KEY"] != "another-value" || !slices.Equal(last.Argv, before) {
				t.Errorf("the session was started as %+v", last)
			}
		})
	}
}

// madeOrStarted are the calls that make, join or start something, with short names,
// sorted.
func madeOrStarted(calls []string, home, slug string) (list []string) {
	for _, call := range calls {
		verb, name, _ := strings.Cut(call, " ")
		if verb == "Stop" || verb == "Remove" || verb == "Connect" && slices.Contains(calls, "Create "+name) {
			continue
		}
		name = strings.TrimSuffix(strings.TrimPrefix(name, plan.Project(slug)+"-"), "-1")
		name = strings.TrimPrefix(name, plan.Project(slug)+"_")
		list = append(list, verb+" "+strings.TrimSuffix(strings.TrimPrefix(name, "bottle-"), "-"+home))
	}
	slices.Sort(list)
	return list
}

func TestAResumedBottleMovesWhereItsSubnetWasTaken(t *testing.T) {
	l := newLab(t)
	l.started(t)
	b := l.bottle(t)
	old, err := l.loadPlan(b.Slug)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range old.Containers {
		l.fake.Stop(t.Context(), c.Name)
	}
	l.fake.RemoveNetwork(t.Context(), old.Own().Name)
	theirs := plan.Network{Name: "theirs", Subnet: netip.PrefixFrom(old.Own().Subnet.Addr(), 27).Masked()}
	if err := l.fake.CreateNetwork(t.Context(), theirs); err != nil {
		t.Fatal(err)
	}
	if _, err := l.again(b.Slug); err != nil {
		t.Fatal(err)
	}
	now, err := l.loadPlan(b.Slug)
	if err != nil || now.Own().Subnet.Overlaps(theirs.Subnet) || now.IP(plan.EgressService) != plan.Address(now.Own().Subnet, 2) {
		t.Fatalf("%v, %v", now.Own(), err)
	}
	doc, err := json.Marshal(now)
	if err != nil || strings.Contains(string(doc), old.IP(plan.EgressService).String()+`"`) {
		t.Errorf("the plan still names %s: %s, %v", old.IP(plan.EgressService), doc, err)
	}
}

func TestABottleWithoutItsVolumesIsNotResumed(t *testing.T) {
	l := newLab(t)
	l.started(t)
	b := l.bottle(t)
	for _, c := range []string{plan.AgentService, plan.EgressService} {
		l.fake.Remove(t.Context(), plan.ContainerName(b.Slug, c))
	}
	l.fake.RemoveVolume(t.Context(), plan.VolumeName(b.Slug, plan.WorkVolume))
	l.fake.Calls = nil
	if _, err := l.again(b.Slug); !errors.Is(err, ErrWorkGone) || !strings.Contains(err.Error(), b.Slug+"_work") || len(l.fake.Calls) > 0 {
		t.Errorf("%v, and it did %q", err, l.fake.Calls)
	}
}

// A wall that does not hold ends a resume, and nothing of the bottle runs on; its
// work is there.
func TestAResumeWhoseSelfTestFailsStopsTheBottleAndKeepsIt(t *testing.T) {
	for name, alive := range map[string]bool{"a stopped one": false, "a living one": true} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.started(t)
			b, err := l.Up(t.Context(), l.spec, nil)
			if err != nil {
				t.Fatal(err)
			}
			if !alive {
				l.fake.Stop(t.Context(), plan.ContainerName(b.Slug, plan.AgentService))
			}
			l.play = func(x engine.Exec) (int, error) { return answer(x, "A1") }
			l.fake.OnExec = func(_ string, x engine.Exec) (int, error) {
				if x.Cmd[len(x.Cmd)-1] == "probe" {
					io.Copy(io.Discard, x.Stdin)
					json.NewEncoder(x.Stdout).Encode(probe.Result{ID: "A1", Detail: "it got through"})
				}
				return 0, nil
			}
			if _, err := l.again(b.Slug); !errors.Is(err, ErrSelfTest) {
				t.Errorf("%v", err)
			}
			list, err := List(t.Context(), l.Home, l.fake)
			if err != nil || len(list) != 1 || list[0].Status != bottle.Stopped || len(list[0].Services) > 0 || !strings.Contains(list[0].Reason, "could not be resumed") {
				t.Errorf("%+v, %v", list, err)
			}
			if left := l.fake.Left(); !slices.Contains(left, "volume "+plan.VolumeName(b.Slug, plan.WorkVolume)) {
				t.Errorf("the engine holds %q", left)
			}
		})
	}
}

func TestABringUpThatNeverRanIsNotResumed(t *testing.T) {
	l := newLab(t)
	lock, err := l.Home.Create(bottle.Bottle{Slug: "dev-dead", Agent: "dev", Status: bottle.Starting})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.again("dev-dead"); err == nil {
		t.Error("one at which somebody works is resumed")
	}
	lock.Unlock()
	if _, err := l.again("dev-dead"); !errors.Is(err, ErrNeverRan) {
		t.Errorf("%v", err)
	}
}

// emptied is a lab with a bottle that has lost its containers and its own network,
// and the plan of it.
func emptied(t *testing.T) (*lab, *plan.Plan) {
	t.Helper()
	l := newLab(t)
	l.started(t)
	b := l.bottle(t)
	p, err := l.loadPlan(b.Slug)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range p.Containers {
		l.fake.Remove(t.Context(), c.Name)
	}
	l.fake.RemoveNetwork(t.Context(), p.Own().Name)
	return l, p
}

// A request of a killed resume may land when the next one has looked already: the
// network that is in the way is the bottle's own, and there must not be two.
func TestAResumeTakesTheNetworkThatAKilledOneMade(t *testing.T) {
	l, p := emptied(t)
	landed := false
	l.fake.Fail = func(call, name string) error {
		if call != "CreateNetwork" || name != p.Own().Name || landed {
			return nil
		}
		landed = true
		if err := l.fake.CreateNetwork(context.Background(), p.Own()); err != nil {
			t.Error(err)
		}
		return fmt.Errorf("it overlaps: %w", engine.ErrSubnetTaken)
	}
	if _, err := l.again(p.Slug); err != nil || !landed {
		t.Fatalf("%v, landed %t", err, landed)
	}
	now, err := l.loadPlan(p.Slug)
	if err != nil || now.Own().Subnet != p.Own().Subnet {
		t.Errorf("it moved to %v, %v", now.Own().Subnet, err)
	}
}

// The same, where the network is listed only after the bottle has moved: its name is
// taken then, by one that nobody is in.
func TestAResumeRemovesTheNetworkThatAKilledOneMadeBehindIt(t *testing.T) {
	l, p := emptied(t)
	asked := 0
	l.fake.Fail = func(call, name string) error {
		if call != "CreateNetwork" || name != p.Own().Name {
			return nil
		}
		switch asked++; asked {
		case 1:
			return fmt.Errorf("it overlaps: %w", engine.ErrSubnetTaken)
		case 2:
			if err := l.fake.CreateNetwork(context.Background(), p.Own()); err != nil {
				t.Error(err)
			}
			return fmt.Errorf("its name is taken: %w", engine.ErrConflict)
		}
		return nil
	}
	if _, err := l.again(p.Slug); err != nil || asked < 3 {
		t.Fatalf("%v, asked for it %d times", err, asked)
	}
	now, err := l.loadPlan(p.Slug)
	if err != nil || now.Own().Subnet == p.Own().Subnet {
		t.Errorf("it did not move from %v, %v", p.Own().Subnet, err)
	}
	all, err := l.fake.Networks(t.Context())
	if have, there := findNetwork(all, p.Own().Name); err != nil || !there || !asPlanned(have, now.Own()) {
		t.Errorf("its network is %+v, %v", have, err)
	}
}

// An engine that goes away when all containers run, and before the session begins,
// leaves a bottle that is not listed as one that runs, however often that happens.
func TestABottleWhoseResumeFailedIsNotListedAsRunning(t *testing.T) {
	l := newLab(t)
	l.started(t)
	b := l.bottle(t)
	agent := plan.ContainerName(b.Slug, plan.AgentService)
	l.fake.Stop(t.Context(), agent)
	want := func(status bottle.Status) {
		t.Helper()
		if list, err := List(t.Context(), l.Home, l.fake); err != nil || len(list) != 1 || list[0].Status != status {
			t.Errorf("listed as %+v, %v, not as %s", list, err, status)
		}
	}
	for range 2 {
		goes := func(engine.Exec) (int, error) {
			l.fake.Fail = func(string, string) error { return engine.ErrUnreachable }
			return 0, engine.ErrUnreachable
		}
		l.play = goes
		l.fake.OnExec = func(_ string, x engine.Exec) (int, error) { return goes(x) }
		if _, err := l.again(b.Slug); !errors.Is(err, engine.ErrUnreachable) {
			t.Fatal(err)
		}
		l.fake.Fail = nil
		if err := l.fake.Start(t.Context(), agent); err != nil { // as what comes late
			t.Fatal(err)
		}
		want(bottle.Degraded)
	}
	l.started(t)
	if _, err := l.again(b.Slug); err != nil {
		t.Fatal(err)
	}
	want(bottle.Running)
}

// waited tells of every wait for a container's end.
type waited struct {
	engine.Engine
	tell func(name string)
}

func (w waited) Wait(ctx context.Context, name string) (int, error) {
	w.tell(name)
	return w.Engine.Wait(ctx, name)
}

// A resume that was killed leaves an egress that runs and does not serve yet.
func TestAResumeWaitsForASidecarThatItFindsStarting(t *testing.T) {
	l := newLab(t)
	l.started(t)
	b := l.bottle(t)
	ready := filepath.Join(b.StateDir, "egress/out", readyFile)
	if err := os.Remove(ready); err != nil {
		t.Fatal(err)
	}
	l.Manager.Engine = waited{l.fake, func(name string) {
		if name == plan.ContainerName(b.Slug, plan.EgressService) {
			os.WriteFile(ready, nil, 0o600)
		}
	}}
	probed := l.fake.OnExec
	l.fake.OnExec = func(name string, x engine.Exec) (int, error) {
		if _, err := os.Stat(ready); err != nil {
			t.Errorf("%v runs before egress serves", x.Cmd)
		}
		return probed(name, x)
	}
	if now, err := l.again(b.Slug); err != nil || now.Status != bottle.Running {
		t.Errorf("resumed as %+v, %v", now, err)
	}
}
