package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/plan"
	"bottle/pkg/state"
)

// tearDown is one teardown under way, its bottle's lock held.
type tearDown struct {
	*Manager
	options DownOptions
	bottle  bottle.Bottle
	left    remains
	engine  string // its ID
	log     *journal
	took    Took
}

func (t *tearDown) run(ctx context.Context) error {
	if err := t.Home.SweepBottle(t.took.Slug); err != nil {
		return err
	}
	t.log.step("stopping the agent")
	if t.options.Keep {
		if err := t.stop(ctx); err != nil {
			return err
		}
		t.took.Notes = t.planted(ctx, t.bottle)
		return t.keep()
	}
	if err := t.stopAndCapture(ctx); err != nil {
		return err
	}
	t.left.stopped = true
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), demolishTime)
	defer cancel()
	return t.demolish(ctx)
}

// Bounds of what goes on after an interrupt. A workspace of a hundred gigabytes
// takes its time to be removed; an engine that does not answer any more takes
// for ever.
const (
	demolishTime = 15 * time.Minute
	clearTime    = 2 * time.Minute
)

// stop stops the agent, whose end may need its sidecars, and then these.
func (t *tearDown) stop(ctx context.Context) error {
	agent := plan.ContainerName(t.took.Slug, plan.AgentService)
	if err := t.Engine.Stop(ctx, agent); err != nil {
		return err
	}
	return t.stopOthers(ctx)
}

// stopOthers leaves a capture of an earlier try alone, which has no network: a new one
// by its name may be at work by now.
func (t *tearDown) stopOthers(ctx context.Context) error {
	agent, earlier := plan.ContainerName(t.took.Slug, plan.AgentService), plan.ContainerName(t.took.Slug, plan.CaptureService)
	var steps []func(context.Context) error
	for _, name := range t.left.containers {
		if name != agent && name != earlier {
			steps = append(steps, func(ctx context.Context) error { return t.Engine.Stop(ctx, name) })
		}
	}
	return all(ctx, steps)
}

// stopAgent stops the agent's container and closes ended as soon as its process
// has ended: whom it needed may end while the engine still clears up behind it.
func (t *tearDown) stopAgent(ctx context.Context, ended chan<- struct{}) error {
	agent := plan.ContainerName(t.took.Slug, plan.AgentService)
	watching, cancel := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if t.Engine.Ended(watching, agent) == nil {
			close(ended)
			ended = nil
		}
	}()
	err := t.Engine.Stop(ctx, agent)
	cancel()
	if <-watched; ended != nil {
		close(ended)
	}
	return err
}

// stopAndCapture stops the bottle and captures its work. The container of the
// capture is made while the agent ends, and reads when it has ended. Where the
// capture fails the bottle is kept.
func (t *tearDown) stopAndCapture(ctx context.Context) error {
	if !t.mayHoldWork() {
		return t.stop(ctx)
	}
	c := &capture{Manager: t.Manager, slug: t.took.Slug, log: t.log, talks: t.talks()}
	c.start, c.diffs = begun(t.bottle)
	agent, others, ended := make(chan error, 1), make(chan error, 1), make(chan struct{})
	go func() { agent <- t.stopAgent(ctx, ended) }()
	go func() {
		<-ended
		others <- t.stopOthers(ctx)
	}()
	failed := errors.Join(c.prepare(ctx), <-agent)
	if failed == nil {
		failed = c.read(ctx)
	}
	t.took.Notes = c.notes
	if failed = errors.Join(failed, <-others); failed == nil {
		t.left = c.join(t.left)
		return nil
	}
	t.log.step("the capture failed: %v", failed)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), clearTime)
	defer cancel()
	if err := errors.Join(c.remove(ctx), t.keep()); err != nil {
		failed = errors.Join(failed, err)
	}
	return fmt.Errorf("%w: %w", ErrCapture, failed)
}

