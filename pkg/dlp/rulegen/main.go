// Command rulegen writes pkg/dlp's table of rules out of gitleaks' default
// configuration, and the examples that gitleaks tries its own rules with. It
// runs when gitleaks is updated (go generate ./pkg/dlp) and is part of no
// program: gitleaks brings 170 packages, a shell's worth of archive readers
// among them, which have no business in what faces an agent.
package main

import (
	"bytes"
	"fmt"
	"os"
)

func main() { os.Exit(run(os.Args)) }

// run writes the table to the first argument, and gitleaks' examples to the
// second where there is one.
func run(args []string) int {
	if len(args) < 2 || len(args) > 3 {
		fmt.Fprintln(os.Stderr, "usage: rulegen TABLE [EXAMPLES]")
		return 2
	}
	var table bytes.Buffer
	err := writeTable(&table)
	if err == nil {
		err = os.WriteFile(args[1], table.Bytes(), 0o644)
	}
	if err == nil && len(args) == 3 {
		err = writeExamples(args[2])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "rulegen:", err)
		return 1
	}
	return 0
}
