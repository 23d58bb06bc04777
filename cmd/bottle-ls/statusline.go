package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
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
	all, failed := lifecycle.List(ctx, m.Home, m.Engine)
	late := errors.Is(failed, context.DeadlineExceeded)
	running, working, waiting, pending := 0, 0, 0, 0
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
		if bottle.CheckSlug(b.Slug) == nil {
			pending += undecided(m.Home.StateDir(b.Slug))
		}
	}
	if failed != nil && !late {
		_, err = fmt.Fprintf(c.Out, "no engine  %d pending\n", pending)
		return err
	}
	_, err = fmt.Fprintf(c.Out, "%d running  %d working  %d waiting  %d pending\n", running, working, waiting, pending)
	return err
}

// maxNames bounds how much of a directory that a sidecar fills is looked at.
const maxNames = 10_000

// undecided counts a bottle's proposals that have no decision, by their names
// alone.
func undecided(stateDir string) int {
	root, err := os.OpenRoot(stateDir)
	if err != nil {
		return 0
	}
	defer root.Close()
	n := 0
	for _, source := range names(root, ".") {
		decided := map[string]bool{}
		for _, name := range names(root, source+"/in/decisions") {
			decided[name] = true
		}
		for _, name := range names(root, source+"/out/proposals") {
			if strings.HasSuffix(name, ".json") && !strings.HasPrefix(name, ".") && !decided[name] {
				n++
			}
		}
	}
	return n
}

// names lists a directory; what is none, or leads out of root, has none.
func names(root *os.Root, dir string) []string {
	info, err := root.Lstat(dir)
	if err != nil || !info.IsDir() { // opening a pipe would wait
		return nil
	}
	f, err := root.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	found, err := f.ReadDir(maxNames)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	var all []string
	for _, e := range found {
		if e.Type()&(fs.ModeSymlink|fs.ModeNamedPipe) == 0 {
			all = append(all, e.Name())
		}
	}
	return all
}
