package lifecycle

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"bottle/pkg/engine"
	"bottle/pkg/pipelock"
	"bottle/pkg/plan"
	"bottle/pkg/spool"
)

// PipelockFile is the file of a bottle's pipelock as it stands; nil where the
// bottle has none.
func (m *Manager) PipelockFile(slug string) ([]byte, error) {
	if !exists(m.pipelockIn(slug)) {
		return nil, nil
	}
	text, err := spool.ReadFile(m.pipelockIn(slug), pipelock.File, pipelock.MaxFile)
	if err != nil {
		return nil, fmt.Errorf("cannot read pipelock's file: %w", err)
	}
	return text, nil
}

// ErrPipelockChanged is the error for a file that is not the one that was shown.
var ErrPipelockChanged = errors.New("pipelock's file was changed meanwhile, so nothing was changed")

// MirrorPipelock makes the list and the exceptions of a bottle's pipelock so, on the
// file as it stands. What is so already changes nothing. It says whether the bottle
// has a pipelock. One that does not run is only told what it is to let through no
// more: it finds that when it starts. The caller holds the policy's lock.
func (m *Manager) MirrorPipelock(ctx context.Context, slug string, d pipelock.Delta) (has bool, err error) {
	if !exists(m.pipelockIn(slug)) {
		return false, nil
	}
	if err := m.settlePipelock(ctx, slug); err != nil {
		return true, err
	}
	if d.Empty() {
		return true, nil
	}
	old, err := m.PipelockFile(slug)
	if err != nil {
		return true, err
	}
	d.Open = slices.DeleteFunc(slices.Clone(d.Open), func(h string) bool { return !pipelock.Holds(h) })
	text, err := pipelock.Change(old, d)
	if err != nil {
		return true, err
	}
	same := bytes.Equal(text, old)
	if same && m.seeList(ctx, slug, d.Open, nil) == nil {
		return true, nil
	}
	err = m.pipelockUp(ctx, slug)
	if errors.Is(err, ErrNotUp) && !d.Widens() && !same {
		return true, m.preparePipelock(ctx, slug, text)
	}
	if err != nil {
		return true, err
	}
	return true, m.setPipelock(ctx, slug, old, text, d)
}

// preparePipelock writes the file of a pipelock that does not run.
func (m *Manager) preparePipelock(ctx context.Context, slug string, text []byte) error {
	if err := m.candidate(ctx, slug, text); err != nil {
		return err
	}
	return m.writePipelock(slug, text)
}

// SetPipelock gives a bottle's pipelock another file in the place of old, after
// its own check. A reload does where only the list changes, and pipelock is seen to
// have taken it; otherwise it is restarted, and egress holds what is asked
// meanwhile. Where that fails, the old file is put back, and runs. The caller holds
// the policy's lock.
func (m *Manager) SetPipelock(ctx context.Context, slug string, old, text []byte) error {
	if err := m.settlePipelock(ctx, slug); err != nil {
		return err
	}
	if now, err := m.PipelockFile(slug); err != nil || !bytes.Equal(now, old) {
		return cmp.Or(err, ErrPipelockChanged)
	}
	if err := pipelock.Check(text); err != nil {
		return err
	}
	before, err := pipelock.Listed(old)
	if err != nil { // the edit mends it
		before = nil
	}
	after, err := pipelock.Listed(text)
	if err != nil {
		return err
	}
	return m.setPipelock(ctx, slug, old, text, pipelock.Delta{Open: pipelock.Missing(before, after), Close: pipelock.Missing(after, before)})
}

func (m *Manager) previous(slug string) string {
	return filepath.Join(m.Home.StateDir(slug), plan.PipelockService, pipelock.Previous)
}

func (m *Manager) unsettle(slug string, old []byte) error {
	return spool.WriteFile(m.previous(slug), old, 0o600)
}

