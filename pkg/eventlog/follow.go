package eventlog

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle lets a burst become one batch, in which the order is that of time.
const settle = 20 * time.Millisecond

// Follower tells of events as they come.
type Follower struct {
	// Find returns the sources that there are now; it is asked again at each
	// change in one of the directories that it returns, and in theirs.
	Find func() (sources []Source, dirs []string, err error)
	// Since is the time of the first event that is told.
	Since time.Time
	// Emit is called for each event; its error ends it all.
	Emit func(Record) error
	// Ends: when all sidecars' sources are gone, it is over.
	Ends bool
}

// Run tells of the events that are there, in the order of time, then of those
// that come, until ctx ends. It returns how many lines could not be read.
func (f Follower) Run(ctx context.Context) (bad int, err error) {
	watch, err := fsnotify.NewWatcher()
	if err != nil {
		return 0, fmt.Errorf("cannot follow: %w", err)
	}
	defer watch.Close()
	tails := map[Source]*tail{}
	defer func() {
		for _, t := range tails {
			bad += t.bad
			t.close()
		}
	}()
	for {
		sources, dirs, err := f.Find()
		if err != nil {
			return 0, err
		}
		for _, s := range sources {
			if tails[s] == nil {
				tails[s] = &tail{source: s, since: f.Since}
			}
			dirs = append(dirs, s.Dir)
		}
		for _, dir := range dirs {
			_ = watch.Add(dir) // known ones cost nothing, one that is gone tells nothing
		}
		if err := f.emit(tails); err != nil || f.Ends && !slices.ContainsFunc(sources, Source.sidecars) {
			return 0, err
		}
		if err := wait(ctx, watch); err != nil {
			return 0, err
		}
	}
}

// emit reads all sources and tells what came.
func (f Follower) emit(tails map[Source]*tail) error {
	var records []Record
	for _, t := range tails {
		var err error
		if records, err = t.read(records); err != nil {
			return err
		}
	}
	sortByTime(records)
	for _, r := range records {
		if err := f.Emit(r); err != nil {
			return err
		}
	}
	return nil
}

// wait returns after a change, or with ctx's error.
func wait(ctx context.Context, watch *fsnotify.Watcher) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-watch.Events:
	case <-watch.Errors: // an overflow: look at everything, as after any event
	}
	pause := time.After(settle)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-watch.Events:
		case <-pause:
			return nil
		}
	}
}
