package cli

import (
	"fmt"
	"strings"
)

const exitTable = `   0 done · 1 failed · 2 usage · 3 not found · 4 declined · 5 engine not reachable
   6 conflict · 7 some of several failed · 130 interrupted
`

// help is the template of --help: the same sections in every program.
func (a App) help() string {
	var b strings.Builder
	fmt.Fprintf(&b, "NAME\n   %s - %s\n\nUSAGE\n   %s\n", a.Name, a.Usage, strings.TrimRight(a.Name+" [options] "+a.ArgsUsage, " "))
	if a.About != "" {
		fmt.Fprintf(&b, "\n%s", indent(a.About))
	}
	b.WriteString("\nOPTIONS\n{{range .VisibleFlags}}   {{.}}\n{{end}}\n")
	if a.Examples != "" {
		fmt.Fprintf(&b, "EXAMPLES\n%s\n", indent(a.Examples))
	}
	fmt.Fprintf(&b, "EXIT STATUS\n%s%s", exitTable, indent(a.Exit))
	return strings.ReplaceAll(b.String(), "\n\n\n", "\n\n")
}

func indent(text string) string {
	text = strings.TrimRight(text, "\n")
	if text == "" {
		return ""
	}
	return strings.ReplaceAll("   "+strings.ReplaceAll(text, "\n", "\n   ")+"\n", "\n   \n", "\n\n")
}
