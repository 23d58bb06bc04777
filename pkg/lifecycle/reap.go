package lifecycle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/engine"
	"bottle/pkg/plan"
	"bottle/pkg/state"
)

// Orphan is something of this home that nothing owns any more.
type Orphan struct {
	Kind   string `json:"kind"` // container, network, volume or state
	Name   string `json:"name"`
	Slug   string `json:"slug,omitempty"` // empty: the network that all bottles share
	Reason string `json:"reason"`
}

// Why something is an orphan.
const (
	deadStart = "its bottle-start died before the agent ran"
	noState   = "it has no state directory"
	noBottle  = "no bottle is left that uses it"
)

// settled is how long the reaper waits before it looks again: what a killed
// program asked of the engine may still be under way, and no event tells when it
// is not.
const settled = 400 * time.Millisecond

// maxReaps bounds how often the reaper takes what came late.
const maxReaps = 10

// Orphans lists what nothing owns: bring-ups that died before their agent ran,
// and what carries this home's label and has no state directory. Another home's
// things, another engine's bottles, what a program is at work on, and whatever
// ever ran and has its state are not judged.
func (m *Manager) Orphans(ctx context.Context) ([]Orphan, error) {
	host, err := m.Host(ctx)
	if err != nil {
		return nil, err
	}
	// The engine first: a bottle that is made meanwhile is not in this listing,
	// and one that is on it had its state directory before.
	held, err := m.holdings(ctx)
	if err != nil {
		return nil, err
	}
	recorded, err := records(m.Home)
	if err != nil {
		return nil, err
	}
	var list []Orphan
	used := false // the shared network
	for slug, b := range recorded {
		used = used || !elsewhere(b, host.ID)
		if m.abandoned(b, host.ID) {
			list = append(list, Orphan{"state", slug, slug, deadStart})
		}
	}
	for _, o := range held {
		b, known := recorded[o.Slug]
		switch {
		case o.Name == plan.UplinkName(m.Home.ID) && !used:
			o.Reason = noBottle
		case o.Slug == "": // not ours, whatever label it carries
			continue
		case !known:
			o.Reason = noState
		case m.abandoned(b, host.ID):
			o.Reason = deadStart
		default:
			continue
		}
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b Orphan) int {
		return cmp.Or(cmp.Compare(a.Slug, b.Slug), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return m.stillThere(ctx, list)
}

// stillThere leaves out what a stop removed, with its state directory, between
// the two looks: it is no orphan.
func (m *Manager) stillThere(ctx context.Context, list []Orphan) ([]Orphan, error) {
	ownerless := func(o Orphan) bool { return o.Reason != deadStart }
	if !slices.ContainsFunc(list, ownerless) {
		return list, nil
	}
	held, err := m.holdings(ctx)
	return slices.DeleteFunc(list, func(o Orphan) bool {
		return ownerless(o) && !slices.Contains(held, Orphan{Kind: o.Kind, Name: o.Name, Slug: o.Slug})
	}), err
}

// abandoned says whether b is a bring-up whose maker is dead.
func (m *Manager) abandoned(b bottle.Bottle, id string) bool {
	return neverRan(b) && !elsewhere(b, id) && !m.Home.Preserved(b.Slug) && !m.Home.Busy(b.Slug)
}

// holdings lists all that the engine has of this home.
func (m *Manager) holdings(ctx context.Context) (list []Orphan, err error) {
	var containers []engine.Container
	var networks []engine.Network
	var volumes []engine.Volume
	err = together(ctx, func(ctx context.Context) (err error) {
		containers, err = m.Engine.List(ctx, m.Home.ID)
		return err
	}, func(ctx context.Context) (err error) {
		networks, err = m.Engine.Networks(ctx)
		return err
	}, func(ctx context.Context) (err error) {
		volumes, err = m.Engine.Volumes(ctx, m.Home.ID)
		return err
	})
	for _, c := range containers {
		list = append(list, Orphan{Kind: "container", Name: c.Name, Slug: c.Slug})
	}
	for _, n := range networks {
		if n.Labels[plan.LabelHome] == m.Home.ID {
			list = append(list, Orphan{Kind: "network", Name: n.Name, Slug: n.Labels[plan.LabelSlug]})
		}
	}
	for _, v := range volumes {
		list = append(list, Orphan{Kind: "volume", Name: v.Name, Slug: v.Slug})
	}
	return list, err
}

// Reap removes what nothing owns, until two listings in a row find the same. It
// asks once, with what the first listing found; what comes late is of the same
// kind. It returns what it removed. What is still listed at the end is an error.
func (m *Manager) Reap(ctx context.Context, ask func([]Orphan) error) (removed []Orphan, err error) {
	if err := m.Home.Sweep(); err != nil {
		return nil, err
	}
	list, err := m.Orphans(ctx)
	if err != nil {
		return nil, err
	}
	if len(list) > 0 {
		if err := ask(list); err != nil {
			return nil, err
		}
	}
	var failed error
	for range maxReaps {
		if len(list) > 0 {
			failed = m.reapAll(ctx, list)
		}
		select {
		case <-time.After(settled):
		case <-ctx.Done():
			return removed, ctx.Err()
		}
		next, err := m.Orphans(ctx)
		if err != nil {
			return removed, err
		}
		for _, o := range list {
			if !slices.Contains(next, o) && !slices.Contains(removed, o) {
				removed = append(removed, o)
			}
		}
		if slices.Equal(list, next) {
			break
		}
		list = next
	}
	if uplink := plan.UplinkName(m.Home.ID); len(list) == 1 && list[0].Name == uplink && failed == nil {
		return removed, fmt.Errorf("the network %s cannot be removed: the engine holds it for in use; where docker network inspect shows nothing in it, restart the engine", uplink)
	}
	if len(list) > 0 {
		return removed, errors.Join(fmt.Errorf("%d things could not be removed, such as %s %s", len(list), list[0].Kind, list[0].Name), failed)
	}
	return removed, nil
}

// reapAll removes the bottles of a listing, a few side by side.
func (m *Manager) reapAll(ctx context.Context, list []Orphan) error {
	slots := make(chan struct{}, 4)
	var steps []func(context.Context) error
	seen := map[string]bool{"": true}
	for _, o := range list {
		if seen[o.Slug] {
			continue
		}
		seen[o.Slug] = true
		steps = append(steps, func(ctx context.Context) error {
			slots <- struct{}{}
			defer func() { <-slots }()
			return m.reapBottle(ctx, o.Slug)
		})
	}
	failed := all(ctx, steps)
	host, err := m.Host(ctx)
	if err != nil {
		return errors.Join(failed, err)
	}
	return errors.Join(failed, m.dropUplink(ctx, host.ID))
}

// reapBottle removes one bottle's remains under its lock; what somebody else is
// at work on is his. The history of a bring-up that died keeps its log.
func (m *Manager) reapBottle(ctx context.Context, slug string) error {
	if err := bottle.CheckSlug(slug); err != nil {
		return err // a label that we never wrote
	}
	lock, err := m.Home.Lock(slug)
	if errors.Is(err, state.ErrNotFound) {
		// A reaper that dies here leaves what the next one takes for a dead start.
		b := unknown(m.Home, slug)
		b.Status, b.Reason = bottle.Starting, noState
		lock, err = m.Home.Create(b)
	}
	if errors.Is(err, state.ErrLocked) || errors.Is(err, state.ErrExists) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Unlock()
	b, err := m.Home.Bottle(slug)
	if err != nil || !neverRan(b) || m.Home.Preserved(slug) {
		return err // it came to life since, or somebody wants it kept
	}
	left, err := m.find(ctx, slug)
	if err != nil {
		return err
	}
	if b.Reason == noState {
		return errors.Join(m.remove(ctx, left), m.Home.Forget(slug))
	}
	log, err := openJournal(filepath.Join(b.StateDir, state.TeardownLog), nil)
	if err != nil {
		return err
	}
	defer log.Close()
	log.step("%s", deadStart)
	if err := m.saveLogs(ctx, slug, left.containers, log); err != nil {
		log.step("the containers' logs are incomplete: %v", err)
	}
	if err := m.remove(ctx, left); err != nil {
		return err
	}
	m.unshare(ctx, b, log)
	return m.Home.Retire(slug, m.historyFiles(slug))
}
