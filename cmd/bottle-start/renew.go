package main

import (
	"context"
	"fmt"

	"bottle/pkg/bottle"
	"bottle/pkg/cli"
	"bottle/pkg/lifecycle"
	"bottle/pkg/operator"
)

// checkRenew checks the flags of a renewal: it has none but what says whom.
func checkRenew(c *cli.Call) error {
	for _, flag := range c.FlagNames() {
		if flag != "renew" && flag != "yes" && flag != "y" {
			return cli.Error{Code: cli.Usage, Msg: "--renew is for bottles that live, and stands alone", Hint: "use bottle-start --renew SLUG…"}
		}
	}
	if len(c.Args) == 0 {
		return cli.Error{Code: cli.Usage, Msg: "it was told no bottle", Hint: "name one, or read them from standard input: bottle-start --renew -"}
	}
	return nil
}

// renew hands the credentials of bottles over anew, one bottle after another:
// commands may ask on the terminal, once each.
func renew(ctx context.Context, c *cli.Call, m *lifecycle.Manager) error {
	list, failed := lifecycle.List(ctx, m.Home, m.Engine)
	slugs, err := operator.Slugs(ctx, c, list)
	if err == nil {
		err = operator.Explain("", failed)
	}
	if err != nil {
		return err
	}
	var faults int
	once := operator.Resolver(c).Once()
	for _, slug := range slugs {
		n, err := operator.Renew(ctx, m, slug, once)
		if n > 0 || err == nil {
			fmt.Fprintf(c.Err, "%s: %d values handed over\n", slug, n)
		}
		switch {
		case ctx.Err() != nil:
			return operator.Explain(slug, ctx.Err())
		case err != nil && len(slugs) == 1:
			return operator.Explain(slug, err)
		case err != nil:
			faults++
			fmt.Fprintf(c.Err, "bottle-start: %s\n", cli.Inert(operator.Explain(slug, err).Error()))
		}
	}
	tellDegraded(ctx, c, m, slugs)
	if faults > 0 {
		return cli.Error{Code: cli.SomeFailed, Msg: fmt.Sprintf("%d of %d bottles could not be renewed", faults, len(slugs)), Hint: "what could not be goes on with its old values"}
	}
	return nil
}

// tellDegraded tells what values do not mend.
func tellDegraded(ctx context.Context, c *cli.Call, m *lifecycle.Manager, slugs []string) {
	list, err := lifecycle.List(ctx, m.Home, m.Engine)
	if err != nil {
		return
	}
	wanted := map[string]bool{}
	for _, slug := range slugs {
		wanted[slug] = true
	}
	for _, b := range list {
		if wanted[b.Slug] && b.Status == bottle.Degraded {
			fmt.Fprintf(c.Err, "%s is degraded: %s\n", b.Slug, cli.Inert(b.Reason))
		}
	}
}
