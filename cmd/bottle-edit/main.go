// Command bottle-edit opens a living bottle's policy in the operator's editor.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/diff"
	urfave "github.com/urfave/cli/v2"

	"bottle/pkg/bottle"
	"bottle/pkg/cli"
	"bottle/pkg/decision"
	"bottle/pkg/lifecycle"
	"bottle/pkg/operator"
	"bottle/pkg/pipelock"
	"bottle/pkg/policy"
	"bottle/pkg/state"
)

func main() { os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, in io.Reader, out, errOut io.Writer) int {
	return app().Run(args, in, out, errOut)
}

func app() cli.App {
	return cli.App{
		Name: "bottle-edit", Usage: "change a living bottle's policy", ArgsUsage: "SLUG [routes|pipelock]",
		About: "Opens the policy in $EDITOR, shows what changes, asks, and puts it in force. A\n" +
			"mistake opens the editor again, on a terminal. It prints the difference.\n" +
			"What was edited and is not put in force is kept, in a file that is told.\n" +
			"\"pipelock\" is the file of the bottle's pipelock, which checks it itself before it is used.\n" +
			fmt.Sprintf("A policy has at most %d MiB.", decision.MaxPolicy>>20),
		Flags:    []urfave.Flag{cli.YesFlag()},
		Examples: "bottle-edit dev-k3zq routes\nEDITOR='sed -i s/GET/POST/' bottle-edit --yes dev-k3zq",
		Action:   edit,
		Complete: cli.Completions{"": operator.First(operator.CompleteSlugs, operator.CompleteEdits)},
	}
}

func edit(c *cli.Call) error {
	if len(c.Args) < 1 || len(c.Args) > 2 || len(c.Args) == 2 && c.Args[1] != "routes" && c.Args[1] != "pipelock" {
		return cli.Error{Code: cli.Usage, Msg: "it takes a bottle, and what of it to change", Hint: "write bottle-edit SLUG routes, or pipelock"}
	}
	if !c.Bool("yes") && !c.CanAsk() {
		return cli.Error{Code: cli.Usage, Msg: "nobody can be asked whether the change is meant: this is no terminal", Hint: "say --yes"}
	}
	ctx, cancel := operator.Context()
	defer cancel()
	m, err := operator.Open()
	if err != nil {
		return err
	}
	slug := c.Args[0]
	if err := living(ctx, m, slug); err != nil {
		return err
	}
	d := operator.Decider(m, "bottle-edit")
	defer operator.RenewDue(ctx, c, m)
	if err := d.LookAfter(ctx, slug); err != nil {
		return operator.ExplainDecision(slug, err)
	}
	if len(c.Args) == 2 && c.Args[1] == "pipelock" {
		return editPipelock(ctx, c, m, d, slug)
	}
	old, err := d.Text(slug)
	if err != nil {
		return operator.ExplainDecision(slug, err)
	}
	p, err := change(ctx, c, d, slug, old)
	if err == nil {
		tellLacks(c, m, slug, old, p)
	}
	return err
}

// change returns the policy that is in force then.
func change(ctx context.Context, c *cli.Call, d *decision.Decider, slug string, old []byte) (p policy.Policy, err error) {
	check := func(text []byte) (err error) {
		if p, err = policy.Parse(text); err == nil && len(policy.Render(p)) > decision.MaxPolicy {
			err = fmt.Errorf("the policy has more than %d bytes", decision.MaxPolicy)
		}
		return err
	}
	changed, err := operator.Edit(ctx, c.Streams, "routes.yaml", old, check, func([]byte) error {
		// What is enforced is what was understood, not what was typed.
		delta := string(diff.Diff("in force", old, "edited", policy.Render(p)))
		if delta == "" {
			tellUnchanged(c)
			return nil
		}
		for _, host := range wildcards(p) {
			fmt.Fprintf(c.Err, "note: %s matches no host: hosts are matched exactly\n", cli.Inert(host))
		}
		if err := confirm(ctx, c, delta); err != nil {
			return err
		}
		return operator.ExplainDecision(slug, d.Edit(ctx, slug, old, p, delta))
	})
	if err == nil && !changed {
		tellUnchanged(c)
	}
	return p, err
}

