package lifecycle

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"bottle/pkg/bottle"
	"bottle/pkg/engine"
)

// Watch calls emit with every bottle there is, then with each one that changed;
// one that is gone comes as bottle.Gone. It listens to the engine's events and
// to the state directory, and asks neither without one. When the engine goes
// away, lost is told once, new bottles go on to be told as the disk knows them,
// and the engine is tried anew. It ends with ctx (nil), or with emit's error.
func (m *Manager) Watch(ctx context.Context, emit func(bottle.Bottle) error, lost func(error)) error {
	files, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("cannot watch %s: %w", m.Home.Dir, err)
	}
	defer files.Close()
	if err := files.Add(filepath.Join(m.Home.Dir, "state")); err != nil {
		return fmt.Errorf("cannot watch %s: %w", m.Home.Dir, err)
	}
	outs, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("cannot watch %s: %w", m.Home.Dir, err)
	}
	defer outs.Close()
	w := watcher{Manager: m, files: files, outs: outs, changes: worthALook(files.Events), acts: calmed(ctx, outs),
		emit: emit, lost: lost, told: map[string]bottle.Bottle{}}
	w.listen(ctx)
	for {
		if err := w.refresh(ctx); err != nil {
			return err
		}
		if !w.wait(ctx) {
			return w.failed
		}
	}
}

type watcher struct {
	*Manager
	files *fsnotify.Watcher
	// changes are those of files that say how a bottle is.
	changes <-chan struct{}
	// outs watches what agents write, and acts says that one did.
	outs   *fsnotify.Watcher
	acts   <-chan struct{}
	events <-chan engine.Event // nil while the engine is away
	retry  <-chan time.Time
	emit   func(bottle.Bottle) error
	lost   func(error)
	told   map[string]bottle.Bottle
	away   bool  // the engine, when it was asked last
	failed error // emit's, where that ended the watch
}

// retryEngine is how long an engine that went away is left alone. There is no
// event that tells of its return.
const retryEngine = 2 * time.Second

// settle lets a burst of events become one look.
const settle = 20 * time.Millisecond

func (w *watcher) listen(ctx context.Context) {
	events, err := w.Engine.Events(ctx, w.Home.ID)
	if err != nil {
		w.events, w.retry = nil, time.After(retryEngine)
		return
	}
	w.events, w.retry = events, nil
}

// worthALook passes changes on, one for a burst, without those of logs: a
// sidecar writes a line a request.
func worthALook(events <-chan fsnotify.Event) <-chan struct{} {
	changes := make(chan struct{}, 1)
	go func() {
		for e := range events {
			if strings.HasPrefix(filepath.Base(e.Name), "events.jsonl") {
				continue
			}
			select {
			case changes <- struct{}{}:
			default: // one is waiting already
			}
		}
	}()
	return changes
}

// calm is how often it is looked at what agents do. They write when they like:
// in between, the kernel makes one event of many.
const calm = 100 * time.Millisecond

// maxActs bounds the events that are read in that time; the rest waits its turn.
const maxActs = 1000

// calmed passes on that something happened, at most once in calm.
func calmed(ctx context.Context, outs *fsnotify.Watcher) <-chan struct{} {
	acts := make(chan struct{}, 1)
	go func() {
		for {
			select {
			case _, open := <-outs.Events:
				if !open {
					return
				}
			case <-outs.Errors: // more happened than the kernel could tell of
			case <-ctx.Done():
				return
			}
			for more := true; more; more = drained(ctx, outs) {
				select {
				case acts <- struct{}{}:
				default: // one is waiting already
				}
			}
		}
	}()
	return acts
}

// drained lets the calm pass, and says whether more happened in it.
func drained(ctx context.Context, outs *fsnotify.Watcher) (more bool) {
	events := outs.Events
	pause := time.After(calm)
	for left := maxActs; ; left-- {
		if left == 0 {
			events = nil
		}
		select {
		case _, open := <-events:
			if !open {
				return false
			}
			more = true
		case <-pause:
			return more
		case <-ctx.Done():
			return false
		}
	}
}

