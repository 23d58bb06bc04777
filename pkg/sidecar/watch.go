package sidecar

import (
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settleTime lets a burst of changes become one reload.
const settleTime = 30 * time.Millisecond

// watches are all of this program's, on one watcher: the kernel grants one user
// 128, whatever the number of directories.
var watches struct {
	sync.Mutex
	*fsnotify.Watcher
	changed map[string][]chan struct{} // by directory
}

// watch tells of changes in a directory, a burst at a time. A directory that
// is gone ends the watch.
func watch(dir string) (<-chan struct{}, error) {
	if dir == "" {
		return nil, nil
	}
	dir = filepath.Clean(dir)
	watches.Lock()
	defer watches.Unlock()
	if watches.Watcher == nil {
		w, err := fsnotify.NewWatcher()
		if err != nil {
			return nil, fmt.Errorf("cannot watch %s: %w", dir, err)
		}
		watches.Watcher, watches.changed = w, map[string][]chan struct{}{}
		go spread(w)
	}
	if err := watches.Add(dir); err != nil {
		return nil, fmt.Errorf("cannot watch %s: %w", dir, err)
	}
	changed := make(chan struct{}, 1)
	watches.changed[dir] = append(watches.changed[dir], changed)
	return settled(changed), nil
}

// spread hands on what a watcher says to those whose directory it is of.
func spread(w *fsnotify.Watcher) {
	for {
		select {
		case e := <-w.Events:
			tell(func(dir string) bool { return dir == e.Name || dir == filepath.Dir(e.Name) })
		case <-w.Errors: // an overflow: look, as after any change
			tell(func(string) bool { return true })
		}
	}
}

func tell(whom func(dir string) bool) {
	watches.Lock()
	defer watches.Unlock()
	for dir, all := range watches.changed {
		if !whom(dir) {
			continue
		}
		for _, changed := range all {
			raise(changed)
		}
	}
}

func raise(flag chan<- struct{}) {
	select {
	case flag <- struct{}{}:
	default: // it is raised already
	}
}

// settled passes changes on, one for a burst.
func settled(changed <-chan struct{}) <-chan struct{} {
	changes := make(chan struct{}, 1)
	go func() {
		var pause <-chan time.Time
		for {
			select {
			case <-changed:
				pause = time.After(settleTime)
			case <-pause:
				pause = nil
				raise(changes)
			}
		}
	}()
	return changes
}
