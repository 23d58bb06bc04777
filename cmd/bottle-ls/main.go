// Command bottle-ls lists bottles, what they ask, what was granted, and the agents
// that can be started.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	urfave "github.com/urfave/cli/v2"

	"bottle/pkg/bottle"
	"bottle/pkg/cli"
	"bottle/pkg/lifecycle"
	"bottle/pkg/manifest"
	"bottle/pkg/operator"
)

func main() { os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, in io.Reader, out, errOut io.Writer) int {
	return app().Run(args, in, out, errOut)
}

func app() cli.App {
	return cli.App{
		Name: "bottle-ls", Usage: "list bottles, what they ask, what was granted, and agents", ArgsUsage: "[bottles|proposals|grants|agents]",
		About: "Prints one JSON object a line. With the engine out of reach, or without an answer\n" +
			"of its for five seconds, it prints what the disk knows and exits 5.",
		Flags: []urfave.Flag{
			cli.OutputFlag(),
			&urfave.BoolFlag{Name: "size", Aliases: []string{"s"}, Usage: "show what each bottle takes of the disk; the engine counts it, which may take seconds"},
			&urfave.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "also bottles that are gone, and which bottle-start --resume brings back; decided proposals; ended grants"},
			&urfave.BoolFlag{Name: "status-line", Usage: "print counts in one line, for tmux' status line; it waits for nothing"},
			&urfave.BoolFlag{Name: "watch", Usage: "print a snapshot, then a line at each change, until the reader goes away"},
		},
		Examples: "bottle-ls -o table\nbottle-ls | jq -r 'select(.status==\"running\").slug'\n" +
			"bottle-ls --watch | jq --unbuffered -r '[.slug,.status]|@tsv'\nbottle-ls proposals | jq -r .id | bottle-approve --for 10m -\nbottle-ls agents -o tsv | fzf -m | cut -f1 | bottle-start --yes --detach -\n" +
			"bottle-ls --all | jq -r 'select(.resumable).slug' | xargs -rn1 bottle-start --resume",
		Action:   list,
		Complete: cli.Completions{"": operator.First(cli.Words("bottles", "proposals", "grants", "agents")), "output": operator.CompleteFormats},
	}
}

func list(c *cli.Call) error {
	if c.Bool("status-line") {
		return statusLine(c)
	}
	what := "bottles"
	if len(c.Args) > 0 {
		what = c.Args[0]
	}
	lists := map[string]struct{ list, watch func(*cli.Call) error }{
		"bottles": {listBottles, watch}, "proposals": {listProposals, watchProposals}, "grants": {listGrants, nil}, "agents": {listAgents, nil},
	}
	l, known := lists[what]
	switch {
	case len(c.Args) > 1 || !known:
		return cli.Error{Code: cli.Usage, Msg: fmt.Sprintf("cannot list %q", strings.Join(c.Args, " ")), Hint: "say bottles, proposals, grants or agents"}
	case c.Bool("all") && (what == "agents" || what == "bottles" && c.Bool("watch")):
		return cli.Error{Code: cli.Usage, Msg: "--all is for one listing of bottles, and for proposals and grants", Hint: "leave --all out, or --watch and agents"}
	case c.Bool("size") && what != "bottles":
		return cli.Error{Code: cli.Usage, Msg: "--size is for bottles", Hint: "leave it out"}
	case !c.Bool("watch"):
		return l.list(c)
	case l.watch == nil:
		return cli.Error{Code: cli.Usage, Msg: what + " cannot be watched, bottles and proposals can", Hint: "leave --watch out"}
	case c.Bool("size"):
		return cli.Error{Code: cli.Usage, Msg: "sizes cannot be watched: no event tells of them", Hint: "run bottle-ls --size now and then"}
	}
	return l.watch(c)
}

var columns = []string{"SLUG", "STATUS", "ACTIVITY", "AGENT", "BOTTLE", "PROGRAM", "STARTED", "UP", "FOLDER", "NOTE"}

func cells(b bottle.Bottle) []string {
	started := "?"
	if !b.StartedAt.IsZero() {
		started = b.StartedAt.Local().Format(time.DateTime)
	}
	return []string{b.Slug, string(b.Status), activity(b), b.Agent, b.Bottle, b.Program, started, strings.Join(b.Services, ","), b.Folder, b.Note()}
}

