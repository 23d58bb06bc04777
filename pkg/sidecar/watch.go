package sidecar

import (
	"fmt"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settleTime lets a burst of changes become one reload.
const settleTime = 30 * time.Millisecond

// watch tells of changes in a directory, a burst at a time. A directory that
// is gone ends the watch.
func watch(dir string) (<-chan struct{}, error) {
	if dir == "" {
		return nil, nil
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("cannot watch %s: %w", dir, err)
	}
	if err := w.Add(dir); err != nil {
		w.Close()
		return nil, fmt.Errorf("cannot watch %s: %w", dir, err)
	}
	changes := make(chan struct{}, 1)
	go func() {
		var settled <-chan time.Time
		for {
			select {
			case _, open := <-w.Events:
				if !open {
					return
				}
				settled = time.After(settleTime)
			case _, open := <-w.Errors: // an overflow: look, as after any change
				if !open {
					return
				}
				settled = time.After(settleTime)
			case <-settled:
				settled = nil
				select {
				case changes <- struct{}{}:
				default: // one is waiting already
				}
			}
		}
	}()
	return changes, nil
}
