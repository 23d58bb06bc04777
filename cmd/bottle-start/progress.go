package main

import (
	"fmt"
	"io"
	"time"

	"bottle/pkg/cli"
)

// progress shows steps on stderr, where that is a terminal: one line, written
// over by the next.
type progress struct {
	w       io.Writer
	started time.Time
}

func newProgress(c *cli.Call) *progress {
	if !cli.IsTerminal(c.Err) {
		return &progress{w: io.Discard, started: time.Now()}
	}
	return &progress{w: c.Err, started: time.Now()}
}

func (p *progress) step(text string) {
	fmt.Fprintf(p.w, "\r\x1b[K%5.1fs  %s", time.Since(p.started).Seconds(), cli.Fit(p.w, cli.Inert(text), len("999.9s  ")+1))
}

func (p *progress) end() { fmt.Fprint(p.w, "\r\x1b[K") }
