package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"bottle/pkg/bottle"
	"bottle/pkg/cli"
	"bottle/pkg/lifecycle"
	"bottle/pkg/pane"
)

// bringupLog is state.BringupLog: the file is part of docs/STATE.md.
const bringupLog = "bringup.log"

// view is where a bring-up is shown: in the right pane, or on stderr.
type view struct {
	*progress
	ctx    context.Context
	c      *cli.Call
	log    string // of the bottle; empty: no pane is wanted
	inPane bool
}

func newView(ctx context.Context, c *cli.Call, m *lifecycle.Manager, slug string) *view {
	v := &view{progress: newProgress(c), ctx: ctx, c: c}
	if c.Bool("pane") {
		v.log = filepath.Join(m.Home.StateDir(slug), bringupLog)
	}
	return v
}

// step is told of each step. The log is there when the first one is told.
func (v *view) step(text string) {
	if v.log != "" {
		v.inPane = v.show("", v.log)
		v.log = ""
	}
	if !v.inPane {
		v.progress.step(text)
	}
}

func (v *view) show(slug, log string) bool {
	p, err := pane.Follow(log), error(nil)
	if slug != "" {
		p, err = pane.Own("bottle-attach", slug)
	}
	if err == nil {
		err = pane.Show(v.ctx, slug, p, slug != "" && v.c.Bool("focus"))
	}
	if err != nil && !errors.Is(err, pane.ErrNoTmux) {
		fmt.Fprintf(v.c.Err, "bottle-start: no pane: %s\n", cli.Inert(err.Error()))
	}
	return err == nil
}

func (v *view) end() {
	if !v.inPane {
		v.progress.end()
	}
}

// handOver has the pane that showed the bring-up show the session; without one
// the session is handed over here.
func (v *view) handOver(m *lifecycle.Manager, b bottle.Bottle) error {
	if wanted := v.inPane || v.log != ""; !wanted || !v.show(b.Slug, "") {
		return handOver(v.ctx, v.c, m, b)
	}
	_, err := fmt.Fprintln(v.c.Out, b.Slug)
	return err
}
