package main

import (
	"context"
	"errors"
	"fmt"

	"bottle/pkg/bottle"
	"bottle/pkg/cli"
	"bottle/pkg/lifecycle"
	"bottle/pkg/operator"
)

// reap lists what nothing owns, asks, removes it, and tells of the bottles that
// it left alone and that need their operator.
func reap(ctx context.Context, c *cli.Call, m *lifecycle.Manager) error {
	if c.Bool("dry-run") {
		list, err := m.Orphans(ctx)
		if err != nil {
			return operator.Explain("", err)
		}
		return errors.Join(print(c, list), tellLost(ctx, c, m))
	}
	removed, err := m.Reap(ctx, func(list []lifecycle.Orphan) error { return agree(ctx, c, list) })
	if err := print(c, removed); err != nil {
		return err
	}
	if err != nil {
		return operator.Explain("", err)
	}
	return tellLost(ctx, c, m)
}

// print prints what is, or was, an orphan, a JSON line each.
func print(c *cli.Call, list []lifecycle.Orphan) error {
	for _, o := range list {
		if err := cli.WriteJSON(c.Out, o); err != nil {
			return err
		}
	}
	return nil
}

// agree shows what would go and asks.
func agree(ctx context.Context, c *cli.Call, list []lifecycle.Orphan) error {
	if c.Bool("yes") {
		return nil
	}
	p, err := cli.NewPrinter(c.Err, "table", "BOTTLE", "KIND", "NAME", "WHY")
	if err != nil {
		return err
	}
	for _, o := range list {
		if err := p.Print(o, o.Slug, o.Kind, o.Name, o.Reason); err != nil {
			return err
		}
	}
	if err := p.Flush(); err != nil {
		return err
	}
	yes, err := c.Confirm(ctx, "remove them?")
	if err == nil && !yes {
		err = cli.Error{Code: cli.Declined, Msg: "nothing was removed", Hint: "a volume may hold work: bottle-stop SLUG captures it"}
	}
	return err
}

// tellLost says what can be done for bottles that are no orphans and yet do not
// work.
func tellLost(ctx context.Context, c *cli.Call, m *lifecycle.Manager) error {
	bottles, err := lifecycle.List(ctx, m.Home, m.Engine)
	for _, b := range bottles {
		if b.Status == bottle.Lost || b.Status == "?" || b.Agent == "?" {
			fmt.Fprintf(c.Err, "%s is left alone: %s\n", b.Slug, cli.Inert(b.Reason))
		}
	}
	return operator.Explain("", err)
}
