package spool

import (
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// lookAgain is how often a watch without the kernel's help has its owner look.
const lookAgain = 50 * time.Millisecond

// Watch tells, until stop, that a file may have appeared or changed. Its directory
// is there. The kernel grants one user 128 watches, which the user's other programs
// and the sidecars take too: who gets none is told to look every so often.
func Watch(path string) (changes <-chan struct{}, stop func(), err error) {
	told := make(chan struct{}, 1)
	tell := func() {
		select {
		case told <- struct{}{}:
		default: // one is waiting already
		}
	}
	w, err := fsnotify.NewWatcher()
	if err == nil {
		if err = w.Add(filepath.Dir(path)); err != nil {
			w.Close()
		}
	}
	switch {
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENOSPC):
		return told, repeat(tell), nil
	case err != nil:
		return nil, nil, fmt.Errorf("cannot watch %s: %w", filepath.Dir(path), err)
	}
	go func() {
		for {
			select {
			case e, open := <-w.Events:
				if !open {
					return
				}
				if filepath.Base(e.Name) == filepath.Base(path) {
					tell()
				}
			case _, open := <-w.Errors: // an overflow: look, as after any change
				if !open {
					return
				}
				tell()
			}
		}
	}()
	return told, func() { w.Close() }, nil
}

// repeat calls f every so often, until stop.
func repeat(f func()) (stop func()) {
	tick, ended := time.NewTicker(lookAgain), make(chan struct{})
	go func() {
		for {
			select {
			case <-tick.C:
				f()
			case <-ended:
				return
			}
		}
	}()
	return func() {
		tick.Stop()
		close(ended)
	}
}
