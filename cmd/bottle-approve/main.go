// Command bottle-approve decides what bottles ask.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"bottle/pkg/bottle"
	"bottle/pkg/cli"
	"bottle/pkg/decision"
	"bottle/pkg/operator"
	"bottle/pkg/proposal"
)

func main() { os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, in io.Reader, out, errOut io.Writer) int {
	return app().Run(args, in, out, errOut)
}

const name = "bottle-approve"

func app() cli.App {
	return cli.App{
		Name: name, Usage: "approve or reject what agents ask for", ArgsUsage: "[ID…|-]",
		About: "IDs are those of bottle-ls proposals; \"-\" reads them, or its JSON lines, from\n" +
			"standard input. An approval is in force when the program ends. Without IDs, on a\n" +
			"terminal, it goes through all that waits.",
		Flags: []urfave.Flag{
			cli.OutputFlag(), cli.YesFlag(),
			&urfave.BoolFlag{Name: "reject", Usage: "reject instead"},
			&urfave.StringFlag{Name: "reason", Usage: fmt.Sprintf("tell the agent why: `TEXT` of at most %d bytes", decision.MaxReason)},
			&urfave.BoolFlag{Name: "once", Usage: "good for one request"},
			&urfave.Int64Flag{Name: "uses", Usage: "good for `N` requests", DefaultText: "any number"},
			&urfave.StringFlag{Name: "for", Usage: "good for so long: `DURATION` (10m, 36h), or life, the bottle's", DefaultText: "as long as it was asked for, or life"},
			&urfave.BoolFlag{Name: "save", Usage: "write the route into the bottle's manifest too"},
			&urfave.BoolFlag{Name: "edit", Aliases: []string{"e"}, Usage: "change what is asked for first, in $EDITOR"},
			&urfave.StringSliceFlag{Name: "path", Usage: "only below `PREFIX`; may be repeated"},
			&urfave.StringFlag{Name: "methods", Usage: "only these `METHODS` (GET,POST)"},
			&urfave.BoolFlag{Name: "no-credential", Usage: "let no credential of the host go with it"},
			&urfave.StringFlag{Name: "revoke", Usage: "end a `GRANT` at once"},
		},
		Examples: "bottle-approve\nbottle-approve --for 10m egress-block-abcdefghijklmnop\n" +
			"bottle-ls proposals | jq -r 'select(.kind==\"egress-block\").id' | bottle-approve --once -\n" +
			"bottle-approve --reject --reason 'use the mirror' egress-block-abcdefghijklmnop\nbottle-approve --revoke egress-block-abcdefghijklmnop",
		Exit:     "A rejection that worked is 0.",
		Action:   approve,
		Complete: cli.Completions{"": operator.CompleteProposals, "revoke": operator.CompleteGrants, "output": operator.CompleteFormats},
	}
}

func approve(c *cli.Call) error {
	ctx, cancel := operator.Context()
	defer cancel()
	terms, err := termsOf(c)
	if err != nil {
		return err
	}
	p, err := newPrinter(c)
	if err != nil {
		return err
	}
	m, err := operator.Open()
	if err != nil {
		return err
	}
	d := operator.Decider(m, name)
	defer operator.RenewDue(ctx, c, m)
	switch {
	case c.IsSet("revoke"):
		return revoke(ctx, c, d)
	case len(c.Args) == 0 && c.CanAsk():
		for _, flag := range []string{"reject", "reason", "save", "edit", "path", "methods"} {
			if c.IsSet(flag) { // its keys say what becomes of each
				return cli.Error{Code: cli.Usage, Msg: fmt.Sprintf("--%s is for proposals that are named", flag), Hint: "name them, or go through all that waits without it"}
			}
		}
		q := queue{c: c, d: d, terms: terms, p: p}
		return q.run(ctx)
	case len(c.Args) == 0:
		return cli.Error{Code: cli.Usage, Msg: "it was told no proposal", Hint: "name one, or read them from standard input: bottle-ls proposals | bottle-approve -"}
	}
	targets, err := operator.Targets(ctx, c, m.Home)
	if err != nil {
		return err
	}
	return decideAll(ctx, c, d, p, targets, terms)
}

