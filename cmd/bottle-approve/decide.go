package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"bottle/pkg/bottle"
	"bottle/pkg/cli"
	"bottle/pkg/decision"
	"bottle/pkg/operator"
	"bottle/pkg/proposal"
)

// answer is a line of the answer: what was decided.
type answer struct {
	ID   string `json:"id"`
	Slug string `json:"slug"`
	*bottle.Decision
	Diff string `json:"diff,omitempty"`
}

type printer struct{ *cli.Printer }

func newPrinter(c *cli.Call) (printer, error) {
	p, err := cli.NewPrinter(c.Out, c.String("output"), "ID", "BOTTLE", "VERDICT", "GRANT", "DETAIL")
	return printer{p}, err
}

func (p printer) decided(slug string, r decision.Result) error {
	grant := ""
	if r.Decision.Grant != nil {
		grant = r.Decision.Grant.ID
	}
	return p.Print(answer{r.ID, slug, r.Decision, r.Change.Diff}, r.ID, slug, string(r.Decision.Verdict), grant, r.Decision.Detail)
}

// decideAll decides targets, those of one bottle together.
func decideAll(ctx context.Context, c *cli.Call, d *decision.Decider, p printer, targets []operator.Target, terms proposal.Terms) error {
	// What one of them was told wrongly must stop all, before anything is done.
	orders := make([]decision.Order, len(targets))
	for i, t := range targets {
		var err error
		if orders[i], err = order(ctx, c, t, terms); err != nil {
			return err
		}
	}
	if err := confirmEdits(ctx, c, d, targets, orders); err != nil {
		return err
	}
	failed := operator.Failures{Done: "decided", Hint: "bottle-ls proposals shows what still waits"}
	for _, group := range groups(targets, orders) {
		if ctx.Err() != nil {
			failed.Add(ctx.Err(), len(group.orders))
			continue
		}
		for _, r := range d.Decide(ctx, group.slug, group.orders) {
			if r.Err != nil {
				err := operator.ExplainDecision(group.slug, r.Err)
				failed.Add(err, 1)
				if len(targets) > 1 {
					fmt.Fprintf(c.Err, "%s: %s: %s\n", name, r.ID, cli.Inert(err.Error()))
				}
				continue
			}
			if r.Save != nil {
				tell(c.Err, r.Save.File+":", r.Save.Diff)
			}
			if r.Decision.Detail != "" && cli.IsTerminal(c.Err) {
				fmt.Fprintf(c.Err, "%s: %s\n", r.ID, cli.Inert(r.Decision.Detail))
			}
			if err := p.decided(group.slug, r); err != nil {
				return err
			}
		}
	}
	if err := p.Flush(); err != nil {
		return err
	}
	return failed.Of(len(targets))
}

// group is what is decided at once.
type group struct {
	slug   string
	orders []decision.Order
}

// groups puts the orders of a bottle together, but each that is saved into a
// manifest alone: the next one is added to what it made.
func groups(targets []operator.Target, orders []decision.Order) []group {
	var all []group
	index := map[string]int{}
	for i, t := range targets {
		if n, known := index[t.Slug]; known && !orders[i].Save {
			all[n].orders = append(all[n].orders, orders[i])
			continue
		}
		if !orders[i].Save {
			index[t.Slug] = len(all)
		}
		all = append(all, group{t.Slug, orders[i : i+1 : i+1]})
	}
	return all
}

// confirmEdits shows what was edited or goes into a manifest, and asks where a
// person can be asked: the flags alone did not say what it would be.
func confirmEdits(ctx context.Context, c *cli.Call, d *decision.Decider, targets []operator.Target, orders []decision.Order) error {
	if !c.Bool("edit") || c.Bool("yes") || !c.CanAsk() {
		return nil
	}
	for i, o := range orders {
		r := d.Preview(targets[i].Slug, []decision.Order{o})[0]
		if r.Err != nil {
			return operator.ExplainDecision(targets[i].Slug, r.Err)
		}
		tell(c.Err, summary(targets[i].Proposal, o.As), r.Change.Diff+r.Change.Note)
		yes, err := c.Confirm(ctx, "approve?")
		if err != nil {
			return err
		}
		if !yes {
			return cli.Error{Code: cli.Declined, Msg: "nothing was decided"}
		}
	}
	return nil
}

func summary(p bottle.Proposal, as *bottle.Proposal) string {
	if as != nil {
		p = *as
	}
	return string(p.Kind) + "  " + proposal.Summary(p)
}

// tell shows text that an agent may have written, line by line.
func tell(w io.Writer, head, lines string) {
	fmt.Fprintln(w, cli.Inert(head))
	for line := range strings.Lines(lines) {
		fmt.Fprintln(w, "  "+cli.Inert(strings.TrimSuffix(line, "\n")))
	}
}
