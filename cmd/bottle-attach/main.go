// Command bottle-attach shows a bottle's living session, prints its screen, or
// runs a command in the bottle.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	urfave "github.com/urfave/cli/v2"

	"bottle/pkg/cli"
	"bottle/pkg/engine"
	"bottle/pkg/lifecycle"
	"bottle/pkg/operator"
	"bottle/pkg/pane"
	"bottle/pkg/plan"
	"bottle/pkg/session"
	"bottle/pkg/state"
)

func main() { os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, in io.Reader, out, errOut io.Writer) int {
	return app().Run(args, in, out, errOut)
}

func app() cli.App {
	return cli.App{
		Name: "bottle-attach", Usage: "open a bottle's session, or run a command in the bottle", ArgsUsage: "[SLUG [TEXT|-]] [-- CMD…]",
		About: "Shows the agent's living session on this terminal until the agent ends or the\n" +
			"detach keys are pressed; the agent goes on when the view ends. The wheel and\n" +
			"PageUp scroll back, any key returns. What is selected with the mouse, by dragging or\n" +
			"by two or three clicks, is on the clipboard. Without SLUG it takes the one bottle that runs,\n" +
			"or asks which. Where the session has ended, it starts one, which goes on with the\n" +
			"agent's last conversation. With --send it types TEXT (or standard input) into the\n" +
			"session, submits it and ends. With --forward it leads ports of this machine's loopback\n" +
			"to servers in the bottle, for as long as it runs; nothing else opens by it. With CMD\n" +
			"it runs that beside the agent, with a terminal where this has one, and in pipes\n" +
			"otherwise.",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "detach-keys", Value: session.DefaultDetachKeys,
				Usage: "`KEYS` that leave the session: characters or ctrl-X between commas, or none"},
			&urfave.BoolFlag{Name: "pane", Usage: "in tmux: show it in the window's right pane, and end; elsewhere as without"},
			&urfave.BoolFlag{Name: "focus", Usage: "with --pane: move the keyboard there"},
			&urfave.BoolFlag{Name: "send", Usage: "type the argument behind SLUG, or standard input, into the session"},
			&urfave.BoolFlag{Name: "peek", Usage: "print the screen as it is, and end"},
			&urfave.BoolFlag{Name: "history", Usage: "with --peek: all that is to scroll back to, and the screen"},
			&urfave.StringSliceFlag{Name: "forward", Usage: "lead `[LOCAL:]PORT` of 127.0.0.1 to the agent's PORT, until interrupted; repeatable, LOCAL 0 is any"},
			&urfave.BoolFlag{Name: "color", Usage: "with --peek: colours even where the output is no terminal"},
		},
		Examples: "bottle-attach dev-k3fq\nbottle-attach --pane --focus dev-k3fq\nbottle-attach --detach-keys ctrl-^,d dev-k3fq\nbottle-attach --peek dev-k3fq | tail -n 5\n" +
			"bottle-attach --peek --history --color dev-k3fq | less -R\n" +
			"bottle-attach --send dev-k3fq 'now write the tests'\ngit diff | bottle-attach --send dev-k3fq -\n" +
			"bottle-attach --forward 3000 dev-k3fq\nbottle-attach --forward 0:3000 --forward 8080:80 dev-k3fq\n" +
			"bottle-attach dev-k3fq -- git -C /work log --oneline | head",
		Exit:     "with CMD: that command's own\n",
		Command:  true,
		Complete: cli.Completions{"": operator.First(operator.CompleteSlugs)},
		Action: func(c *cli.Call) error {
			m, err := operator.Open()
			if err != nil {
				return operator.Explain("", err)
			}
			slug, err := choose(c, m)
			if err != nil {
				return err
			}
			return explain(slug, act(c, m, slug))
		},
	}
}

