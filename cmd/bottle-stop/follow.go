package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"bottle/pkg/cli"
	"bottle/pkg/lifecycle"
	"bottle/pkg/pane"
)

// teardownLog is state.TeardownLog: the file is part of docs/STATE.md.
const teardownLog = "teardown.log"

// follow tells of the steps in the right pane, and else on stderr.
func follow(ctx context.Context, c *cli.Call, m *lifecycle.Manager, slug string) lifecycle.Say {
	plain := progress(c, slug)
	if !c.Bool("pane") {
		return plain
	}
	// The log is there, and empty, when the first step is told.
	show := sync.OnceValue(func() error {
		return pane.Show(ctx, "", pane.Follow(filepath.Join(m.Home.StateDir(slug), teardownLog)), false)
	})
	return func(step string) {
		err := show()
		if err == nil || plain == nil {
			return
		}
		if !errors.Is(err, pane.ErrNoTmux) {
			fmt.Fprintf(c.Err, "bottle-stop: no pane: %s\n", cli.Inert(err.Error()))
			show = func() error { return pane.ErrNoTmux } // said once
		}
		plain(step)
	}
}
