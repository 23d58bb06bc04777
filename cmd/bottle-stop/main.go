// Command bottle-stop captures a bottle's work and its logs, and takes it down.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	urfave "github.com/urfave/cli/v2"

	"bottle/pkg/bottle"
	"bottle/pkg/cli"
	"bottle/pkg/engine"
	"bottle/pkg/lifecycle"
	"bottle/pkg/operator"
)

func main() { os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, in io.Reader, out, errOut io.Writer) int {
	return app().Run(args, in, out, errOut)
}

func app() cli.App {
	return cli.App{
		Name: "bottle-stop", Usage: "capture the work of bottles and take them down", ArgsUsage: "[SLUG…|-]",
		About: "Stops the agent, writes what it did as a git bundle and as a diff, and its containers'\n" +
			"logs, to $BOTTLE_HOME/history/SLUG, and removes containers, networks and volumes. Prints\n" +
			"one JSON line a bottle. A stop that was killed is taken up by the next one.\n\n" +
			"--orphans removes what killed programs left and nothing owns: bring-ups that died,\n" +
			"and containers, networks and volumes of this home without a state directory. It\n" +
			"lists them and asks; bottles that ever ran keep their state and are not touched.",
		Flags: []urfave.Flag{
			&urfave.BoolFlag{Name: "all", Usage: "stop all bottles of this home"},
			&urfave.BoolFlag{Name: "keep", Usage: "stop only: keep containers, volumes and state"},
			&urfave.BoolFlag{Name: "pane", Usage: "in tmux: follow one bottle's teardown in the window's right pane; elsewhere as without"},
			&urfave.BoolFlag{Name: "discard", Usage: "do not capture the work"},
			&urfave.BoolFlag{Name: "orphans", Usage: "remove what killed programs left and nothing owns"},
			&urfave.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "with --orphans: only list"},
			cli.YesFlag(),
		},
		Examples: "bottle-stop dev-a2b3\nbottle-stop --all\nbottle-ls -o tsv | fzf -m | bottle-stop -\n" +
			"bottle-stop --orphans --dry-run | jq -r .name",
		Exit:     "3 a slug does not exist: then nothing was stopped",
		Action:   stop,
		Complete: cli.Completions{"": operator.CompleteSlugs},
	}
}

// stopped is one line of the answer.
type stopped struct {
	Slug   string `json:"slug"`
	Kept   bool   `json:"kept"`
	Bundle string `json:"bundle,omitempty"`
	Diff   string `json:"diff,omitempty"`
	// Pushed are bundles of what was pushed to remotes without an upstream, by name.
	Pushed  map[string]string `json:"pushed,omitempty"`
	History string            `json:"history,omitempty"`
	Notes   []string          `json:"notes,omitempty"` // what was not captured, or not as it was, and what to look out for in a mounted folder
	Error   string            `json:"error,omitempty"`
}

func stop(c *cli.Call) error {
	if err := checkFlags(c); err != nil {
		return err
	}
	ctx, cancel := operator.Context()
	defer cancel()
	m, err := operator.Open()
	if err != nil {
		return err
	}
	if c.Bool("orphans") {
		return reap(ctx, c, m)
	}
	known, err := lifecycle.List(ctx, m.Home, m.Engine)
	if err != nil {
		return operator.Explain("", err)
	}
	var slugs []string
	if c.Bool("all") {
		for _, b := range known {
			slugs = append(slugs, b.Slug)
		}
	} else if len(c.Args) == 0 {
		slug, err := pick(c, known)
		if err != nil {
			return err
		}
		slugs = []string{slug}
	} else {
		// What is named may be work alone, which no listing of containers shows.
		if slices.ContainsFunc(c.Args, func(arg string) bool { return !listed(known, arg) }) {
			alone, err := m.WorkAlone(ctx, known)
			if err != nil {
				return operator.Explain("", err)
			}
			known = append(known, alone...)
		}
		if slugs, err = operator.Slugs(ctx, c, known); err != nil {
			return err
		}
	}
	return stopAll(ctx, c, m, slugs)
}

func listed(bottles []bottle.Bottle, slug string) bool {
	return slices.ContainsFunc(bottles, func(b bottle.Bottle) bool { return b.Slug == slug })
}