func tellUnchanged(c *cli.Call) { fmt.Fprintln(c.Err, "nothing was changed") }

// wildcards are hosts of a policy that look as if they matched more than one.
func wildcards(p policy.Policy) (hosts []string) {
	for _, r := range p.Routes {
		if r.Wildcard() {
			hosts = append(hosts, r.Host)
		}
	}
	for _, g := range p.Grants {
		if g.Wildcard() {
			hosts = append(hosts, g.Host)
		}
	}
	return hosts
}

// tellLacks says what of a new policy the bottle's pipelock does not go along with.
func tellLacks(c *cli.Call, m *lifecycle.Manager, slug string, old []byte, p policy.Policy) {
	text, err := m.PipelockFile(slug)
	if err != nil || text == nil {
		return
	}
	before, err := policy.Parse(old)
	if err != nil { // the edit mended it
		before = policy.Policy{}
	}
	for _, line := range pipelock.Lacks(text, before, p, time.Now()) {
		fmt.Fprintf(c.Err, "note: %s (bottle-edit %s pipelock)\n", cli.Inert(line), slug)
	}
}

// editPipelock changes the file of a bottle's pipelock.
func editPipelock(ctx context.Context, c *cli.Call, m *lifecycle.Manager, d *decision.Decider, slug string) error {
	old, err := m.PipelockFile(slug)
	switch {
	case err != nil:
		return operator.ExplainDecision(slug, err)
	case old == nil:
		return cli.Error{Code: cli.Failed, Msg: slug + " runs no pipelock", Hint: "name its image as pipelock: {image: …} in the bottle's manifest, and start another"}
	}
	changed, err := operator.Edit(ctx, c.Streams, pipelock.File, old, pipelock.Check, func(text []byte) error {
		delta := string(diff.Diff("in force", old, "edited", text))
		if err := confirm(ctx, c, delta); err != nil {
			return err
		}
		set := func(ctx context.Context) error { return m.SetPipelock(ctx, slug, old, text) }
		return operator.ExplainDecision(slug, d.EditPipelock(ctx, slug, text, set, delta))
	})
	if err == nil && !changed {
		tellUnchanged(c)
	}
	return err
}

// confirm shows a difference, and asks whether it is meant.
func confirm(ctx context.Context, c *cli.Call, delta string) error {
	for line := range strings.Lines(delta) {
		fmt.Fprintln(c.Out, cli.Inert(strings.TrimSuffix(line, "\n")))
	}
	if c.Bool("yes") {
		return nil
	}
	yes, err := c.Confirm(ctx, "put it in force?")
	if err == nil && !yes {
		err = cli.Error{Code: cli.Declined, Msg: "nothing was changed"}
	}
	return err
}

// living refuses a bottle whose egress is not there to take a policy.
func living(ctx context.Context, m *lifecycle.Manager, slug string) error {
	if _, err := m.Home.Bottle(slug); err != nil {
		return operator.Explain(slug, err)
	}
	bottles, err := lifecycle.List(ctx, m.Home, m.Engine)
	if err != nil {
		return operator.Explain(slug, err)
	}
	for _, b := range bottles {
		if b.Slug != slug {
			continue
		}
		for _, service := range b.Services {
			if service == "egress" {
				return nil
			}
		}
		return notUp(b)
	}
	return operator.Explain(slug, state.ErrNotFound)
}

func notUp(b bottle.Bottle) error {
	why := string(b.Status)
	if b.Reason != "" {
		why += ": " + b.Reason
	}
	return cli.Error{Code: cli.Failed, Msg: fmt.Sprintf("the egress of %s does not run (%s)", b.Slug, why), Hint: "there is no policy in force to change"}
}
