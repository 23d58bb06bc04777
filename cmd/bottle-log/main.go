// Command bottle-log prints what happened in bottles: the events of all their
// sidecars, merged in the order of time.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	urfave "github.com/urfave/cli/v2"

	"bottle/pkg/audit"
	"bottle/pkg/bottle"
	"bottle/pkg/cli"
	"bottle/pkg/eventlog"
	"bottle/pkg/operator"
	"bottle/pkg/state"
)

func main() { os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, in io.Reader, out, errOut io.Writer) int {
	return app().Run(args, in, out, errOut)
}

func app() cli.App {
	return cli.App{
		Name: "bottle-log", Usage: "print what happened in bottles", ArgsUsage: "[SLUG]",
		About: "Prints the events of a bottle's sidecars (requests, denials, reloads) and what its\n" +
			"operator decided, in the order of time, one JSON object a line. Without SLUG: of all\n" +
			"bottles that exist, and all decisions. A bottle that was stopped is read from its\n" +
			"history. --verify checks that the record of decisions is whole: it shows damage and\n" +
			"careless edits, and is no proof against the operator's own account.",
		Flags: []urfave.Flag{
			&urfave.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on with what happens, until the reader goes away"},
			&urfave.BoolFlag{Name: "denied", Usage: "only what was refused"},
			&urfave.StringFlag{Name: "since", Usage: "only what happened since: a `TIME` ago (10m, 36h) or at (2026-01-02T15:04:05Z)"},
			&urfave.BoolFlag{Name: "verify", Usage: "check the chain of audit.jsonl, and print its length and the hash of its last line"},
			&urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "json", Usage: "`FORMAT` of the answer: json or text"},
		},
		Examples: "bottle-log -o text --since 10m dev-k3zq\nbottle-log -f --denied | jq --unbuffered -r '[.slug,.host,.path,.reason]|@tsv'",
		Action:   show,
		Complete: cli.Completions{"": operator.First(operator.CompletePast), "output": cli.Words("json", "text")},
	}
}

func show(c *cli.Call) error {
	p, err := newPrinter(c)
	if err != nil {
		return err
	}
	since, err := parseSince(c.String("since"), time.Now())
	if err != nil {
		return err
	}
	h, err := state.Open("")
	if err != nil {
		return err
	}
	if c.Bool("verify") {
		return verify(c, h, p.text)
	}
	find, living, err := finder(h, c.Args)
	if err != nil {
		return err
	}
	var bad int
	if c.Bool("follow") && living {
		bad, err = follow(c, eventlog.Follower{Find: find, Since: since, Emit: p.print, Ends: len(c.Args) == 1})
	} else {
		var sources []eventlog.Source
		if sources, _, err = find(); err == nil {
			bad, err = p.all(sources, since)
		}
	}
	if bad > 0 {
		fmt.Fprintf(c.Err, "bottle-log: %d lines are no events and were left out\n", bad)
	}
	if errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}

// verify checks the record of decisions.
func verify(c *cli.Call, h *state.Home, text bool) error {
	if len(c.Args) > 0 {
		return cli.Error{Code: cli.Usage, Msg: "--verify takes no SLUG", Hint: "the record of decisions is one for all bottles"}
	}
	ctx, cancel := operator.Reading()
	defer cancel()
	records, head, err := audit.Verify(ctx, h.Dir)
	var broken *audit.Broken
	switch {
	case errors.As(err, &broken):
		return cli.Error{Code: cli.Failed, Msg: broken.Error(), Hint: "what stands before that line is as it was written; keep the file, and move it away to begin a new one"}
	case err != nil:
		return err
	case text:
		_, err = fmt.Fprintf(c.Out, "%d records, the chain is whole\n", records)
		return err
	}
	return cli.WriteJSON(c.Out, struct {
		Records int64  `json:"records"`
		Head    string `json:"head"`
	}{records, head})
}

func follow(c *cli.Call, f eventlog.Follower) (int, error) {
	ctx, cancel := operator.Reading()
	defer cancel()
	go func() {
		if cli.ReaderGone(ctx, c.Out) {
			cancel()
		}
	}()
	bad, err := f.Run(ctx)
	if errors.Is(err, context.Canceled) {
		err = nil // that is how following ends
	}
	return bad, err
}

// finder returns what finds the logs that are asked for; living: they may grow.
func finder(h *state.Home, args []string) (find func() ([]eventlog.Source, []string, error), living bool, err error) {
	if len(args) > 1 {
		return nil, false, cli.Error{Code: cli.Usage, Msg: "one bottle at a time", Hint: "without SLUG it prints the events of all"}
	}
	if len(args) == 0 {
		return func() ([]eventlog.Source, []string, error) { return everyBottle(h) }, true, nil
	}
	slug := args[0]
	if err := bottle.CheckSlug(slug); err != nil {
		return nil, false, operator.Explain(slug, state.ErrNotFound)
	}
	dir := h.StateDir(slug)
	if _, err := os.Lstat(dir); err == nil {
		return func() ([]eventlog.Source, []string, error) {
			sources, err := eventlog.Living(dir, slug)
			return append(sources, decisions(h, slug)), []string{dir}, err
		}, true, nil
	}
	past, err := eventlog.Past(h.HistoryDir(slug), slug)
	if err == nil && len(past) == 0 {
		err = operator.Explain(slug, state.NoSuch(slug, everySlug(h)))
	}
	past = append(past, decisions(h, slug))
	return func() ([]eventlog.Source, []string, error) { return past, nil, nil }, false, err
}

// everySlug are the bottles that exist, and those that left their history.
func everySlug(h *state.Home) []string {
	slugs, _ := h.Slugs()
	past, _ := h.History()
	for _, p := range past {
		slugs = append(slugs, p.Bottle.Slug)
	}
	return slugs
}

// decisions is the log of what the operator decided.
func decisions(h *state.Home, slug string) eventlog.Source {
	return eventlog.Operator(h.Dir, audit.File, slug)
}

// everyBottle are the logs of all bottles that exist.
func everyBottle(h *state.Home) (all []eventlog.Source, dirs []string, err error) {
	slugs, err := h.Slugs()
	if err != nil {
		return nil, nil, err
	}
	all, dirs = append(all, decisions(h, "")), []string{h.StateDir("")}
	for _, slug := range slugs {
		sources, err := eventlog.Living(h.StateDir(slug), slug)
		if err != nil {
			return nil, nil, err
		}
		all, dirs = append(all, sources...), append(dirs, h.StateDir(slug))
	}
	return all, dirs, nil
}

func parseSince(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	return time.Time{}, cli.Error{Code: cli.Usage, Msg: fmt.Sprintf("%q is neither a time ago nor a time", text), Hint: "write --since 10m, or --since 2026-01-02T15:04:05Z"}
}