// act does what was asked of one bottle.
func act(c *cli.Call, m *lifecycle.Manager, slug string) error {
	// One whose metadata cannot be read lives all the same.
	if _, err := m.Home.Bottle(slug); errors.Is(err, state.ErrNotFound) {
		return err
	}
	if c.Bool("pane") && inPane(c, slug) {
		return nil
	}
	container := plan.ContainerName(slug, plan.AgentService)
	// The signals that end this program are pkg/session's: it has a terminal to
	// put back, or a command to end.
	ctx := context.Background()
	switch {
	case c.Bool("peek"):
		return peek(c, m.Engine, container)
	case c.Bool("send"):
		return send(c, m.Engine, container)
	case c.IsSet("forward"):
		return forward(c, m.Engine, container, slug)
	case c.Tail != nil:
		code, err := session.Run(ctx, m.Engine, container, c.Tail, c.In, c.Out, c.Err)
		if err == nil && code != 0 {
			return cli.Status(code)
		}
		return err
	}
	var notes operator.Notes // the screen is the session's
	stop := operator.KeepFresh(m, notes.Add)
	err := attach(ctx, c, m, container, slug)
	stop()
	notes.Tell(c)
	return err
}

// inPane has the right pane show the session; false: it is to be shown here.
func inPane(c *cli.Call, slug string) bool {
	viewer, err := pane.Own("bottle-attach", "--detach-keys", c.String("detach-keys"), slug)
	if err == nil {
		err = pane.Show(c.Context.Context, slug, viewer, c.Bool("focus"))
	}
	if err != nil && !errors.Is(err, pane.ErrNoTmux) {
		fmt.Fprintf(c.Err, "bottle-attach: no pane: %s\n", cli.Inert(err.Error()))
	}
	return err == nil
}

func peek(c *cli.Call, e engine.Engine, container string) error {
	ctx, cancel := operator.Reading()
	defer cancel()
	level := session.Text
	if c.Bool("color") || cli.IsTerminal(c.Out) {
		level = session.Colours
	}
	if c.Bool("history") {
		return session.PeekHistory(ctx, e, container, c.Out, level)
	}
	return session.Peek(ctx, e, container, c.Out, level)
}

func attach(ctx context.Context, c *cli.Call, m *lifecycle.Manager, container, slug string) error {
	keys, err := session.ParseKeys(c.String("detach-keys"))
	if err != nil {
		return cli.Error{Code: cli.Usage, Msg: err.Error()}
	}
	in, _ := c.In.(*os.File)
	out, _ := c.Out.(*os.File)
	tty := session.Terminal{In: in, Out: out}
	if !tty.IsTerminal() {
		return cli.Error{Code: cli.Usage, Msg: "a session can be shown on a terminal only",
			Hint: "--peek prints its screen, and -- CMD runs a command"}
	}
	o := session.Options{Term: os.Getenv("TERM"), DetachKeys: keys, Copy: pane.Copy}
	outcome, err := session.Attach(ctx, m.Engine, container, tty, o)
	if errors.Is(err, session.ErrNoSession) {
		if err := reopen(c, m, slug); err != nil {
			return err
		}
		outcome, err = session.Attach(ctx, m.Engine, container, tty, o)
	}
	switch {
	case err != nil:
		return err
	case outcome.Ended:
		fmt.Fprintf(c.Err, "the agent of %s ended with exit code %d: bottle-attach %s starts it again, bottle-stop %s keeps its work and clears up\n", slug, outcome.Code, slug, slug)
	default:
		fmt.Fprintf(c.Err, "%s goes on: bottle-attach %s returns to it, bottle-stop %s stops it\n", slug, slug, slug)
	}
	return nil
}

// explain is operator.Explain, for who wanted a container that runs.
func explain(slug string, err error) error {
	if errors.Is(err, engine.ErrNotFound) || errors.Is(err, engine.ErrConflict) {
		return cli.Error{Code: cli.Conflict, Msg: fmt.Sprintf("%q is not running", slug),
			Hint: fmt.Sprintf("bottle-start --resume %s brings it back, bottle-stop %s keeps its work and clears up", slug, slug)}
	}
	return operator.Explain(slug, err)
}
