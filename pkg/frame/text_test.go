package frame

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestTextLosesWhatWouldBeKeys(t *testing.T) {
	for in, want := range map[string]string{
		"fix issue 12\n\n":                 "fix issue 12",
		"a\r\nb\rc":                        "a\nb\nc",
		"x\x1b[201~\x03\x04y":              "x[201~y",
		"tab\tstays, \u009b2J and \x7f no": "tab\tstays, 2J and  no",
		"\xff":                             "\ufffd",
	} {
		if got := Text(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("a\x1b[200~\r\n\x9b")
	f.Fuzz(func(t *testing.T, in string) {
		got := Text(in)
		bad := func(r rune) bool { return r != '\n' && r != '\t' && unicode.IsControl(r) }
		if !utf8.ValidString(got) || strings.ContainsFunc(got, bad) || Text(got) != got {
			t.Errorf("%q: %q", in, got)
		}
	})
}
