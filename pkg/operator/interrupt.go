package operator

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"bottle/pkg/cli"
)

// patience is after how long a program that is interrupted and clears up says so.
const patience = 2 * time.Second

// Context ends at the first SIGINT, SIGTERM or SIGHUP: what was begun is cleared
// up. A second SIGINT or SIGTERM ends the program at once, whatever it waits for:
// then the next one finds what is left, as after a kill.
func Context() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	over := make(chan struct{})
	go func() {
		select {
		case <-signals:
			cancel()
		case <-over:
			return
		}
		again(signals, over)
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel()
		select {
		case <-over:
		default:
			close(over)
		}
	}
}

// told keeps programs that have two contexts from saying it twice.
var told sync.Once

// again waits for the second signal, or for the end of what was interrupted.
func again(signals <-chan os.Signal, over <-chan struct{}) {
	name := filepath.Base(os.Args[0])
	late := time.After(patience)
	for {
		select {
		case <-over:
			return
		case <-late:
			told.Do(func() {
				fmt.Fprintf(os.Stderr, "%s: interrupted, and clearing up; interrupt once more to leave it as it is\n", name)
			})
		case s := <-signals:
			if s != syscall.SIGHUP { // a terminal that goes away says so more than once
				fmt.Fprintf(os.Stderr, "%s: interrupted again: what was begun is left as it is\nhint: bottle-ls shows what there is, bottle-stop and bottle-stop --orphans clear it up\n", name)
				os.Exit(cli.Interrupted)
			}
		}
	}
}
