package state

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrLocked is the error for a bottle that another program is changing.
var ErrLocked = errors.New("another program is at work on it")

// Lock is a lock that dies with its holder.
type Lock struct{ f *os.File }

// Unlock gives the lock up.
func (l *Lock) Unlock() { l.f.Close() }

// The locks are those of open file descriptions: they go with the process that
// holds one, however it ends, and can be looked at without being taken.
const (
	exclusive = unix.F_WRLCK
	shared    = unix.F_RDLCK
)

// Lock takes the lock of a bottle, without waiting: ErrLocked where another
// program has it, ErrNotFound where the bottle is gone.
func (h *Home) Lock(slug string) (*Lock, error) {
	l, err := take(h.lockFile(slug), exclusive, unix.F_OFD_SETLK)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return nil, fmt.Errorf("%s: %w", slug, ErrLocked)
	case errors.Is(err, fs.ErrNotExist):
		return nil, h.noSuch(slug)
	}
	return l, err
}

// Busy says whether a program holds the bottle's lock. It takes nothing, so it
// is in nobody's way.
func (h *Home) Busy(slug string) bool {
	f, err := os.Open(h.lockFile(slug))
	if err != nil {
		return false
	}
	defer f.Close()
	l := unix.Flock_t{Type: exclusive}
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &l)
	return err == nil && l.Type != unix.F_UNLCK
}

func (h *Home) lockFile(slug string) string { return filepath.Join(h.StateDir(slug), "lock") }

// LockShared takes the lock for what all bottles of the home share, and waits
// for it until ctx ends.
func (h *Home) LockShared(ctx context.Context) (*Lock, error) {
	return await(ctx, filepath.Join(h.Dir, "lock"))
}

// lockNames takes the lock under which names are claimed: many may claim at a
// time (shared), and none while a sweeper looks for what dead ones left
// (exclusive).
func lockNames(dir string, kind int16) (*Lock, error) {
	return take(filepath.Join(dir, "names.lock"), kind, unix.F_OFD_SETLKW)
}

// LockImages takes the lock for the making of images, and waits for it until ctx
// ends.
func (h *Home) LockImages(ctx context.Context) (*Lock, error) {
	return await(ctx, filepath.Join(h.Dir, "images.lock"))
}

// LockEndings takes the lock under which containers end, on engines that do not bear
// it when several do at once, and waits for it until ctx ends.
func (h *Home) LockEndings(ctx context.Context) (release func(), err error) {
	lock, err := await(ctx, filepath.Join(h.Dir, "endings.lock"))
	if err != nil {
		return nil, err
	}
	return func() { lock.Unlock() }, nil
}

// await locks the file at path for one holder. It waits until ctx ends: its
// holder may be a program that does not run on, stopped or at an engine that
// does not answer.
func await(ctx context.Context, path string) (*Lock, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	type result struct {
		lock *Lock
		err  error
	}
	done := make(chan result, 1)
	go func() {
		l, err := take(path, exclusive, unix.F_OFD_SETLKW)
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

// take locks the file at path, which it makes. how is F_OFD_SETLK, which does not
// wait, or F_OFD_SETLKW, which does.
func take(path string, kind int16, how int) (*Lock, error) {
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		if err := lockFile(f, kind, how); err != nil {
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
		if errors.Is(err2, fs.ErrNotExist) && how == unix.F_OFD_SETLK {
			return nil, err2
		}
	}
}

func lockFile(f *os.File, kind int16, how int) error {
	for {
		if err := unix.FcntlFlock(f.Fd(), how, &unix.Flock_t{Type: kind}); err != unix.EINTR {
			return err
		}
	}
}
