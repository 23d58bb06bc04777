package cli

import (
	"fmt"
	"strings"
)

// manWord is the first argument that prints the manual page, in section 1, as
// man reads it (roff with the macros of man(7)). The arguments behind it are the
// programs that it refers to.
const manWord = "__man"

// man is the manual page: what help says, and in its order.
func (a App) man(others []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s 1 \"\" bottle \"User Commands\"\n", roff(strings.ToUpper(a.Name)))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(a.Name), roff(a.Usage))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n[options] %s\n", roff(a.Name), roff(a.ArgsUsage))
	b.WriteString(".SH DESCRIPTION\n")
	for i, paragraph := range strings.Split(a.About, "\n\n") {
		if i > 0 {
			b.WriteString(".PP\n")
		}
		fmt.Fprintf(&b, "%s\n", roff(paragraph))
	}
	b.WriteString(".SH OPTIONS\n")
	for _, f := range a.flags() {
		names, usage := describe(f)
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(names), roff(usage))
	}
	section := func(title, text string) {
		if text != "" {
			fmt.Fprintf(&b, ".SH %s\n.nf\n%s\n.fi\n", title, roff(strings.TrimRight(text, "\n")))
		}
	}
	section("EXAMPLES", a.Examples)
	section("EXIT STATUS", strings.TrimRight(indentless(exitTable), "\n")+"\n"+a.Exit)
	var also []string
	for _, other := range others {
		if other != a.Name {
			also = append(also, other+"(1)")
		}
	}
	section("SEE ALSO", strings.Join(also, ", "))
	return b.String()
}

// indentless takes the blanks that help begins its lines with.
func indentless(text string) string {
	return strings.ReplaceAll(strings.TrimLeft(text, " "), "\n   ", "\n")
}

// roff escapes text: a line that begins with a dot or a quote would be a
// request, and "-" alone a hyphen that nobody can search for.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}
