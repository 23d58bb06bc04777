package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"golang.org/x/sync/errgroup"

	"bottle/pkg/bottle"
	"bottle/pkg/cli"
	"bottle/pkg/lifecycle"
	"bottle/pkg/manifest"
	"bottle/pkg/operator"
	"bottle/pkg/tokenref"
)

// several says whether the arguments are a list of agents.
func several(args []string) bool { return len(args) > 1 || len(args) == 1 && args[0] == "-" }

// checkSeveral refuses flags that are for one bottle.
func checkSeveral(c *cli.Call) error {
	switch {
	case c.Bool("dry-run"):
		return cli.Error{Code: cli.Usage, Msg: "--dry-run shows one agent at a time", Hint: "run bottle-start --dry-run once for each"}
	case !c.Bool("yes") || !c.Bool("detach"):
		return cli.Error{Code: cli.Usage, Msg: "several agents are started without a question and without a view", Hint: "add --yes --detach"}
	case len(c.Args) > 1 && slices.Contains(c.Args, "-"):
		return cli.Error{Code: cli.Usage, Msg: "- is all agents: those of standard input", Hint: "leave the others out, or put them into its lines"}
	case c.String("name") != "":
		return cli.Error{Code: cli.Usage, Msg: "--name names one bottle", Hint: "leave it out"}
	case c.Args[0] == "-" && c.String("task") == "-":
		return cli.Error{Code: cli.Usage, Msg: "standard input is the list of agents", Hint: "write AGENT<TAB>TASK lines, or give --task TEXT"}
	}
	return nil
}

// startSeveral starts bottles side by side. What can be known to be wrong with
// one of them is the end of it before the first is begun.
func startSeveral(ctx context.Context, c *cli.Call, m *lifecycle.Manager) error {
	orders, err := readOrders(ctx, c)
	if err != nil || len(orders) == 0 {
		return err
	}
	specs, err := specifyAll(ctx, c, m, orders)
	if err != nil {
		return err
	}
	if _, err := m.Host(ctx); err != nil {
		return operator.Explain("", err)
	}
	for _, spec := range specs {
		if _, err := preflight(ctx, c, spec); err != nil {
			return err
		}
	}
	return upAll(ctx, c, m, specs)
}

// specifyAll is specify for each order. An agent is read once, and a reference to
// a secret resolved once, when all agents are known to be good.
func specifyAll(ctx context.Context, c *cli.Call, m *lifecycle.Manager, orders []order) ([]lifecycle.Spec, error) {
	for _, o := range orders {
		if _, err := manifest.Load(m.Home.Dir, o.agent); err != nil {
			return nil, operator.Explain(o.agent, err)
		}
	}
	once := tokenref.Resolver{Lookup: os.LookupEnv}.Once()
	known := map[string]lifecycle.Spec{}
	specs := make([]lifecycle.Spec, len(orders))
	for i, o := range orders {
		spec, ok := known[o.agent]
		if !ok {
			var err error
			if spec, err = specify(ctx, c, m, o.agent, once); err != nil {
				return nil, err
			}
			known[o.agent] = spec
		}
		spec.Task = o.task
		specs[i] = spec
	}
	return specs, nil
}

// sideBySide bounds how many bring-ups run at once: the engine is the bottleneck.
const sideBySide = 4

// started is what became of one.
type started struct {
	bottle bottle.Bottle
	err    error
}

// upAll brings the bottles up, and tells of each in the order in which they were
// named. When ctx ends, those that are up stay, those half made are taken down,
// and no more are begun.
func upAll(ctx context.Context, c *cli.Call, m *lifecycle.Manager, specs []lifecycle.Spec) error {
	signal.Ignore(syscall.SIGPIPE) // a reader that goes away ends no bring-up half-way
	done := make([]chan started, len(specs))
	for i := range done {
		done[i] = make(chan started, 1)
	}
	var g errgroup.Group
	g.SetLimit(sideBySide)
	go func() {
		for i, spec := range specs {
			g.Go(func() error {
				done[i] <- up(ctx, m, spec, steps(c, which(specs, i)))
				return nil
			})
		}
	}()
	const look = "bottle-ls shows those that are up"
	failed := operator.Failures{Done: "started", Hint: look}
	var unsaid error
	for i := range specs {
		s := <-done[i]
		if s.err != nil {
			failed.Add(tellFailed(c, s, which(specs, i)), 1)
		} else if err := printSlug(c, m, s.bottle); err != nil {
			unsaid = cli.Error{Code: cli.Failed, Msg: "cannot print the slugs: " + err.Error(), Hint: look}
		}
	}
	operator.RenewDue(ctx, c, m)
	return cmp.Or(failed.Of(len(specs)), unsaid)
}

func up(ctx context.Context, m *lifecycle.Manager, spec lifecycle.Spec, say lifecycle.Say) started {
	if err := ctx.Err(); err != nil {
		return started{err: err}
	}
	b, err := m.Up(ctx, spec, say)
	return started{b, err}
}

// which names one of several, of which more may be of one agent.
func which(specs []lifecycle.Spec, i int) string {
	return fmt.Sprintf("%s (%d of %d)", specs[i].Manifest.Agent, i+1, len(specs))
}

// steps tells of the steps of one, where somebody looks on.
func steps(c *cli.Call, who string) lifecycle.Say {
	if !cli.IsTerminal(c.Err) {
		return nil
	}
	return func(step string) { fmt.Fprintf(c.Err, "%s: %s\n", who, cli.Inert(step)) }
}

// tellFailed tells what kept one from being started. That the operator interrupted
// it is no news.
func tellFailed(c *cli.Call, s started, who string) error {
	err := notStarted(c, s.bottle, s.err)
	var said cli.Error
	if !errors.As(err, &said) || said.Code != cli.Interrupted {
		cli.Tell(c.Err, "bottle-start: "+who, err)
	}
	return err
}
