package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/cli"
	"bottle/pkg/lifecycle"
	"bottle/pkg/operator"
)

// patience is how long the engine has for a status line, which is to be there in
// 20 ms: it is for a bar that is drawn all the time, and the disk knows enough.
const patience = 10 * time.Millisecond

// statusLine prints one line of counts for tmux. Nothing in it is anybody's text.
func statusLine(c *cli.Call) error {
	m, err := operator.Open()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	counted := make(chan int, 1)
	go func() { counted <- m.Home.Undecided() }() // while the engine answers
	all, failed := lifecycle.List(ctx, m.Home, m.Engine)
	pending := <-counted
	late := errors.Is(failed, context.DeadlineExceeded)
	running, working, waiting := 0, 0, 0
	for _, b := range all {
		if late {
			b = lifecycle.Acting(b)
		}
		if b.Status == bottle.Running || b.Status == bottle.Degraded {
			running++
		}
		switch b.Activity {
		case bottle.Working:
			working++
		case bottle.Waiting:
			waiting++
		}
	}
	if failed != nil && !late {
		_, err = fmt.Fprintf(c.Out, "no engine  %d pending\n", pending)
		return err
	}
	_, err = fmt.Fprintf(c.Out, "%d running  %d working  %d waiting  %d pending\n", running, working, waiting, pending)
	return err
}
