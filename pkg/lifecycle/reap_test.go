package lifecycle

import (
	"context"
	"errors"
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
	"bottle/pkg/workspace"
)

// leave makes what a program left that was killed: a volume, and a state
// directory where b says so.
func (l *lab) leave(t *testing.T, b bottle.Bottle, withState bool) *state.Lock {
	t.Helper()
	v := plan.Volume{Name: plan.VolumeName(b.Slug, plan.WorkVolume), Labels: map[string]string{plan.LabelHome: l.Home.ID, plan.LabelSlug: b.Slug}}
	if err := l.fake.CreateVolume(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	if !withState {
		return nil
	}
	lock, err := l.Home.Create(b)
	if err != nil {
		t.Fatal(err)
	}
	return lock
}

func yes([]Orphan) error { return nil }

func TestTheReaperTakesWhatNothingOwnsAndNothingElse(t *testing.T) {
	l := newLab(t)
	dead := func(slug string) bottle.Bottle {
		return bottle.Bottle{Slug: slug, Status: bottle.Starting, Engine: "fake"}
	}
	ran, elsewhere := dead("ran"), dead("elsewhere")
	ran.Ran, elsewhere.Engine = true, "another"
	l.leave(t, dead("dead"), true).Unlock()
	l.leave(t, dead("stateless"), false)
	l.leave(t, ran, true).Unlock()
	l.leave(t, elsewhere, true).Unlock()
	defer l.leave(t, dead("busy"), true).Unlock()
	l.leave(t, dead("kept"), true).Unlock()
	l.leave(t, dead("broken"), true).Unlock()
	foreign := plan.Volume{Name: "foreign", Labels: map[string]string{plan.LabelHome: "another-home", plan.LabelSlug: "stateless"}}
	if err := errors.Join(os.WriteFile(filepath.Join(l.Home.StateDir("kept"), state.PreserveFile), nil, 0o600),
		os.WriteFile(filepath.Join(l.Home.StateDir("broken"), state.MetadataFile), []byte("{half"), 0o600),
		l.fake.CreateVolume(t.Context(), foreign)); err != nil {
		t.Fatal(err)
	}
	removed, err := l.Reap(t.Context(), yes)
	if err != nil {
		t.Fatal(err)
	}
	want := []Orphan{{"state", "dead", "dead", deadStart}, {"volume", "bottle-dead_work", "dead", deadStart}, {"volume", "bottle-stateless_work", "stateless", noState}}
	if !slices.Equal(removed, want) {
		t.Errorf("removed %v", removed)
	}
	left := []string{"volume bottle-broken_work", "volume bottle-busy_work", "volume bottle-elsewhere_work", "volume bottle-kept_work", "volume bottle-ran_work", "volume foreign"}
	if got := l.fake.Left(); !slices.Equal(got, left) {
		t.Errorf("the engine still holds %q", got)
	}
	if slugs, _ := l.Home.Slugs(); !slices.Equal(slugs, []string{"broken", "busy", "elsewhere", "kept", "ran"}) {
		t.Errorf("state is left of %q", slugs)
	}
	if _, err := os.Stat(filepath.Join(l.Home.HistoryDir("dead"), state.MetadataFile)); err != nil {
		t.Errorf("a bring-up that died leaves no history: %v", err)
	}
}

func TestTheReaperTakesWhatComesLateAndAsksOnce(t *testing.T) {
	l := newLab(t)
	l.leave(t, bottle.Bottle{Slug: "first"}, false)
	l.fake.Fail = func(call, name string) error {
		if call == "RemoveVolume" && name == "bottle-first_work" {
			l.leave(t, bottle.Bottle{Slug: "late"}, false)
		}
		return nil
	}
	asked := 0
	removed, err := l.Reap(t.Context(), func([]Orphan) error { asked++; return nil })
	if err != nil || asked != 1 || len(removed) != 2 || len(l.fake.Left()) != 0 {
		t.Errorf("asked %d times, removed %v, left %q, %v", asked, removed, l.fake.Left(), err)
	}
}

func TestAnAnswerOfNoRemovesNothing(t *testing.T) {
	l := newLab(t)
	l.leave(t, bottle.Bottle{Slug: "stateless"}, false)
	no := errors.New("no")
	if _, err := l.Reap(t.Context(), func([]Orphan) error { return no }); !errors.Is(err, no) || len(l.fake.Left()) != 1 {
		t.Errorf("left %q, %v", l.fake.Left(), err)
	}
}

func TestWhatCannotBeRemovedIsAnErrorNotALoop(t *testing.T) {
	l := newLab(t)
	l.leave(t, bottle.Bottle{Slug: "stuck"}, false)
	l.fake.Fail = func(call, _ string) error {
		if call == "RemoveVolume" {
			return errors.New("volume is in use")
		}
		return nil
	}
	if _, err := l.Reap(t.Context(), yes); err == nil || !strings.Contains(err.Error(), "volume is in use") {
		t.Errorf("ended with %v", err)
	}
}

func TestTheUplinkOfNoBottleIsAnOrphan(t *testing.T) {
	l := newLab(t)
	b := l.bottle(t)
	if list, err := l.Orphans(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("with a bottle up there are %v, %v", list, err)
	}
	if err := os.RemoveAll(b.StateDir); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Reap(t.Context(), yes); err != nil {
		t.Fatal(err)
	}
	if left := l.fake.Left(); len(left) > 0 {
		t.Errorf("the engine still holds %q", left)
	}
}

// Engine 20.10 may count an endpoint that is gone, until it is started again.
func TestAnUplinkThatTheEngineHoldsForInUseIsToldWithTheRemedy(t *testing.T) {
	l := newLab(t)
	b, err := l.Up(t.Context(), l.spec, nil)
	if err == nil {
		err = os.RemoveAll(b.StateDir)
	}
	if err != nil {
		t.Fatal(err)
	}
	uplink := plan.UplinkName(l.Home.ID)
	l.fake.Fail = func(call, name string) error {
		if call == "RemoveNetwork" && name == uplink {
			return engine.ErrConflict
		}
		return nil
	}
	if _, err := l.Reap(t.Context(), yes); err == nil || !strings.Contains(err.Error(), uplink) || !strings.Contains(err.Error(), "restart the engine") {
		t.Errorf("ended with %v", err)
	}
	if left := l.fake.Left(); !slices.Equal(left, []string{"network " + uplink}) {
		t.Errorf("the engine still holds %q", left)
	}
}

func TestABottleOfAnotherEngineIsNotJudgedNorStopped(t *testing.T) {
	l := newLab(t)
	b := l.bottle(t)
	away := &Manager{Home: l.Home, Engine: &otherEngine{enginetest.NewFake()}, Libexec: l.Libexec}
	list, err := List(t.Context(), l.Home, away.Engine)
	if err != nil || len(list) != 1 || list[0].Status != "?" || !strings.Contains(list[0].Reason, "another engine") {
		t.Errorf("listed as %+v, %v", list, err)
	}
	if _, err := away.Down(t.Context(), b.Slug, DownOptions{Discard: true}, nil); !errors.Is(err, ErrElsewhere) {
		t.Errorf("its stop ended with %v", err)
	}
	if _, err := away.Reap(t.Context(), yes); err != nil {
		t.Error(err)
	}
	if got, err := l.Home.Bottle(b.Slug); err != nil || got.Status != bottle.Running {
		t.Errorf("its state is %+v, %v", got, err)
	}
}

// otherEngine is an engine with an id of its own.
type otherEngine struct{ *enginetest.Fake }

func (o *otherEngine) Host(ctx context.Context) (engine.Host, error) {
	h, err := o.Fake.Host(ctx)
	h.ID = "another"
	return h, err
}

func TestAStopThatWasKilledLosesNoCapturedWork(t *testing.T) {
	l := newLab(t)
	b := l.bottle(t)
	bundle := filepath.Join(b.StateDir, state.WorkBundle)
	if err := os.WriteFile(bundle, []byte("captured"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{plan.ContainerName(b.Slug, "agent"), plan.ContainerName(b.Slug, "egress")} {
		l.fake.Remove(t.Context(), name)
	}
	l.fake.RemoveVolume(t.Context(), plan.VolumeName(b.Slug, plan.WorkVolume)) // killed after this one
	took, err := l.Down(t.Context(), b.Slug, DownOptions{}, nil)
	if err != nil || took.Bundle == "" {
		t.Fatalf("took %+v, %v", took, err)
	}
	if data, err := os.ReadFile(took.Bundle); err != nil || string(data) != "captured" {
		t.Errorf("the work is %q, %v", data, err)
	}
	if left := l.fake.Left(); len(left) > 0 {
		t.Errorf("the engine still holds %q", left)
	}
}

func TestAStateDirectoryRemovedByHandLosesNoWork(t *testing.T) {
	l := newLab(t)
	b := l.bottle(t)
	if err := os.RemoveAll(b.StateDir); err != nil {
		t.Fatal(err)
	}
	work := t.TempDir()
	if err := os.WriteFile(filepath.Join(work, "left"), []byte("work"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.play = func(x engine.Exec) (int, error) {
		return 0, workspace.Capture(t.Context(), work, x.Stdout, workspace.Limits{})
	}
	took, err := l.Down(t.Context(), b.Slug, DownOptions{}, nil)
	if err != nil || took.Bundle == "" {
		t.Errorf("took %+v, %v", took, err)
	}
	if left := l.fake.Left(); len(left) > 0 {
		t.Errorf("the engine still holds %q", left)
	}
}

// The engine makes no error of a volume that is there: a start under that name
// would take it for its own, and its failure would take it down.
func TestANameWhoseWorkTheEngineStillHoldsIsNotTaken(t *testing.T) {
	l := newLab(t)
	l.leave(t, bottle.Bottle{Slug: "web"}, false)
	l.spec.Slug = "web"
	if _, err := l.Up(t.Context(), l.spec, nil); !errors.Is(err, ErrRemains) {
		t.Errorf("the start ended with %v", err)
	}
	if left := l.fake.Left(); !slices.Equal(left, []string{"volume bottle-web_work"}) {
		t.Errorf("the engine holds %q", left)
	}
	if slugs, _ := l.Home.Slugs(); len(slugs) > 0 {
		t.Errorf("state is left of %q", slugs)
	}
}

// between is an engine that does something between two looks at its volumes.
type between struct {
	engine.Engine
	do func()
}

func (b *between) Volumes(ctx context.Context, home string) ([]engine.Volume, error) {
	list, err := b.Engine.Volumes(ctx, home)
	if b.do != nil {
		b.do()
		b.do = nil
	}
	return list, err
}

func TestWhatAStopRemovesMeanwhileIsNoOrphan(t *testing.T) {
	l := newLab(t)
	b := l.bottle(t)
	stops := &Manager{Home: l.Home, Engine: l.fake, Libexec: l.Libexec}
	l.Engine = &between{l.fake, func() {
		if _, err := stops.Down(t.Context(), b.Slug, DownOptions{}, nil); err != nil {
			t.Error(err)
		}
	}}
	list, err := l.Orphans(t.Context())
	if err != nil || len(list) > 0 {
		t.Errorf("orphans %v, %v", list, err)
	}
}

func TestWhatAKilledReaperLeftIsCapturedByAStop(t *testing.T) {
	l := newLab(t)
	l.leave(t, bottle.Bottle{Slug: "web", Status: bottle.Starting, Reason: noState}, true).Unlock()
	l.fake.Create(t.Context(), plan.Container{Name: "bottle-web-egress-1", Service: "egress",
		Labels: map[string]string{plan.LabelHome: l.Home.ID, plan.LabelSlug: "web"}})
	list, err := List(t.Context(), l.Home, l.fake)
	if err != nil || len(list) != 1 || !strings.Contains(list[0].Reason, "bottle-stop keeps its work") {
		t.Errorf("listed as %+v, %v", list, err)
	}
	l.fake.Fail = func(call, name string) error {
		if call == "Create" && strings.Contains(name, plan.CaptureService) {
			return errors.New("no room")
		}
		return nil
	}
	if err := l.fake.Build(t.Context(), toolsImage().Tag, strings.NewReader(""), engine.BuildWay{}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Down(t.Context(), "web", DownOptions{}, nil); !errors.Is(err, ErrCapture) || !strings.Contains(err.Error(), "no room") {
		t.Errorf("its stop ended with %v", err)
	}
	if left := l.fake.Left(); !slices.Contains(left, "volume bottle-web_work") {
		t.Errorf("the engine holds %q", left)
	}
}

func TestABottleWhoseImageIsGoneIsCapturedAllTheSame(t *testing.T) {
	l := newLab(t)
	b := l.bottle(t)
	p, err := l.loadPlan(b.Slug)
	if err != nil {
		t.Fatal(err)
	}
	p.Find(plan.AgentService).Image = "removed:meanwhile"
	if err := l.savePlan(p); err != nil {
		t.Fatal(err)
	}
	work := t.TempDir()
	if err := os.WriteFile(filepath.Join(work, "left"), []byte("work"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.play = func(x engine.Exec) (int, error) {
		return 0, workspace.Capture(t.Context(), work, x.Stdout, workspace.Limits{})
	}
	if took, err := l.Down(t.Context(), b.Slug, DownOptions{}, nil); err != nil || took.Bundle == "" {
		t.Errorf("took %+v, %v", took, err)
	}
}
