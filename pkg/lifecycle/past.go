package lifecycle

import (
	"context"
	"path/filepath"
	"slices"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/engine"
	"bottle/pkg/plan"
)

// All are the bottles of List, those that can be resumed marked, and then those
// that are gone, the newest first. With the engine out of reach it returns what
// the disk knows, and the error.
func (m *Manager) All(ctx context.Context) ([]bottle.Bottle, error) {
	list, failed := List(ctx, m.Home, m.Engine)
	if failed == nil {
		failed = m.markResumable(ctx, list)
	}
	past, err := m.Home.History()
	if err != nil {
		return list, err
	}
	for _, p := range past {
		b := p.Bottle
		b.Status, b.Services, b.Reason = bottle.Gone, []string{}, ""
		if b.StoppedAt.IsZero() {
			b.StoppedAt = p.Ended.UTC().Truncate(time.Second)
		}
		list = append(list, b)
	}
	return list, failed
}

// markResumable marks what a resume brings back or mends: that is what ran, does
// not run as it should, and has its volumes.
func (m *Manager) markResumable(ctx context.Context, list []bottle.Bottle) error {
	volumes, err := m.Engine.Volumes(ctx, m.Home.ID)
	if err != nil {
		return err
	}
	for i, b := range list {
		switch b.Status {
		case bottle.Stopped, bottle.Lost, bottle.Degraded:
		default:
			continue
		}
		has := func(key string) bool {
			return slices.ContainsFunc(volumes, func(v engine.Volume) bool { return v.Name == plan.VolumeName(b.Slug, key) })
		}
		planned := exists(filepath.Join(m.Home.StateDir(b.Slug), planFile))
		list[i].Resumable = b.Ran && planned && has(plan.HomeVolume) && has(plan.WorkVolume) && b.Reason != beingStopped
		if b.Status == bottle.Lost && !has(plan.WorkVolume) {
			list[i].Reason = "its containers and its volumes are gone, and its work with them; bottle-stop clears it up"
		}
	}
	return nil
}

// recordEnd notes when and how a bottle ended, before it becomes history.
func (t *tearDown) recordEnd(ctx context.Context) error {
	if t.bottle.Status == "?" {
		return nil // what cannot be read is not written over
	}
	t.bottle.StoppedAt = time.Now().UTC().Truncate(time.Second)
	agent := plan.ContainerName(t.took.Slug, plan.AgentService)
	if t.bottle.Ran && slices.Contains(t.left.containers, agent) {
		if end, err := t.Engine.LastEnd(ctx, agent); err == nil {
			t.bottle.ExitCode = &end.Code
		}
	}
	return t.Home.Save(t.bottle)
}

// prune keeps the history within its bounds. That it cannot is nobody's failure
// but its own: the next one tries again.
func (m *Manager) prune(say Say) {
	slugs, err := m.Home.Prune(time.Now())
	if err != nil {
		say("the history is not pruned whole: " + err.Error())
	}
	for _, slug := range slugs {
		say("pruned the history of " + slug)
	}
}
