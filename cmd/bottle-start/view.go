package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"bottle/pkg/bottle"
	"bottle/pkg/cli"
	"bottle/pkg/lifecycle"
	"bottle/pkg/operator"
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

// newView gives the bottle its slug where the pane must know its log.
func newView(ctx context.Context, c *cli.Call, m *lifecycle.Manager, spec *lifecycle.Spec) *view {
	v := &view{progress: newProgress(c), ctx: ctx, c: c}
	if !c.Bool("pane") {
		return v
	}
	if spec.Slug == "" {
		spec.Slug = lifecycle.NewSlug(spec.Manifest.Agent)
	}
	v.log = filepath.Join(m.Home.StateDir(spec.Slug), bringupLog)
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

// handOver has the pane that showed the bring-up show the session.
func (v *view) handOver(b bottle.Bottle) error {
	if _, err := fmt.Fprintln(v.c.Out, b.Slug); err != nil {
		return operator.Explain(b.Slug, err)
	}
	if !v.show(b.Slug, "") {
		fmt.Fprintf(v.c.Err, "%s is up: bottle-attach %s shows it\n", b.Slug, b.Slug)
	}
	return nil
}
