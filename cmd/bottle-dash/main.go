// Command bottle-dash is a dashboard of bottles and of what they ask. It draws
// what bottle-ls prints, and runs the other programs.
package main

import (
	"io"
	"os"

	urfave "github.com/urfave/cli/v2"

	"bottle/pkg/cli"
	"bottle/pkg/dash"
)

func main() { os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, in io.Reader, out, errOut io.Writer) int {
	return app().Run(args, in, out, errOut)
}

func app() cli.App {
	return cli.App{
		Name: "bottle-dash", Usage: "a dashboard of bottles and of what they ask",
		About: "Shows what bottle-ls and bottle-ls proposals print, and runs the other programs.\n" +
			"In tmux, sessions are shown in the pane to its right. ? tells the keys.\n" +
			"NO_COLOR in the environment: no colours.",
		Flags: []urfave.Flag{
			&urfave.BoolFlag{Name: "no-jump", Usage: "a new proposal rings the bell, and moves no focus"},
		},
		Examples: "bottle-dash\ntmux new-session bottle-dash",
		Action: func(c *cli.Call) error {
			if len(c.Args) > 0 {
				return cli.Error{Code: cli.Usage, Msg: "it takes no arguments", Hint: "run bottle-dash --help"}
			}
			if !cli.IsTerminal(c.In) || !cli.IsTerminal(c.Out) {
				return cli.Error{Code: cli.Usage, Msg: "a dashboard needs a terminal", Hint: "bottle-ls --watch tells programs the same"}
			}
			return dash.Show(dash.Options{NoJump: c.Bool("no-jump"), NoColor: os.Getenv("NO_COLOR") != ""})
		},
	}
}
