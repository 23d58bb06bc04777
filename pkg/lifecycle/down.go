package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/state"
)

// DownOptions say what is done with the work.
type DownOptions struct {
	Keep    bool // stop, and keep containers, volumes and state
	Discard bool // do not capture
}

// Took is what a teardown left behind.
type Took struct {
	Slug    string
	Kept    bool     // state and volumes are still there
	Bundle  string   // path of the captured work, empty if there is none
	Diff    string   // path of how it differs from what it began with
	Notes   []string // what could not be captured, or not as it was, and what to look out for; the agent's words
	Pushed  []Pushed // what the git gate took and kept
	History string
}

// bounds of a capture: what an agent left must not hold a teardown up.
const (
	captureTime = 10 * time.Minute
	captureSize = 4 << 30
)

// Down stops a bottle, captures its work, takes it down and leaves its history.
// A capture that failed keeps the bottle and is ErrCapture; a bottle that another
// engine holds is ErrElsewhere and left alone. Interrupting ctx ends the capture;
// what was begun to be removed is removed whole. A Down that was killed is taken
// up by the next one.
func (m *Manager) Down(ctx context.Context, slug string, o DownOptions, say Say) (Took, error) {
	took := Took{Slug: slug}
	lock, err := m.claim(ctx, slug)
	if err != nil {
		return took, err
	}
	defer lock.Unlock()
	t := &tearDown{Manager: m, options: o, took: took}
	if t.bottle, err = m.Home.Bottle(slug); err != nil {
		t.bottle = unknown(m.Home, slug)
	}
	if err := m.here(ctx, t); err != nil {
		return took, err
	}
	if t.log, err = openJournal(filepath.Join(m.Home.StateDir(slug), state.TeardownLog), say); err != nil {
		return took, err
	}
	defer t.log.Close()
	if err = t.run(ctx); err == nil && !t.took.Kept {
		m.prune(t.log.say)
	}
	return t.took, err
}

// claim takes a bottle's lock. One of which only the engine knows gets a state
// directory, so that there is something to lock.
func (m *Manager) claim(ctx context.Context, slug string) (*state.Lock, error) {
	lock, err := m.Home.Lock(slug)
	if !errors.Is(err, state.ErrNotFound) || bottle.CheckSlug(slug) != nil {
		return lock, err
	}
	left, ferr := m.find(ctx, slug)
	if ferr != nil {
		return nil, ferr
	}
	if left.empty() {
		return nil, err
	}
	b := unknown(m.Home, slug)
	b.Ran = true // as far as anybody knows
	lock, err = m.Home.Create(b)
	if errors.Is(err, state.ErrExists) {
		return nil, fmt.Errorf("%s: %w", slug, state.ErrLocked) // somebody else saw the same
	}
	return lock, err
}

// here finds what the engine holds of the bottle, and makes sure that it is the
// engine to ask. What it is called it is only asked where that does not show: the
// engine runs programs to answer.
func (m *Manager) here(ctx context.Context, t *tearDown) (err error) {
	if t.left, err = m.find(ctx, t.took.Slug); err != nil {
		return err
	}
	if t.engine = t.bottle.Engine; t.engine != "" && !t.left.empty() {
		return nil
	}
	host, err := m.Host(ctx)
	if t.engine = host.ID; err == nil && t.left.empty() && elsewhere(t.bottle, host.ID) {
		err = fmt.Errorf("%s: %w", t.took.Slug, ErrElsewhere)
	}
	return err
}
