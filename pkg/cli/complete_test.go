package cli

import (
	"bytes"
	"strings"
	"testing"

	urfave "github.com/urfave/cli/v2"
)

func completing() App {
	app := testApp(&Call{}, nil)
	app.Flags = append(app.Flags, OutputFlag())
	app.Complete = Completions{
		"": func(args []string) []Candidate {
			return []Candidate{{"dev-k3zq", "of dev\x1b[31m"}, {"web-77ab", strings.Join(args, "+")}}
		},
		"output": Words("json", "table", "tsv"),
		"reject": Words("no", "never"),
	}
	return app
}

func TestShellsAreOfferedWhatFits(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"zsh p ", "dev-k3zq\tof dev\\x1b[31m|web-77ab"},
		{"bash p d", "dev-k3zq"},
		{"bash p dev-k3zq --path x ", "web-77ab"}, // not again
		{"bash p --reject ", "no|never"},          // other arguments
		{"bash p --reject no -- n", "never"},
		{"zsh p dev-k3zq w", "web-77ab\tdev-k3zq"},
		{"bash p -- w", "web-77ab"},
		{"bash p --reason ", ""},
		{"bash p --reason d w", "web-77ab"},
		{"bash p -r", ""},
		{"bash p --re", "--reject|--reason"},
		{"bash p --reject --re", "--reason"},
		{"bash p --path x --pa", "--path"}, // may be repeated
		{"fish p --rej", "--reject\tsay no"},
		{"fish p -o t", "table|tsv"},
		{"fish p --output=t", "--output=table|--output=tsv"},
		{"bash p --output = t", "table|tsv"},
		{"bash p --output = ", "json|table|tsv"},
		{"bash p --output =", "json|table|tsv"},
		{"bash p --output = json w", "web-77ab"},
		{"bash p --nonesuch x", ""},
		{"bash p --nonesuch=x", ""},
		{"bash p", ""},
		{"", ""},
	} {
		var out, errOut bytes.Buffer
		words := strings.Split(c.line, " ")
		if code := completing().Run(append([]string{"bottle-test", "__complete"}, words...), nil, &out, &errOut); code != 0 || errOut.Len() > 0 {
			t.Errorf("%q: exit %d: %s", c.line, code, errOut.String())
		}
		if got := strings.ReplaceAll(strings.TrimSuffix(out.String(), "\n"), "\n", "|"); got != c.want {
			t.Errorf("%q: %q, not %q", c.line, got, c.want)
		}
	}
}

func TestBehindTheDashesOfACommandNothingIsOffered(t *testing.T) {
	app := completing()
	app.Command = true
	var out bytes.Buffer
	app.complete(&out, []string{"bash", "p", "dev-k3zq", "--", ""})
	if out.Len() > 0 {
		t.Errorf("%q", out.String())
	}
}

func TestAManualPageSaysWhatHelpSays(t *testing.T) {
	app := completing()
	app.About = ".dots begin a line,\n'quotes too and a \\.\n\nA second paragraph."
	app.Flags = append(app.Flags, &urfave.BoolFlag{Name: "hush", Usage: "x"})
	var out bytes.Buffer
	if code := app.Run([]string{"bottle-test", "__man", "bottle-test", "bottle-other"}, nil, &out, &bytes.Buffer{}); code != 0 {
		t.Fatal(code)
	}
	page := out.String()
	for _, want := range []string{
		".TH BOTTLE\\-TEST 1 ", "bottle\\-test \\- test\n", "\n.B bottle\\-test\n[options] [ID…]\n",
		"\n\\&.dots begin a line,\n\\(aqquotes too and a \\e.\n.PP\nA second paragraph.\n",
		".TP\n.B \\-\\-reason WHY, \\-r WHY\nWHY\n", ".TP\n.B \\-\\-hush\nx\n", ".TP\n.B \\-\\-help, \\-h\n",
		".SH EXAMPLES\n.nf\nbottle\\-test x\n.fi\n", "7 some of several failed", "\n9 never\n", ".SH SEE ALSO\n.nf\nbottle\\-other(1)\n.fi\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not in it:\n%s", want, page)
		}
	}
}
