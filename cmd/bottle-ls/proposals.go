package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/cli"
	"bottle/pkg/decision"
	"bottle/pkg/operator"
)

// open opens the home and what decides in it, and looks after what a killed
// program left.
func open(ctx context.Context, errOut io.Writer) (*decision.Decider, error) {
	m, err := operator.Open()
	if err != nil {
		return nil, err
	}
	d := operator.Decider(m, "bottle-ls")
	slugs, err := m.Home.Slugs()
	for _, slug := range slugs {
		if err := d.LookAfter(ctx, slug); err != nil {
			complain(errOut, fmt.Errorf("%s: %w", slug, err))
		}
	}
	return d, err
}

func complain(w io.Writer, err error) {
	fmt.Fprintf(w, "bottle-ls: %s\n", cli.Inert(err.Error()))
}

var proposalColumns = []string{"ID", "BOTTLE", "AGENT", "KIND", "STATUS", "AGE", "SUMMARY", "JUSTIFICATION"}

func proposalCells(l operator.Line) []string {
	return []string{l.ID, l.Slug, l.Agent, string(l.Kind), l.State(), age(l.Age), l.Summary, l.Justification}
}

func age(seconds int64) string { return bottle.Span(time.Duration(seconds) * time.Second) }

func listProposals(c *cli.Call) error {
	ctx, cancel := operator.Reading()
	defer cancel()
	debug.SetGCPercent(400)                   // it ends before a collection pays
	out := bufio.NewWriterSize(c.Out, 64<<10) // there may be thousands
	p, err := cli.NewPrinter(out, c.String("output"), proposalColumns...)
	if err != nil {
		return err
	}
	p.For(c.Out)
	d, err := open(ctx, c.Err)
	if err != nil {
		return err
	}
	lines, bad := proposals(d, c.Bool("all"))
	for _, l := range lines {
		if err := p.Print(l, proposalCells(l)...); err != nil {
			return err
		}
	}
	if err := errors.Join(p.Flush(), out.Flush()); err != nil {
		return err
	}
	for _, err := range bad {
		complain(c.Err, err)
	}
	return nil
}

// proposals are all that wait, over all bottles, in the order of operator.Filed.
func proposals(d *decision.Decider, all bool) ([]operator.Line, []error) {
	found, bad := operator.Filed(d.Home, all)
	return operator.Lines(d, found, time.Now()), bad
}

func listGrants(c *cli.Call) error {
	ctx, cancel := operator.Reading()
	defer cancel()
	p, err := cli.NewPrinter(c.Out, c.String("output"), "GRANT", "BOTTLE", "LEFT", "USED", "WHAT")
	if err != nil {
		return err
	}
	d, err := open(ctx, c.Err)
	if err != nil {
		return err
	}
	slugs, err := d.Home.Slugs()
	if err != nil {
		return err
	}
	for _, slug := range slugs {
		grants, err := d.Grants(slug, time.Now(), c.Bool("all"))
		if err != nil {
			complain(c.Err, fmt.Errorf("%s: %w", slug, err))
			continue
		}
		for _, g := range grants {
			if err := p.Print(g, g.ID, g.Slug, left(g), used(g), g.Summary); err != nil {
				return err
			}
		}
	}
	return p.Flush()
}

func left(g decision.Held) string {
	switch {
	case g.Over:
		return "over"
	case g.Left == nil:
		return "bottle's life"
	}
	return age(*g.Left)
}

func used(g decision.Held) string {
	if g.Uses == 0 {
		return "-"
	}
	return fmt.Sprintf("%d of %d", g.Used, g.Uses)
}