// act tells of what agents do that differs from what was told. The engine is not
// asked: an agent could have it asked all the time.
func (w *watcher) act() error {
	for slug, old := range w.told {
		b := Acting(old)
		if b.Activity == old.Activity {
			continue
		}
		w.told[slug] = b
		if err := w.emit(b); err != nil {
			return err
		}
	}
	return nil
}

// lockLook is how often the locks of those that programs are at work on are
// looked at. A program that ends gives its lock up without an event.
const lockLook = time.Second

// wait returns at the next change, false when ctx ends.
func (w *watcher) wait(ctx context.Context) bool {
	if !w.change(ctx) {
		return false
	}
	pause := time.After(settle)
	for {
		select {
		case <-ctx.Done():
			return false
		case _, open := <-w.events:
			if !open {
				w.listen(ctx)
			}
		case <-w.changes:
		case <-pause:
			return true
		}
	}
}

// change returns at the first sign of a change, false when ctx ends.
func (w *watcher) change(ctx context.Context) bool {
	var look <-chan time.Time
	if len(w.atWork()) > 0 {
		tick := time.NewTicker(lockLook)
		defer tick.Stop()
		look = tick.C
	}
	for {
		select {
		case <-ctx.Done():
			return false
		case _, open := <-w.events:
			if !open {
				w.listen(ctx)
			}
			return true
		case <-w.retry:
			w.listen(ctx)
			return true
		case <-w.changes:
			return true
		case <-w.acts:
			if w.failed = w.act(); w.failed != nil {
				return false
			}
		case <-w.files.Errors: // an overflow: look at everything, as after any event
			return true
		case <-look:
			if slices.ContainsFunc(w.atWork(), func(slug string) bool { return !w.Home.Busy(slug) }) {
				return true
			}
		}
	}
}

// atWork are the bottles of which it was told that a program is at work on them.
func (w *watcher) atWork() (slugs []string) {
	for slug, b := range w.told {
		if b.Status == bottle.Starting && b.Reason == "" || b.Reason == beingStopped {
			slugs = append(slugs, slug)
		}
	}
	return slugs
}

// refresh looks at everything and tells what differs from what was told.
func (w *watcher) refresh(ctx context.Context) error {
	slugs, err := w.Home.Slugs()
	if err != nil {
		return err
	}
	for _, slug := range slugs {
		// It may be gone by now; known ones cost nothing.
		_ = w.files.Add(w.Home.StateDir(slug))
		for _, service := range takers {
			_ = w.files.Add(filepath.Join(w.Home.StateDir(slug), service, "out"))
		}
		_ = w.outs.Add(activityDir(w.Home.StateDir(slug)))
	}
	list, failed := List(ctx, w.Home, w.Engine)
	if ctx.Err() != nil {
		return nil
	}
	if failed != nil && !w.away {
		w.lost(failed)
	}
	w.away = failed != nil
	seen := map[string]bool{}
	for _, b := range list {
		seen[b.Slug] = true
		old, known := w.told[b.Slug]
		if known && b.Agent == "?" && b.Reason == beingStopped {
			b = leaving(old, b) // its metadata are in its history by now
		}
		// What was recorded of a known one is no news, while nobody can judge it.
		if known && (w.away || reflect.DeepEqual(old, b)) {
			continue
		}
		w.told[b.Slug] = b
		if err := w.emit(b); err != nil {
			return err
		}
	}
	for slug, b := range w.told {
		if seen[slug] || w.away { // it may live without a state directory
			continue
		}
		delete(w.told, slug)
		b.Status, b.Services, b.Reason = bottle.Gone, []string{}, ""
		if err := w.emit(b); err != nil {
			return err
		}
	}
	return nil
}

// leaving is a known bottle whose metadata cannot be read any more, as it is now.
func leaving(known, now bottle.Bottle) bottle.Bottle {
	known.Status, known.Services, known.Reason, known.Stale = now.Status, now.Services, now.Reason, now.Stale
	return Acting(known)
}
