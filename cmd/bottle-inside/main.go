// Command bottle-inside is the helper in the agent's container: it keeps the
// agent's session and shows it, and runs commands there.
package main

import (
	"io"
	"os"

	"bottle/pkg/inside"
)

func main() { os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, in io.Reader, out, errOut io.Writer) int {
	return inside.Dispatch(inside.Commands(), args, in, out, errOut)
}
