package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"bottle/pkg/spool"
)

// Renewal is renewal.json: what became of the last attempt to resolve anew what
// ages of a bottle. It is there while something could not be.
type Renewal struct {
	Tried  time.Time `json:"tried"`  // RFC 3339, UTC
	Failed []string  `json:"failed"` // names of the values, sorted
}

const (
	renewalFile = "renewal.json"
	renewalLock = "renewal.lock"
	maxRenewal  = 64 << 10
)

// Renewal reads what could not be renewed of a bottle. One that cannot be read is
// none: then it is tried again, and told again.
func (h *Home) Renewal(slug string) (r Renewal) {
	data, err := spool.ReadFile(h.StateDir(slug), renewalFile, maxRenewal)
	if err != nil || json.Unmarshal(data, &r) != nil {
		return Renewal{}
	}
	return r
}

// PutRenewal records what could not be renewed of a bottle; nothing failed: it
// takes the record away. The caller holds LockRenewal.
func (h *Home) PutRenewal(slug string, r Renewal) error {
	path := filepath.Join(h.StateDir(slug), renewalFile)
	if len(r.Failed) == 0 {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot remove %s: %w", path, err)
		}
		return nil
	}
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("cannot encode %s: %w", renewalFile, err)
	}
	return spool.WriteFile(path, append(data, '\n'), 0o600)
}

// LockRenewal takes the lock under which a bottle's values are resolved anew, and
// waits for it until ctx ends: ErrNotFound where the bottle is gone.
func (h *Home) LockRenewal(ctx context.Context, slug string) (*Lock, error) {
	return orGone(await(ctx, filepath.Join(h.StateDir(slug), renewalLock)))
}

// TryLockRenewal is LockRenewal without waiting: ErrLocked where another program
// has it.
func (h *Home) TryLockRenewal(slug string) (*Lock, error) {
	l, err := orGone(take(filepath.Join(h.StateDir(slug), renewalLock), exclusive, unix.F_OFD_SETLK))
	if errors.Is(err, unix.EAGAIN) {
		return nil, fmt.Errorf("%s: %w", slug, ErrLocked)
	}
	return l, err
}

func orGone(l *Lock, err error) (*Lock, error) {
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	return l, err
}
