package state

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ErrLocked is the error for a bottle that another program is changing.
var ErrLocked = errors.New("another program is at work on it")

// Lock is a lock that dies with its holder.
type Lock struct{ f *os.File }

// Unlock gives the lock up.
func (l *Lock) Unlock() { l.f.Close() }

// Lock takes the lock of a bottle, without waiting: ErrLocked where another
// program has it, ErrNotFound where the bottle is gone.
func (h *Home) Lock(slug string) (*Lock, error) {
	l, err := take(filepath.Join(h.StateDir(slug), "lock"), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return nil, fmt.Errorf("%s: %w", slug, ErrLocked)
	case errors.Is(err, fs.ErrNotExist):
		return nil, ErrNotFound
	}
	return l, err
}

// LockShared takes the lock for what all bottles of the home share, and waits
// for it.
func (h *Home) LockShared() (*Lock, error) {
	return take(filepath.Join(h.Dir, "lock"), syscall.LOCK_EX)
}

// LockImages takes the lock for the making of images, and waits for it until ctx
// ends.
func (h *Home) LockImages(ctx context.Context) (*Lock, error) {
	type result struct {
		lock *Lock
		err  error
	}
	done := make(chan result, 1)
	go func() {
		l, err := take(filepath.Join(h.Dir, "images.lock"), syscall.LOCK_EX)
		done <- result{l, err}
	}()
	select {
	case r := <-done:
		return r.lock, r.err
	case <-ctx.Done():
		go func() {
			if r := <-done; r.err == nil {
				r.lock.Unlock()
			}
		}()
		return nil, ctx.Err()
	}
}

func take(path string, how int) (*Lock, error) {
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		if err := flock(f, how); err != nil {
			f.Close()
			return nil, fmt.Errorf("cannot lock %s: %w", path, err)
		}
		// The file may have been removed while we waited: then this lock locks nothing.
		held, err1 := f.Stat()
		there, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(held, there) {
			return &Lock{f}, nil
		}
		f.Close()
		if errors.Is(err2, fs.ErrNotExist) && how&syscall.LOCK_NB != 0 {
			return nil, err2
		}
	}
}

func flock(f *os.File, how int) error {
	for {
		if err := syscall.Flock(int(f.Fd()), how); err != syscall.EINTR {
			return err
		}
	}
}
