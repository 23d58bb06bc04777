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

// together is how close two signals are one interrupt: timeout(1) signals the
// program, and then the group that it is in.
const together = 100 * time.Millisecond

// Context ends at the first SIGINT, SIGTERM or SIGHUP: what was begun is cleared
// up. A second SIGINT or SIGTERM ends the program at once, whatever it waits for:
// then the next one finds what is left, as after a kill.
func Context() (context.Context, context.CancelFunc) {
	name := filepath.Base(os.Args[0])
	return interruptible(func(line string) { fmt.Fprintf(os.Stderr, "%s: %s\n", name, line) })
}

// Reading is the Context of what begins nothing: nothing is said of what is left.
func Reading() (context.Context, context.CancelFunc) {
	return interruptible(func(string) {})
}

func interruptible(say func(line string)) (context.Context, context.CancelFunc) {
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
		if again(signals, over, say) {
			os.Exit(cli.Interrupted)
		}
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

// again waits for the second signal (true), or for the end of what was interrupted.
func again(signals <-chan os.Signal, over <-chan struct{}, say func(line string)) bool {
	first, late := time.Now(), time.After(patience)
	for {
		select {
		case <-over:
			return false
		case <-late:
			told.Do(func() { say("interrupted, and clearing up; interrupt once more to leave it as it is") })
		case s := <-signals:
			if s == syscall.SIGHUP || time.Since(first) < together { // a terminal that goes away says so more than once
				continue
			}
			say("interrupted again: what was begun is left as it is\nhint: bottle-ls shows what there is, bottle-stop and bottle-stop --orphans clear it up")
			return true
		}
	}
}
