// Command bottle-start brings a bottle up: manifest, plan, preflight, containers,
// self-test, session.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	urfave "github.com/urfave/cli/v2"

	"bottle/pkg/agent"
	"bottle/pkg/bottle"
	"bottle/pkg/cli"
	"bottle/pkg/lifecycle"
	"bottle/pkg/manifest"
	"bottle/pkg/operator"
	"bottle/pkg/tokenref"
)

func main() { os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, in io.Reader, out, errOut io.Writer) int {
	return app().Run(args, in, out, errOut)
}

// workspaces are what --workspace takes.
var workspaces = []string{lifecycle.WorkspaceCopy, lifecycle.WorkspaceMount, lifecycle.WorkspaceNone}

func app() cli.App {
	return cli.App{
		Name: "bottle-start", Usage: "start agents in bottles", ArgsUsage: "[AGENT… | -] | --renew SLUG…",
		About: "Shows what the bottle will be allowed, asks, brings it up, tries its walls from\n" +
			"inside, and attaches the agent's session. Without AGENT it asks which. Without a\n" +
			"terminal it needs --yes and acts as with --detach.\n\n" +
			"Several agents, with --yes --detach, are started side by side, one also more than once.\n" +
			"- stands for those of standard input: lines of AGENT, of AGENT, a tab and its first\n" +
			"task, or JSON lines that have an agent and may have a task. All are checked, and their\n" +
			"secrets resolved, before the first is begun; slugs are printed in the order of the\n" +
			"agents. An interrupt takes down what is half made and leaves what is up.",
		Flags: []urfave.Flag{
			&urfave.BoolFlag{Name: "dry-run", Usage: "show the preflight and stop; with -o json print the whole plan"},
			&urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FORMAT` of --dry-run: text or json", Value: "text"},
			cli.YesFlag(),
			&urfave.BoolFlag{Name: "detach", Aliases: []string{"d"}, Usage: "do not attach; print the slug alone"},
			&urfave.BoolFlag{Name: "pane", Usage: "in tmux: bring-up and session in the window's right pane; elsewhere as without"},
			&urfave.BoolFlag{Name: "focus", Usage: "with --pane: move the keyboard there when the session starts"},
			&urfave.BoolFlag{Name: "rm", Usage: "stop the bottle when its session ends, and return the agent's exit code"},
			&urfave.StringFlag{Name: "workspace", Usage: "`WHAT` is at /work: copy, the current folder; mount, the folder itself; none, nothing", Value: lifecycle.WorkspaceCopy},
			&urfave.StringFlag{Name: "resume", Usage: "bring back bottle `SLUG`, stopped, kept or lost, or mend it where it is degraded"},
			&urfave.BoolFlag{Name: "renew", Usage: "resolve the credentials of the bottles that are named anew, and hand them over; starts nothing"},
			&urfave.StringFlag{Name: "task", Usage: "`TEXT` of the agent's first task; - reads it from standard input"},
			&urfave.BoolFlag{Name: "rebuild", Usage: "make the agent's image anew, with the newest version that the manifest allows"},
			&urfave.BoolFlag{Name: "remote-control", Usage: "let Claude Code be driven from claude.ai too, as remote_control in the manifest does"},
			&urfave.StringFlag{Name: "name", Usage: "the bottle's `SLUG`, instead of AGENT and four random characters"},
		},
		Examples: "bottle-start dev\nbottle-start --dry-run -o json dev | jq .containers\nslug=$(bottle-start --yes --detach dev)\n" +
			"bottle-start dev --task 'fix issue 12'\ngh issue view 12 | bottle-start --yes --detach dev --task -\n" +
			"bottle-start --yes --detach dev dev web\ngh issue list --json number -q '.[]|\"dev\\tfix issue \\(.number)\"' | bottle-start --yes --detach -\n" +
			"bottle-start --resume dev-k3fq\nbottle-start --resume dev-k3fq --pane --focus\n" +
			"bottle-start --renew dev-k3fq\nbottle-ls | jq -r 'select(.stale).slug' | bottle-start --renew -",
		Exit:   "with --rm in the foreground: the agent's own exit code\nof several agents: 3 one does not exist: then none was started; 7 some were not started",
		Action: start,
		Complete: cli.Completions{"": operator.CompleteAgents, "resume": operator.CompleteSlugs, "renew": operator.CompleteSlugs,
			"workspace": cli.Words(workspaces...), "output": cli.Words("text", "json")},
	}
}

func start(c *cli.Call) error {
	if err := checkFlags(c); err != nil {
		return err
	}
	ctx, cancel := operator.Context()
	defer cancel()
	m, err := operator.Open()
	if err != nil {
		return err
	}
	switch slug := c.String("resume"); {
	case c.Bool("renew"):
		return renew(ctx, c, m)
	case slug != "":
		return resume(ctx, c, m, slug)
	}
	if several(c.Args) {
		return startSeveral(ctx, c, m)
	}
	name, err := chooseAgent(ctx, c, m)
	if err != nil {
		return err
	}
	spec, err := specify(ctx, c, m, name, tokenref.Resolver{Lookup: os.LookupEnv})
	if err != nil {
		return err
	}
	if spec.Task, err = task(ctx, c); err != nil {
		return err
	}
	if c.Bool("dry-run") && c.String("output") == "json" {
		p, err := m.Plan(ctx, spec)
		if err != nil {
			return operator.Explain(spec.Slug, err)
		}
		return cli.WriteJSON(c.Out, p)
	}
	if !c.Bool("dry-run") && shown(c) {
		// Nobody should read a preflight, say yes, and then hear that there is no engine.
		if _, err := m.Host(ctx); err != nil {
			return operator.Explain("", err)
		}
	}
	if goOn, err := preflight(ctx, c, spec); err != nil || !goOn {
		return err
	}
	if c.Bool("pane") && spec.Slug == "" { // a pane must know the log
		spec.Slug = lifecycle.NewSlug(spec.Manifest.Agent)
	}
	v := newView(ctx, c, m, spec.Slug)
	b, err := m.Up(ctx, spec, v.step)
	v.end()
	if err != nil {
		return notStarted(c, b, err)
	}
	return v.handOver(m, b)
}

func checkFlags(c *cli.Call) error {
	if c.Bool("renew") {
		return checkRenew(c)
	}
	if w := c.String("workspace"); !slices.Contains(workspaces, w) {
		return cli.Error{Code: cli.Usage, Msg: fmt.Sprintf("no workspace %q", w), Hint: "use --workspace copy, mount or none"}
	}
	if o := c.String("output"); o != "text" && o != "json" {
		return cli.Error{Code: cli.Usage, Msg: fmt.Sprintf("no output format %q", o), Hint: "use -o text or -o json"}
	}
	if n := c.String("name"); n != "" {
		if err := bottle.CheckSlug(n); err != nil {
			return cli.Error{Code: cli.Usage, Msg: err.Error(), Hint: "choose another --name"}
		}
	}
	if c.IsSet("output") && !c.Bool("dry-run") {
		return cli.Error{Code: cli.Usage, Msg: "-o is the format of --dry-run alone", Hint: "add --dry-run, or leave -o out"}
	}
	if c.Bool("pane") && (c.Bool("detach") || c.Bool("rm") || c.Bool("dry-run")) {
		return cli.Error{Code: cli.Usage, Msg: "--pane goes with none of --detach, --rm, --dry-run", Hint: "leave it out"}
	}
	if c.Bool("focus") && !c.Bool("pane") {
		return cli.Error{Code: cli.Usage, Msg: "--focus goes with --pane", Hint: "give both"}
	}
	if c.String("resume") != "" && (len(c.Args) > 0 || c.Bool("dry-run") || c.Bool("rm") || c.String("name") != "") {
		return cli.Error{Code: cli.Usage, Msg: "--resume is for a bottle that exists, and stands alone", Hint: "use bottle-start --resume SLUG"}
	}
	if c.String("resume") != "" && (c.IsSet("task") || c.Bool("rebuild") || c.Bool("remote-control")) {
		return cli.Error{Code: cli.Usage, Msg: "--task, --rebuild and --remote-control are for a new bottle", Hint: "bottle-attach --send SLUG TEXT gives one that lives a task"}
	}
	if c.String("task") == "-" && !c.Bool("yes") && !c.Bool("dry-run") {
		return cli.Error{Code: cli.Usage, Msg: "standard input is the task: nobody can be asked there", Hint: "add --yes"}
	}
	if c.Bool("rm") && c.Bool("detach") {
		return cli.Error{Code: cli.Usage, Msg: "--rm and --detach exclude each other: somebody must wait for the end", Hint: "give one of them"}
	}
	if several(c.Args) {
		return checkSeveral(c)
	}
	if !c.CanAsk() && !c.Bool("yes") && !c.Bool("dry-run") && c.String("resume") == "" {
		return cli.Error{Code: cli.Usage, Msg: "there is no terminal to ask on", Hint: "add --yes, or --dry-run to only look"}
	}
	return nil
}

// specify reads the manifests and the operator's environment.
func specify(ctx context.Context, c *cli.Call, m *lifecycle.Manager, name string, r tokenref.Resolver) (lifecycle.Spec, error) {
	man, err := manifest.Load(m.Home.Dir, name)
	if err != nil {
		return lifecycle.Spec{}, operator.Explain(name, err)
	}
	if c.Bool("remote-control") {
		if !man.Program.MayBeRemote() {
			return lifecycle.Spec{}, cli.Error{Code: cli.Usage, Msg: "--remote-control is for program claude", Hint: "leave it out"}
		}
		man.Program.Remote = true
	}
	a, err := agent.Lookup(man.Program)
	if err != nil {
		return lifecycle.Spec{}, err
	}
	values, err := manifest.Resolve(ctx, man, r)
	if err != nil {
		return lifecycle.Spec{}, operator.Explain(name, err)
	}
	way, err := operator.Way(ctx, m, r)
	if err != nil {
		return lifecycle.Spec{}, err
	}
	if way.Login != "" {
		values.Credentials[bottle.ProxyLogin] = way.Login
	}
	spec := lifecycle.Spec{Manifest: man, Way: way, Agent: a, Slug: c.String("name"), Workspace: c.String("workspace"), Rebuild: c.Bool("rebuild"),
		Secrets: values.Env, Credentials: values.Credentials, Keys: values.Git, KnownHosts: values.KnownHosts}
	spec.Manifest.Warnings = slices.Concat(man.Warnings, values.Warnings, lifecycle.Warnings(spec))
	return spec, takeFolder(ctx, &spec, m.Home.Dir)
}

// notStarted is what the operator sees of a start that failed.
func notStarted(c *cli.Call, b bottle.Bottle, err error) error {
	var failure *lifecycle.Failure
	if !errors.As(err, &failure) {
		return operator.Explain(b.Slug, err)
	}
	interrupted := errors.Is(err, context.Canceled)
	if !interrupted {
		for _, line := range failure.Tail {
			fmt.Fprintf(c.Err, "  %s\n", cli.Inert(line))
		}
	}
	if failure.Left != nil {
		fmt.Fprintf(c.Err, "bottle-start: what was made of %s could not all be taken down: run bottle-stop --orphans, or bottle-stop %s\n", b.Slug, b.Slug)
	}
	explained := operator.Explain(b.Slug, failure.Err)
	var said cli.Error
	if !interrupted && !errors.As(explained, &said) {
		explained = cli.Error{Code: cli.Failed, Msg: explained.Error(), Hint: "the whole log is in " + failure.Log}
	}
	return explained
}
