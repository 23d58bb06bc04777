package proposal

import (
	"strings"
	"unicode"

	"golang.org/x/net/idna"
)

// Suspicion says what of a canonical host a person should look at twice; empty:
// nothing. Hosts are shown in punycode, so that nothing looks like what it is
// not; this says so in words.
func Suspicion(host string) string {
	if !strings.Contains(host, "xn--") {
		return ""
	}
	name, err := idna.ToUnicode(host)
	if err != nil {
		return "no proper international name"
	}
	for label := range strings.SplitSeq(name, ".") {
		if mixes(label) {
			return "MIXES SCRIPTS"
		}
	}
	return "international name"
}

// mixes says whether letters of one label are of more than one script.
func mixes(label string) bool {
	seen := map[string]bool{}
	for _, r := range label {
		for name, table := range scripts {
			if unicode.Is(table, r) {
				seen[name] = true
			}
		}
		if r > 0x7f && unicode.IsLetter(r) && !known(r) {
			seen["other"] = true
		}
	}
	if seen["Japanese"] || seen["Hangul"] {
		delete(seen, "Chinese") // they write in its characters too
	}
	return len(seen) > 1
}

var scripts = map[string]*unicode.RangeTable{"Latin": unicode.Latin, "Cyrillic": unicode.Cyrillic, "Greek": unicode.Greek,
	"Armenian": unicode.Armenian, "Hebrew": unicode.Hebrew, "Arabic": unicode.Arabic, "Cherokee": unicode.Cherokee,
	"Thai": unicode.Thai, "Hangul": unicode.Hangul, "Japanese": japanese, "Chinese": unicode.Han}

// japanese are the two scripts of its own that Japanese mixes.
var japanese = &unicode.RangeTable{R16: append(append([]unicode.Range16{}, unicode.Hiragana.R16...), unicode.Katakana.R16...)}

func known(r rune) bool {
	for _, table := range scripts {
		if unicode.Is(table, r) {
			return true
		}
	}
	return false
}