// mayHoldWork says whether there is something to capture: a workspace in which
// an agent may have worked. Without the volume there is not, and what an earlier
// teardown captured stays.
func (t *tearDown) mayHoldWork() bool {
	if t.options.Discard || !slices.Contains(t.left.volumes, plan.VolumeName(t.took.Slug, plan.WorkVolume)) {
		return false
	}
	if t.bottle.Workspace == WorkspaceMount && t.bottle.Start == "" {
		t.log.step("its work is in %s: there is no repository to capture", t.bottle.Folder)
		return false
	}
	if neverRan(t.bottle) && t.bottle.Reason != noState { // a reaper that died does not know whether it ran
		t.log.step("its agent never ran: there is no work to capture")
		return false
	}
	return true
}

// keep leaves a stopped bottle as it is, out of every reaper's reach.
func (t *tearDown) keep() error {
	t.took.Kept = true
	if err := t.preserve(t.bottle.Slug); err != nil {
		return err
	}
	t.log.step("kept %s", t.bottle.Slug)
	if t.bottle.Status == "?" {
		return nil // what cannot be read is not written over
	}
	t.bottle.Status = bottle.Stopped
	return t.Home.Save(t.bottle)
}

// demolish removes what the engine holds and moves what is worth it into the
// history. The bottle is known until all of that is done.
func (t *tearDown) demolish(ctx context.Context) error {
	slug := t.took.Slug
	if err := all(ctx, []func(context.Context) error{t.recordEnd, t.keepLogs}); err != nil {
		return err
	}
	t.log.step("removing containers, networks and volumes")
	if err := errors.Join(t.remove(ctx, t.left), t.dropRebuilt(ctx)); err != nil {
		return fmt.Errorf("cannot take %s down whole; run bottle-stop %s again: %w", slug, slug, err)
	}
	t.took.Notes = append(t.took.Notes, t.unshare(ctx, t.bottle, t.log)...)
	pushed := t.pushed(slug)
	if err := t.Home.Retire(slug, t.historyFiles(slug)); err != nil {
		return err
	}
	t.took.History = t.Home.HistoryDir(slug)
	if bundle := filepath.Join(t.took.History, state.WorkBundle); exists(bundle) {
		t.took.Bundle = bundle
	}
	if diff := filepath.Join(t.took.History, state.WorkDiff); exists(diff) {
		t.took.Diff = diff
	}
	for _, p := range pushed {
		t.took.Pushed = append(t.took.Pushed, Pushed{Remote: p.Remote, Bundle: filepath.Join(t.took.History, state.PushedBundle(p.Remote))})
	}
	return t.dropUplink(ctx, t.engine)
}

// keepLogs saves the containers' logs as far as they can be had: no bottle stays
// for them.
func (t *tearDown) keepLogs(ctx context.Context) error {
	if err := t.saveLogs(ctx, t.took.Slug, t.left.containers, t.log); err != nil {
		t.log.step("the containers' logs are incomplete: %v", err)
	}
	return nil
}

// dropRebuilt removes the image that was made for this bottle alone.
func (t *tearDown) dropRebuilt(ctx context.Context) error {
	p, err := t.loadPlan(t.took.Slug)
	if err != nil {
		return nil // without a plan nobody knows of one
	}
	image := p.Find(plan.AgentService).Image
	if !plan.IsRebuilt(t.took.Slug, image) {
		return nil
	}
	return t.Engine.RemoveImage(ctx, image)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// historyFiles are what a teardown leaves besides the metadata.
func (m *Manager) historyFiles(slug string) []state.Keep {
	files := slices.Clone(keptFiles)
	for _, p := range m.pushed(slug) {
		files = append(files, state.Keep{From: filepath.Join(plan.GateService, "out", filepath.Base(p.Bundle)), To: state.PushedBundle(p.Remote)})
	}
	for _, service := range []string{plan.EgressService, plan.SuperviseService, plan.GateService} {
		for _, name := range []string{"events.jsonl.1", "events.jsonl"} {
			files = append(files, state.Keep{From: filepath.Join(service, "out", name), To: service + "-" + name})
		}
	}
	return files
}

var keptFiles = []state.Keep{
	{From: state.BringupLog, To: state.BringupLog},
	{From: state.TeardownLog, To: state.TeardownLog},
	{From: state.ComposeLog, To: state.ComposeLog},
	{From: state.WorkBundle, To: state.WorkBundle},
	{From: state.WorkDiff, To: state.WorkDiff},
	{From: state.Conversation, To: state.Conversation},
	{From: state.Transcript, To: state.Transcript},
}
