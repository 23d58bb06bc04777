// Command bottle-inside is the helper in the agent's container: it keeps the
// agent's session and shows it, and runs commands there.
package main

import (
	"io"
	"os"

	"bottle/pkg/inside"
	"bottle/pkg/probe"
)

func main() { os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, in io.Reader, out, errOut io.Writer) int {
	return inside.Dispatch(commands(), args, in, out, errOut)
}

// commands are the subcommands: the session's, the workspace's, and what looks
// at the bottle.
func commands() []inside.Command {
	return append(inside.Commands(),
		inside.Command{Name: "hold", Usage: "do what standard input asks, then wait for the container's end", Run: hold},
		inside.Command{Name: "unpack", Usage: "DIR: make the workspace of the stream on standard input", Run: unpack},
		inside.Command{Name: "capture", Usage: "[--conversations HOME DIR] [--wait] DIR: write the work as a git bundle, when a line of standard input says so", Run: capture},
		inside.Command{Name: "probe", Usage: "[ID…]: try the walls (no ID: the self-test); targets are read as JSON", Run: probe.Main})
}
