package lifecycle

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"bottle/pkg/plan"
	"bottle/pkg/spool"
)

// readyTime bounds the wait for a sidecar.
const readyTime = 20 * time.Second

// readyFile is what a sidecar writes to its out/ when it can serve.
const readyFile = "ready"

// awaitSidecar waits until a sidecar says that it can serve.
func (u *bringUp) awaitSidecar(ctx context.Context, c plan.Container) error {
	if c.Service == plan.PipelockService { // it is not ours, and says nothing
		return u.awaitPipelock(ctx, c)
	}
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	gone := make(chan struct{})
	go func() {
		if _, err := u.Engine.Wait(ctx, c.Name); err == nil {
			close(gone)
		}
	}()
	err := awaitFile(ctx, filepath.Join(u.bottle.StateDir, c.Service, "out", readyFile), gone)
	if err != nil {
		return fmt.Errorf("%s did not get ready: %w", c.Service, err)
	}
	return nil
}

// awaitFile waits until path is there, gone closes, or ctx ends.
func awaitFile(ctx context.Context, path string, gone <-chan struct{}) error {
	changes, stop, err := spool.Watch(path)
	if err != nil {
		return err
	}
	defer stop()
	for {
		if _, err := os.Lstat(path); err == nil {
			return nil
		}
		select {
		case <-changes:
		case <-gone:
			return fmt.Errorf("its container ended")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