func (m *Manager) settled(slug string) error {
	if err := os.Remove(m.previous(slug)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return spool.Sync(filepath.Dir(m.previous(slug)))
}

// settlePipelock has pipelock go by the file that is there, where a killed program
// left that open, and may have stopped it; by the one before, where it does not come
// up with it.
func (m *Manager) settlePipelock(ctx context.Context, slug string) error {
	old, err := spool.ReadFile(filepath.Dir(m.previous(slug)), pipelock.Previous, pipelock.MaxFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("cannot read which file pipelock had: %w", err)
	}
	up, err := m.running(ctx, slug)
	if err == nil && !up[plan.EgressService] { // nothing of a stopped bottle is started; a resume settles it
		err = fmt.Errorf("egress does not run: %w", ErrNotUp)
	}
	if err != nil {
		return err
	}
	err = m.restartPipelock(ctx, slug)
	switch {
	case ctx.Err() != nil || errors.Is(err, engine.ErrUnreachable): // which says nothing about the file
		return err
	case err != nil:
		err = m.putBack(ctx, slug, old)
	}
	if err != nil {
		return fmt.Errorf("a change of pipelock's file was cut short, and cannot be mended: %w", err)
	}
	return m.settled(slug)
}

// pipelockUp says, by ErrNotUp, that a bottle's pipelock does not run.
func (m *Manager) pipelockUp(ctx context.Context, slug string) error {
	return m.signalPipelock(ctx, slug, "CONT")
}

func (m *Manager) signalPipelock(ctx context.Context, slug, signal string) error {
	err := m.Engine.Signal(ctx, plan.ContainerName(slug, plan.PipelockService), signal)
	if errors.Is(err, engine.ErrNotFound) || errors.Is(err, engine.ErrConflict) {
		return fmt.Errorf("pipelock does not run: %w", ErrNotUp)
	}
	return err
}

func (m *Manager) writePipelock(slug string, text []byte) error {
	return spool.WriteFile(filepath.Join(m.pipelockIn(slug), pipelock.File), text, 0o600)
}

// candidate has a bottle's pipelock look through a file.
func (m *Manager) candidate(ctx context.Context, slug string, text []byte) error {
	p, err := m.loadPlan(slug)
	if err != nil {
		return err
	}
	if err := spool.WriteFile(filepath.Join(m.pipelockIn(slug), pipelock.Candidate), text, 0o600); err != nil {
		return err
	}
	return m.checkPipelock(ctx, p)
}

// setPipelock is SetPipelock for a change that is known.
//
//	check → previous file kept → file → reload or restart → seen to be so → previous file gone
func (m *Manager) setPipelock(ctx context.Context, slug string, old, text []byte, d pipelock.Delta) error {
	if err := m.candidate(ctx, slug, text); err != nil {
		return err
	}
	if err := m.unsettle(slug, old); err != nil {
		return err
	}
	failed := m.takePipelock(ctx, slug, old, text, d)
	if failed == nil {
		return m.settled(slug)
	}
	back, cancel := context.WithTimeout(context.WithoutCancel(ctx), clearTime)
	defer cancel()
	if errors.Is(failed, ErrNotUp) {
		return errors.Join(failed, m.writePipelock(slug, old), m.settled(slug))
	}
	if err := m.putBack(back, slug, old); err != nil {
		return errors.Join(failed, err)
	}
	return errors.Join(failed, m.settled(slug))
}

// putBack has pipelock go by the file before.
func (m *Manager) putBack(ctx context.Context, slug string, old []byte) error {
	if err := m.writePipelock(slug, old); err != nil {
		return err
	}
	return m.restartPipelock(ctx, slug)
}

// takePipelock writes the file and brings pipelock to it.
func (m *Manager) takePipelock(ctx context.Context, slug string, old, text []byte, d pipelock.Delta) error {
	if err := m.writePipelock(slug, text); err != nil {
		return err
	}
	listed := pipelock.Delta{Open: d.Open, Close: d.Close} // what can be seen from outside
	if same, err := pipelock.Change(old, listed); err == nil && bytes.Equal(same, text) {
		if err := m.reloadPipelock(ctx, slug, d); err == nil || ctx.Err() != nil || errors.Is(err, ErrNotUp) {
			return err
		}
	}
	if err := m.restartPipelock(ctx, slug); err != nil {
		return err
	}
	return m.awaitList(ctx, slug, d.Open, d.Close)
}

// reloadPipelock has pipelock read its file again. One that is only starting has no
// handler yet, and the signal would end it: it is told when it answers.
func (m *Manager) reloadPipelock(ctx context.Context, slug string, d pipelock.Delta) error {
	if _, err := m.askPipelock(ctx, slug, nil); err != nil {
		return err
	}
	if err := m.signalPipelock(ctx, slug, "HUP"); err != nil {
		return err
	}
	return m.awaitList(ctx, slug, d.Open, d.Close)
}

// listTries bounds how often pipelock is asked after a reload, each an exec, before
// it counts as refused.
const listTries = 10

// awaitList waits until pipelock is seen to list some hosts, and others not.
func (m *Manager) awaitList(ctx context.Context, slug string, open, closed []string) error {
	for try := 1; ; try++ {
		err := m.seeList(ctx, slug, open, closed)
		if !errors.Is(err, errNotTaken) || try == listTries {
			return err
		}
		select {
		case <-time.After(listPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

var errNotTaken = errors.New("pipelock did not take its new file")

// seeList asks once. A wildcard cannot be asked for; with one on its list, pipelock
// lists more than the file names.
func (m *Manager) seeList(ctx context.Context, slug string, open, closed []string) error {
	hosts := slices.DeleteFunc(slices.Concat(open, closed), func(h string) bool { return !pipelock.Holds(h) })
	if len(hosts) == 0 {
		return nil
	}
	listed, err := m.askPipelock(ctx, slug, hosts)
	if err != nil {
		return err
	}
	for _, h := range hosts {
		if want := slices.Contains(open, h); listed[h] != want {
			return fmt.Errorf("%w: %s is listed: %v", errNotTaken, h, listed[h])
		}
	}
	return nil
}

const listPause = 100 * time.Millisecond

// restartPipelock ends pipelock and starts it with the file that is there.
func (m *Manager) restartPipelock(ctx context.Context, slug string) error {
	name := plan.ContainerName(slug, plan.PipelockService)
	err := whole(ctx, func(ctx context.Context) error {
		if err := m.Engine.Stop(ctx, name); err != nil {
			return err
		}
		return m.Engine.Start(ctx, name)
	})
	if err != nil {
		return err
	}
	_, err = m.askPipelock(ctx, slug, nil)
	return err
}
