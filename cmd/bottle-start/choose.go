package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"bottle/pkg/cli"
	"bottle/pkg/lifecycle"
	"bottle/pkg/manifest"
	"bottle/pkg/spool"
)

// chooseAgent returns the agent to start: the argument, or what is picked. A
// home without any manifest is offered its first ones.
func chooseAgent(ctx context.Context, c *cli.Call, m *lifecycle.Manager) (string, error) {
	agents, broken := manifest.Agents(m.Home.Dir)
	if len(agents) == 0 && len(broken) == 0 {
		if err := offerFirst(ctx, c, m.Home.Dir); err != nil {
			return "", err
		}
		agents, broken = manifest.Agents(m.Home.Dir)
	}
	if len(c.Args) == 1 {
		return c.Args[0], nil
	}
	if !c.CanAsk() {
		return "", cli.Error{Code: cli.Usage, Msg: "which agent?", Hint: "run bottle-ls agents, and name one"}
	}
	for _, err := range broken {
		fmt.Fprintf(c.Err, "bottle-start: %s\n", cli.Inert(err.Error()))
	}
	if len(agents) == 0 {
		return "", cli.Error{Code: cli.Failed, Msg: "no agent can be started", Hint: "mend the files above"}
	}
	bottles, err := lifecycle.List(ctx, m.Home, m.Engine)
	if err != nil {
		bottles = nil // the counts are a courtesy; the start itself will tell
	}
	running := lifecycle.CountRunning(bottles)
	rows := make([][]string, len(agents))
	for i, a := range agents {
		rows[i] = []string{a.Name, a.Bottle, a.Program, fmt.Sprintf("(%d running)", running[a.Name])}
	}
	i, err := c.Pick("which agent", rows)
	if err != nil {
		return "", err
	}
	return agents[i].Name, nil
}

// offerFirst writes a first bottle and agent, if the operator wants them.
func offerFirst(ctx context.Context, c *cli.Call, home string) error {
	first := []struct {
		path    string
		content []byte
	}{
		{filepath.Join(home, "bottles", "dev.md"), manifest.FirstBottle},
		{filepath.Join(home, "agents", "dev.md"), manifest.FirstAgent},
	}
	none := cli.Error{Code: cli.NotFound, Msg: "there are no agents in " + filepath.Join(home, "agents"),
		Hint: "run bottle-start on a terminal, or with --yes, to have a first one written"}
	if c.Bool("dry-run") || len(c.Args) == 1 && c.Args[0] != "dev" {
		return none // nothing that was asked for could come of it
	}
	if !c.Bool("yes") {
		if !c.CanAsk() {
			return none
		}
		yes, err := c.Confirm(ctx, fmt.Sprintf("no agents yet: write %s and %s to begin with?", first[0].path, first[1].path))
		if err != nil {
			return err
		}
		if !yes {
			return cli.Error{Code: cli.Declined, Msg: "nothing was written", Hint: "the README tells what to put there"}
		}
	}
	for _, f := range first {
		if _, err := os.Lstat(f.path); !errors.Is(err, fs.ErrNotExist) {
			continue // never over what somebody wrote
		}
		if err := spool.WriteFile(f.path, f.content, 0o600); err != nil {
			return err
		}
		fmt.Fprintf(c.Err, "wrote %s\n", f.path)
	}
	return nil
}
