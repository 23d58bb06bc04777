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
	"strings"

	"bottle/pkg/dlp"
)

func main() { os.Exit(run(os.Args)) }

// run writes the table to the first argument, gitleaks' examples to the second
// and the rules' IDs to the third, where there are such.
func run(args []string) int {
	if len(args) < 2 || len(args) > 4 {
		fmt.Fprintln(os.Stderr, "usage: rulegen TABLE [EXAMPLES [IDS]]")
		return 2
	}
	var table bytes.Buffer
	err := writeTable(&table)
	if err == nil {
		err = os.WriteFile(args[1], table.Bytes(), 0o644)
	}
	if err == nil && len(args) >= 3 {
		err = writeExamples(args[2])
	}
	if err == nil && len(args) == 4 {
		err = writeIDs(args[3], table.Bytes())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "rulegen:", err)
		return 1
	}
	return 0
}

func writeIDs(path string, table []byte) error {
	rules, err := dlp.Load(table)
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(strings.Join(rules.IDs(), "\n")+"\n"), 0o644)
}