func checkFlags(c *cli.Call) error {
	switch {
	case c.Bool("pane") && (len(c.Args) > 1 || slices.Contains(c.Args, "-") || c.Bool("all") || c.Bool("orphans")):
		return cli.Error{Code: cli.Usage, Msg: "--pane follows one bottle", Hint: "name it, or leave --pane out"}
	case c.Bool("keep") && c.Bool("discard"):
		return cli.Error{Code: cli.Usage, Msg: "--keep and --discard exclude each other", Hint: "give one of them"}
	case c.Bool("orphans") && (len(c.Args) > 0 || c.Bool("all") || c.Bool("keep") || c.Bool("discard")):
		return cli.Error{Code: cli.Usage, Msg: "--orphans finds by itself what to remove", Hint: "give it alone, or with --dry-run or --yes"}
	case c.Bool("dry-run") && !c.Bool("orphans"):
		return cli.Error{Code: cli.Usage, Msg: "--dry-run goes with --orphans", Hint: "bottle-ls shows what a stop would take down"}
	case c.Bool("orphans") && !c.Bool("dry-run") && !c.Bool("yes") && !c.CanAsk():
		return cli.Error{Code: cli.Usage, Msg: "there is no terminal to ask on", Hint: "add --yes, or --dry-run to only look"}
	case !c.Bool("orphans") && !c.Bool("all") && len(c.Args) == 0 && c.CanAsk(): // it is picked
	case !c.Bool("orphans") && (len(c.Args) == 0) != c.Bool("all"):
		return cli.Error{Code: cli.Usage, Msg: "say which bottles: slugs, - or --all", Hint: "run bottle-ls"}
	}
	return nil
}

// sideBySide bounds how many teardowns run at once: the engine is the bottleneck.
const sideBySide = 4

func stopAll(ctx context.Context, c *cli.Call, m *lifecycle.Manager, slugs []string) error {
	o := lifecycle.DownOptions{Keep: c.Bool("keep"), Discard: c.Bool("discard")}
	results := make([]lifecycle.Took, len(slugs))
	failed := make([]error, len(slugs))
	slots := make(chan struct{}, sideBySide)
	var wg sync.WaitGroup
	for i, slug := range slugs {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			results[i], failed[i] = m.Down(ctx, slug, o, follow(ctx, c, m, slug))
		})
	}
	wg.Wait()
	for i := range slugs {
		if err := tell(c, results[i], failed[i]); err != nil {
			return err
		}
	}
	return verdict(c, slugs, failed)
}

func progress(c *cli.Call, slug string) lifecycle.Say {
	if !cli.IsTerminal(c.Err) {
		return nil
	}
	return func(step string) { fmt.Fprintf(c.Err, "%s: %s\n", slug, cli.Inert(step)) }
}

// tell prints the answer for one bottle, and the way to its work.
func tell(c *cli.Call, took lifecycle.Took, failed error) error {
	pushed := map[string]string{}
	for _, p := range took.Pushed {
		pushed[p.Remote] = p.Bundle
	}
	line := stopped{Slug: took.Slug, Kept: took.Kept, Bundle: took.Bundle, Diff: took.Diff, Pushed: pushed, History: took.History, Notes: took.Notes}
	if failed != nil {
		line.Error = operator.Explain(took.Slug, failed).Error()
	}
	if err := cli.WriteJSON(c.Out, line); err != nil {
		return err
	}
	operator.TellNotes(c.Err, took)
	switch {
	case !errors.Is(failed, lifecycle.ErrCapture):
	case errors.Is(failed, context.Canceled), engine.Away(failed):
		fmt.Fprintf(c.Err, "%s: kept, with its work; bottle-stop %s goes on\n", took.Slug, took.Slug)
	default:
		fmt.Fprintf(c.Err, "%s: kept, since its work could not be captured; bottle-stop --discard %s takes it down without\n", took.Slug, took.Slug)
	}
	operator.TellFetch(c.Err, took)
	return nil
}

// verdict is the exit code over all: one bottle's error is that bottle's.
func verdict(c *cli.Call, slugs []string, failed []error) error {
	bad := 0
	var last error
	for i, err := range failed {
		if err != nil {
			bad++
			last = operator.Explain(slugs[i], err)
		}
	}
	switch {
	case bad == 0:
		return nil
	case len(slugs) == 1:
		return last
	case bad == len(slugs):
		return fmt.Errorf("none of the %d bottles could be stopped: %w", bad, last)
	}
	return cli.Error{Code: cli.SomeFailed, Msg: fmt.Sprintf("%d of %d bottles could not be stopped: %v", bad, len(slugs), last),
		Hint: "run bottle-ls to see what is left"}
}
