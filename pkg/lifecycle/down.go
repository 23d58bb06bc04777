package lifecycle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/plan"
	"bottle/pkg/spool"
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
	Kept    bool   // state and volumes are still there
	Bundle  string // path of the captured work, empty if there is none
	History string
}

// bounds of a capture: what an agent left must not hold a teardown up.
const (
	captureTime = 10 * time.Minute
	captureSize = 4 << 30
)

// Down stops a bottle, captures its work, takes it down and leaves its history.
// A capture that failed keeps the bottle and is ErrCapture. Interrupting ctx
// ends the capture; what was begun to be removed is removed whole.
func (m *Manager) Down(ctx context.Context, slug string, o DownOptions, say Say) (Took, error) {
	took := Took{Slug: slug, History: m.Home.HistoryDir(slug)}
	b, known, err := m.claim(ctx, slug)
	if err != nil {
		return took, err
	}
	lock, err := m.Home.Lock(slug)
	if err != nil {
		return took, err
	}
	defer lock.Unlock()
	log, err := openJournal(filepath.Join(m.Home.StateDir(slug), state.TeardownLog), say)
	if err != nil {
		return took, err
	}
	defer log.Close()

	left, err := m.find(ctx, slug)
	if err != nil {
		return took, err
	}
	log.step("stopping %s", slug)
	if err := m.Engine.Stop(ctx, plan.ContainerName(slug, plan.AgentService)); err != nil {
		return took, err
	}
	if o.Keep {
		return m.keep(ctx, b, left, took, log)
	}
	if known && !o.Discard && len(left.volumes) > 0 {
		if took.Bundle, err = m.capture(ctx, b, log); err != nil {
			log.step("the capture failed: %v", err)
			if _, kerr := m.keep(context.WithoutCancel(ctx), b, left, took, log); kerr != nil {
				return took, errors.Join(err, kerr)
			}
			took.Kept = true
			return took, fmt.Errorf("%w: %w", ErrCapture, err)
		}
	}
	return took, m.demolish(context.WithoutCancel(ctx), slug, left, log)
}

// claim reads what is known of a bottle; one of which only containers are left
// gets a state directory, so that there is something to lock.
func (m *Manager) claim(ctx context.Context, slug string) (b bottle.Bottle, known bool, err error) {
	b, err = m.Home.Bottle(slug)
	if err == nil {
		return b, true, nil
	}
	if !errors.Is(err, state.ErrNotFound) {
		return unknown(m.Home, slug), false, nil
	}
	if bottle.CheckSlug(slug) != nil {
		return b, false, err
	}
	left, ferr := m.find(ctx, slug)
	if ferr != nil {
		return b, false, ferr
	}
	if left.empty() {
		return b, false, err
	}
	if err := os.Mkdir(m.Home.StateDir(slug), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return b, false, fmt.Errorf("cannot make the state directory: %w", err)
	}
	return unknown(m.Home, slug), false, nil
}

// keep leaves a stopped bottle as it is, out of every reaper's reach.
func (m *Manager) keep(ctx context.Context, b bottle.Bottle, left remains, took Took, log *journal) (Took, error) {
	took.Kept = true
	if err := spool.WriteFile(filepath.Join(m.Home.StateDir(b.Slug), state.PreserveFile), nil, 0o600); err != nil {
		return took, err
	}
	var steps []func(context.Context) error
	for _, name := range left.containers {
		steps = append(steps, func(ctx context.Context) error { return m.Engine.Stop(ctx, name) })
	}
	if err := all(ctx, steps); err != nil {
		return took, err
	}
	log.step("kept %s", b.Slug)
	if b.Status == "?" {
		return took, nil // what cannot be read is not written over
	}
	b.Status = bottle.Stopped
	return took, m.Home.Save(b)
}

// demolish removes what the engine holds and moves what is worth it into the
// history.
func (m *Manager) demolish(ctx context.Context, slug string, left remains, log *journal) error {
	if err := m.saveLogs(ctx, slug, left.containers, log); err != nil {
		log.step("the containers' logs are incomplete: %v", err)
	}
	log.step("removing containers, networks and volumes")
	// The capture's own container and volume came after the first look.
	left, err := m.find(ctx, slug)
	if err != nil {
		return err
	}
	if err := m.remove(ctx, left); err != nil {
		return fmt.Errorf("cannot take %s down whole; run bottle-stop %s again: %w", slug, slug, err)
	}
	if err := m.Home.Retire(slug, historyFiles); err != nil {
		return err
	}
	return m.dropUplink(ctx)
}

// historyFiles are what a teardown leaves: name in the state directory → name in
// the history.
var historyFiles = map[string]string{
	state.MetadataFile: state.MetadataFile,
	state.BringupLog:   state.BringupLog,
	state.TeardownLog:  state.TeardownLog,
	state.ComposeLog:   state.ComposeLog,
	state.WorkBundle:   state.WorkBundle,
	filepath.Join(plan.EgressService, "out", "events.jsonl"): "egress-events.jsonl",
}

// saveLogs writes what all containers of the bottle said, with times, to one
// file, in the form of docker-compose logs.
func (m *Manager) saveLogs(ctx context.Context, slug string, containers []string, log *journal) error {
	parts := make([]bytes.Buffer, len(containers))
	var steps []func(context.Context) error
	for i, name := range containers {
		steps = append(steps, func(ctx context.Context) error {
			return m.Engine.Logs(ctx, name, &bounded{w: &parts[i], left: 32 << 20})
		})
	}
	failed := all(ctx, steps)
	var whole bytes.Buffer
	for i, name := range containers {
		for line := range bytes.Lines(parts[i].Bytes()) {
			fmt.Fprintf(&whole, "%s | %s", name, bytes.TrimSuffix(line, []byte("\n")))
			whole.WriteByte('\n')
		}
	}
	return errors.Join(failed, spool.WriteFile(filepath.Join(m.Home.StateDir(slug), state.ComposeLog), whole.Bytes(), 0o600))
}

// errTooLarge is the error of a bounded writer that is full.
var errTooLarge = errors.New("it is larger than the bound")

// bounded passes on so many bytes, then fails.
type bounded struct {
	w    io.Writer
	left int64
}

func (b *bounded) Write(p []byte) (int, error) {
	if int64(len(p)) > b.left {
		return 0, errTooLarge
	}
	n, err := b.w.Write(p)
	b.left -= int64(n)
	return n, err
}
