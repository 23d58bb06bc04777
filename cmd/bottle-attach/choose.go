package main

import (
	"fmt"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/cli"
	"bottle/pkg/lifecycle"
	"bottle/pkg/operator"
)

// choose returns the slug that was named, or else the one that runs, or else
// the one that is picked. It refuses what the command line cannot mean.
func choose(c *cli.Call, m *lifecycle.Manager) (string, error) {
	switch {
	case c.Bool("send") && (c.Tail != nil || c.Bool("peek")):
		return "", cli.Error{Code: cli.Usage, Msg: "--send sends, and does nothing else", Hint: "use bottle-attach --send SLUG TEXT"}
	case c.Bool("send") && (len(c.Args) < 1 || len(c.Args) > 2):
		return "", cli.Error{Code: cli.Usage, Msg: "a slug and a text are wanted", Hint: "quote the text: bottle-attach --send SLUG 'TEXT'"}
	case len(c.Args) > 1 && !c.Bool("send"):
		return "", cli.Error{Code: cli.Usage, Msg: "one bottle at a time", Hint: "a command stands behind --"}
	case c.Tail != nil && len(c.Tail) == 0:
		return "", cli.Error{Code: cli.Usage, Msg: "no command behind --"}
	case c.Tail != nil && c.Bool("peek"):
		return "", cli.Error{Code: cli.Usage, Msg: "--peek runs no command"}
	case c.Bool("pane") && (c.Tail != nil || c.Bool("peek") || c.Bool("send")):
		return "", cli.Error{Code: cli.Usage, Msg: "--pane shows the session, and nothing else", Hint: "leave it out"}
	case c.IsSet("forward") && (c.Tail != nil || c.Bool("peek") || c.Bool("send") || c.Bool("pane")):
		return "", cli.Error{Code: cli.Usage, Msg: "--forward forwards, and does nothing else", Hint: "use bottle-attach --forward PORT SLUG"}
	case c.Bool("history") && !c.Bool("peek"):
		return "", cli.Error{Code: cli.Usage, Msg: "--history goes with --peek", Hint: "give both"}
	case c.Bool("focus") && !c.Bool("pane"):
		return "", cli.Error{Code: cli.Usage, Msg: "--focus goes with --pane"}
	case len(c.Args) >= 1:
		if bottle.CheckSlug(c.Args[0]) != nil {
			return "", cli.Error{Code: cli.NotFound, Msg: fmt.Sprintf("no bottle named %q", c.Args[0]), Hint: "run bottle-ls"}
		}
		return c.Args[0], nil
	}
	ctx, cancel := operator.Reading()
	defer cancel()
	all, err := lifecycle.List(ctx, m.Home, m.Engine)
	if err != nil {
		return "", operator.Explain("", err)
	}
	return pick(c, living(all))
}

// living are the bottles that may have a session to show.
func living(all []bottle.Bottle) []bottle.Bottle {
	var some []bottle.Bottle
	for _, b := range all {
		if b.Status == bottle.Running || b.Status == bottle.Degraded {
			some = append(some, b)
		}
	}
	return some
}

func pick(c *cli.Call, some []bottle.Bottle) (string, error) {
	switch {
	case len(some) == 0:
		return "", cli.Error{Code: cli.NotFound, Msg: "no bottle is running", Hint: "bottle-start starts one"}
	case len(some) == 1:
		return some[0].Slug, nil
	case !c.CanAsk():
		return "", cli.Error{Code: cli.Usage, Msg: fmt.Sprintf("%d bottles are running, and none was named", len(some)), Hint: "run bottle-ls, and name one"}
	}
	var rows [][]string
	for _, b := range some {
		rows = append(rows, []string{b.Slug, string(b.Status), b.StartedAt.Local().Format(time.DateTime), b.Folder})
	}
	i, err := c.Pick("which bottle", rows)
	if err != nil {
		return "", err
	}
	return some[i].Slug, nil
}