// termsOf reads the flags that say how it is approved.
func termsOf(c *cli.Call) (proposal.Terms, error) {
	t := proposal.Terms{Uses: c.Int64("uses"), NoCredential: c.Bool("no-credential")}
	usage := func(format string, args ...any) (proposal.Terms, error) {
		return t, cli.Error{Code: cli.Usage, Msg: fmt.Sprintf(format, args...), Hint: "run bottle-approve --help"}
	}
	if err := decision.CheckReason(c.String("reason")); err != nil {
		return t, operator.ExplainDecision("", err)
	}
	if c.Bool("once") {
		if c.IsSet("uses") && t.Uses != 1 {
			return usage("--once and --uses %d say two things", t.Uses)
		}
		t.Uses = 1
	}
	if c.IsSet("uses") && (t.Uses < 1 || t.Uses > 1_000_000) {
		return usage("--uses takes a number from 1 to 1000000")
	}
	if c.IsSet("for") {
		d, err := lasting(c.String("for"))
		if err != nil {
			return t, err
		}
		t.For = &d
	}
	if c.Bool("reject") {
		for _, flag := range []string{"once", "uses", "for", "save", "edit", "path", "methods", "no-credential"} {
			if c.IsSet(flag) {
				return usage("--reject and --%s say two things", flag)
			}
		}
	}
	if c.Bool("save") && (t.Uses > 0 || t.For != nil && *t.For > 0) {
		return usage("what ends cannot be saved: --save goes with none of --once, --uses and --for")
	}
	if c.IsSet("revoke") && len(c.Args) > 0 {
		return usage("--revoke takes one grant, and no proposals beside it")
	}
	return t, nil
}

// lasting reads how long an approval is good for; 0 is the bottle's life. Who asks
// for no time at all is not given all of it.
func lasting(text string) (time.Duration, error) {
	if text == "life" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second || d > proposal.MaxDuration {
		return 0, cli.Error{Code: cli.Usage, Msg: fmt.Sprintf("--for %q is no time from 1s to %s", text, bottle.Span(proposal.MaxDuration)),
			Hint: "write --for 10m, --for 36h, or --for life for the bottle's life"}
	}
	return d, nil
}

// order is what the flags want of one proposal.
func order(ctx context.Context, c *cli.Call, t operator.Target, terms proposal.Terms) (decision.Order, error) {
	o := decision.Order{ID: t.ID, Reject: c.Bool("reject"), Reason: c.String("reason"), Terms: terms, Save: c.Bool("save")}
	if o.Save && terms.For == nil && t.Egress != nil {
		life := time.Duration(0) // a route of the manifest has no end
		o.Terms.For = &life
	}
	p, changed := t.Proposal, false
	if c.Bool("edit") {
		edited, err := edit(ctx, c, p)
		if err != nil {
			return o, err
		}
		p, changed = edited, edited.ID != p.ID
	}
	paths, methods := c.StringSlice("path"), split(c.String("methods"))
	if len(paths)+len(methods) > 0 {
		narrow, err := proposal.Narrow(p, paths, methods)
		if err != nil {
			return o, cli.Error{Code: cli.Usage, Msg: fmt.Sprintf("%s: %v", t.ID, err), Hint: "bottle-ls proposals shows what is asked for; --edit may widen it"}
		}
		p, changed = narrow, changed || narrow.ID != t.ID
	}
	if changed {
		o.As = &p
	}
	return o, nil
}

func split(list string) []string {
	return slices.DeleteFunc(strings.Split(list, ","), func(s string) bool { return strings.TrimSpace(s) == "" })
}

// revoke ends a grant.
func revoke(ctx context.Context, c *cli.Call, d *decision.Decider) error {
	slug, id := operator.ParseWord(c.String("revoke"))
	slugs := []string{slug}
	if slug == "" {
		all, err := d.Home.Slugs()
		if err != nil {
			return err
		}
		slugs = slices.DeleteFunc(all, func(s string) bool { return !d.HasGrant(s, id) })
	}
	switch len(slugs) {
	case 0:
		return cli.Error{Code: cli.NotFound, Msg: fmt.Sprintf("no grant %q", c.String("revoke")), Hint: "run bottle-ls grants"}
	case 1:
		return operator.ExplainDecision(slugs[0], d.Revoke(ctx, slugs[0], id, c.String("reason")))
	}
	return cli.Error{Code: cli.Usage, Msg: fmt.Sprintf("%q is a grant of several bottles", id), Hint: "write SLUG/GRANT"}
}
