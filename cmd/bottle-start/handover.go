package main

import (
	"context"
	"fmt"

	"bottle/pkg/bottle"
	"bottle/pkg/cli"
	"bottle/pkg/lifecycle"
	"bottle/pkg/operator"
)

// printSlug hands a bottle over to whoever reads slugs.
func printSlug(c *cli.Call, m *lifecycle.Manager, b bottle.Bottle) error {
	if _, err := fmt.Fprintln(c.Out, b.Slug); err != nil {
		return err
	}
	operator.TellPushes(c.Err, b.Slug, m.Pushes(b.Slug))
	return nil
}

// handOver gives the bottle to whoever asked for it: its slug, or its session.
func handOver(ctx context.Context, c *cli.Call, m *lifecycle.Manager, b bottle.Bottle) error {
	attached := cli.IsTerminal(c.In) && cli.IsTerminal(c.Out) && !c.Bool("detach")
	if !attached {
		if err := printSlug(c, m, b); err != nil {
			return err
		}
		if !c.Bool("rm") {
			operator.RenewDue(ctx, c, m)
			return nil
		}
	}
	// The signals that end a view are pkg/session's: it has a terminal to put back.
	ctx = context.WithoutCancel(ctx)
	outcome, err := follow(ctx, c, m, b, attached)
	switch {
	case c.Bool("rm") && (outcome.Ended || !attached):
		if derr := stopAfter(ctx, c, m, b.Slug); err == nil {
			err = derr
		}
	case outcome.Ended:
		fmt.Fprintf(c.Err, "the agent of %s ended with exit code %d: bottle-attach %s starts it again, bottle-stop %s keeps its work and clears up\n", b.Slug, outcome.Code, b.Slug, b.Slug)
	default:
		fmt.Fprintf(c.Err, "%s goes on: bottle-attach %s returns to it, bottle-stop %s stops it\n", b.Slug, b.Slug, b.Slug)
		if attached {
			operator.TellPushes(c.Err, b.Slug, m.Pushes(b.Slug))
		}
	}
	switch {
	case err != nil:
		return operator.Explain(b.Slug, err)
	case c.Bool("rm") && outcome.Code != 0:
		return cli.Status(outcome.Code)
	}
	return nil
}

// stopAfter takes down what --rm does not want to stay.
func stopAfter(ctx context.Context, c *cli.Call, m *lifecycle.Manager, slug string) error {
	took, err := m.Down(context.WithoutCancel(ctx), slug, lifecycle.DownOptions{}, nil)
	operator.TellNotes(c.Err, took)
	operator.TellFetch(c.Err, took)
	return err
}
