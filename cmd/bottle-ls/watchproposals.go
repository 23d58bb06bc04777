package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"

	"bottle/pkg/cli"
	"bottle/pkg/decision"
	"bottle/pkg/operator"
	"bottle/pkg/plan"
)

// settleTime lets a burst of changes become one look.
const settleTime = 30 * time.Millisecond

// watchProposals prints what waits, then a line for each change: one that came,
// one for which a request is held, or held no more, one that was decided (its
// status is the verdict), one that went with its bottle ("gone"). With --all each decided one is told, once, if it was never
// seen waiting too.
func watchProposals(c *cli.Call) error {
	if c.String("output") == "table" {
		return cli.Error{Code: cli.Usage, Msg: "a table cannot be watched: its columns would move", Hint: "use -o json or -o tsv"}
	}
	p, err := cli.NewPrinter(c.Out, c.String("output"), proposalColumns...)
	if err != nil {
		return err
	}
	ctx, cancel := operator.Reading()
	defer cancel()
	go func() {
		if cli.ReaderGone(ctx, c.Out) {
			cancel()
		}
	}()
	d, err := open(ctx, c.Err)
	if err != nil {
		return err
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("cannot watch: %w", err)
	}
	defer w.Close()
	err = (&follower{d: d, w: w, watch: w.Add, all: c.Bool("all"), known: map[string]operator.Line{},
		emit: func(l operator.Line) error { return p.Print(l, proposalCells(l)...) }}).run(ctx)
	if errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}

// follower tells of changes between one look and the next.
type follower struct {
	d     *decision.Decider
	w     *fsnotify.Watcher
	watch func(dir string) error // w's Add
	all   bool                   // decided ones too that were never seen waiting
	known map[string]operator.Line
	emit  func(operator.Line) error
}

func (f *follower) run(ctx context.Context) error {
	var settled <-chan time.Time
	for {
		if settled == nil {
			if err := f.look(); err != nil {
				return err
			}
		}
		select {
		case <-f.w.Events:
			if settled == nil {
				settled = time.After(settleTime)
			}
			// Events without end must not keep us from looking: the time stays.
			if err := f.drain(ctx, settled); err != nil {
				return nil
			}
			settled = nil
		case <-f.w.Errors: // events were lost: look
		case <-ctx.Done():
			return nil
		}
	}
}

// drain takes events until it is time to look.
func (f *follower) drain(ctx context.Context, until <-chan time.Time) error {
	for {
		select {
		case <-f.w.Events:
		case <-f.w.Errors:
		case <-until:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// attend watches where a bottle's proposals and decisions are, or will be: its
// sidecars' directories are made after its own.
func (f *follower) attend(stateDir string) {
	f.watch(stateDir)
	entries, _ := os.ReadDir(stateDir) // one that is gone has none
	for _, e := range entries {
		if e.IsDir() && e.Name() != plan.AgentService { // who could keep us busy, and proposes nothing
			f.reach(filepath.Join(stateDir, e.Name()), "out", "proposals")
			f.reach(filepath.Join(stateDir, e.Name()), "in", "decisions")
		}
	}
}

// reach watches a directory below dir, or else what is there of the way to it.
// What is above it is not watched then: a sidecar writes there at each request.
func (f *follower) reach(dir string, way ...string) {
	at := []string{dir}
	for _, name := range way {
		at = append(at, filepath.Join(at[len(at)-1], name))
	}
	last := len(at) - 1
	there := last
	for there > 0 && f.watch(at[there]) != nil {
		there--
	}
	if there == last {
		for _, above := range at[:last] {
			f.w.Remove(above) // an error: it was not watched
		}
		return
	}
	// What was made meanwhile is no event of what is watched since.
	for ; there <= last && f.watch(at[there]) == nil; there++ {
	}
}

// look watches what there is now, and tells what is otherwise than before.
func (f *follower) look() error {
	// Watch first, so that no change falls between the reading and the watching.
	f.watch(f.d.Home.StateDir(""))
	slugs, err := f.d.Home.Slugs()
	if err != nil {
		return err
	}
	for _, slug := range slugs {
		f.attend(f.d.Home.StateDir(slug))
	}
	lines, _ := proposals(f.d, true)
	now := map[string]operator.Line{}
	for _, l := range lines {
		key := l.Slug + "/" + l.ID
		now[key] = l
		old, known := f.known[key]
		l.Again = known && old.Status == l.Status
		if l.Again && (old.HeldLeft == nil) == (l.HeldLeft == nil) || !known && l.Status != "pending" && !f.all {
			continue
		}
		if err := f.emit(l); err != nil {
			return err
		}
	}
	for key, l := range f.known {
		switch _, there := now[key]; {
		case there:
		case l.Status == "pending":
			l.Status = "gone"
			if err := f.emit(l); err != nil {
				return err
			}
		case slices.Contains(slugs, l.Slug):
			now[key] = l // it could not be read just now, and is not told twice
		}
	}
	f.known = now
	return nil
}