// activity is what a bottle's agent does, and for how long.
func activity(b bottle.Bottle) string {
	if b.Activity == "" {
		return ""
	}
	return string(b.Activity) + " " + lasting(time.Since(b.ActivitySince))
}

// lasting is a time in its largest unit: 5s, 12m, 3h, 2d.
func lasting(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}

// pastCells are what --all shows besides.
func pastCells(b bottle.Bottle) []string {
	resume, stopped, exit := "", "", ""
	if b.Resumable {
		resume = "yes"
	}
	if !b.StoppedAt.IsZero() {
		stopped = b.StoppedAt.Local().Format(time.DateTime)
	}
	if b.ExitCode != nil {
		exit = strconv.Itoa(*b.ExitCode)
	}
	pushed := slices.Sorted(maps.Values(b.Pushed))
	return []string{resume, stopped, exit, b.Bundle, strings.Join(pushed, " ")}
}

func size(b bottle.Bottle) string {
	if b.Disk == nil {
		return ""
	}
	return units.BytesSize(float64(*b.Disk))
}

func listBottles(c *cli.Call) error {
	ctx, cancel := operator.Reading()
	defer cancel()
	heads := slices.Clone(columns)
	if c.Bool("all") {
		heads = append(heads, "RESUME", "STOPPED", "EXIT", "WORK", "PUSHED")
	}
	if c.Bool("size") {
		heads = append(heads, "DISK")
	}
	p, err := cli.NewPrinter(c.Out, c.String("output"), heads...)
	if err != nil {
		return err
	}
	m, err := operator.Open()
	if err != nil {
		return err
	}
	bottles, failed := look(ctx, m, c.Bool("all"))
	if c.Bool("size") && failed == nil {
		failed = m.AddSizes(ctx, bottles)
	}
	for _, b := range bottles {
		row := cells(b)
		if c.Bool("all") {
			row = append(row, pastCells(b)...)
		}
		if c.Bool("size") {
			row = append(row, size(b))
		}
		if err := p.Print(b, row...); err != nil {
			return err
		}
	}
	if err := p.Flush(); err != nil {
		return err
	}
	return operator.Explain("", failed)
}

// answerTime is how long the engine's answer is waited for, which takes it some
// milliseconds, and seconds where agents compile on all cores.
const answerTime = 15 * time.Second

// look lists the bottles, or all. Of an engine that stalls it tells as of one that
// is away: what the disk knows, and an error.
func look(ctx context.Context, m *lifecycle.Manager, all bool) (bottles []bottle.Bottle, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if all {
		bottles, err = m.All(ctx)
	} else {
		bottles, err = lifecycle.List(ctx, m.Home, m.Engine)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = cli.Error{Code: cli.NoEngine, Msg: fmt.Sprintf("the Docker engine has not answered for %s: this is what the disk knows", answerTime),
			Hint: "if docker ps does not answer either, restart the engine; bottles live on meanwhile, where it is set up so"}
	}
	return bottles, err
}

// agentLine is one agent that can be started.
type agentLine struct {
	Agent   string `json:"agent"`
	Bottle  string `json:"bottle"`
	Program string `json:"program"`
	Running int    `json:"running"`
	File    string `json:"file"`
}

func listAgents(c *cli.Call) error {
	ctx, cancel := operator.Reading()
	defer cancel()
	p, err := cli.NewPrinter(c.Out, c.String("output"), "AGENT", "BOTTLE", "PROGRAM", "RUNNING", "FILE")
	if err != nil {
		return err
	}
	m, err := operator.Open()
	if err != nil {
		return err
	}
	bottles, failed := look(ctx, m, false)
	running := lifecycle.CountRunning(bottles)
	agents, broken := manifest.Agents(m.Home.Dir)
	for _, a := range agents {
		line := agentLine{Agent: a.Name, Bottle: a.Bottle, Program: a.Program, Running: running[a.Name], File: a.File}
		if err := p.Print(line, line.Agent, line.Bottle, line.Program, fmt.Sprint(line.Running), line.File); err != nil {
			return err
		}
	}
	if err := p.Flush(); err != nil {
		return err
	}
	for _, err := range broken {
		fmt.Fprintf(c.Err, "bottle-ls: %s\n", cli.Inert(err.Error()))
	}
	return operator.Explain("", failed)
}
