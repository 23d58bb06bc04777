package dlp

import (
	"bytes"
	"regexp"
	"strings"
	"sync"
)

// allow is an Allow made ready.
type allow struct {
	Allow
	once  sync.Once
	re    *regexp.Regexp
	words *automaton
}

func allowsOf(list []Allow) []*allow {
	var out []*allow
	for _, a := range list {
		out = append(out, &allow{Allow: a})
	}
	return out
}

func (a *allow) compile() {
	a.once.Do(func() {
		if len(a.Regexes) > 0 {
			a.re = regexp.MustCompile("(?:" + strings.Join(a.Regexes, ")|(?:") + ")")
		}
		if len(a.Words) > 0 {
			a.words = newAutomaton(a.Words, foldCase)
		}
	})
}

// holds says whether the exception holds for a secret in the match
// text[from:to]. An assignment's match begins before its keyword.
func (a *allow) holds(text []byte, from, to int, secret []byte, assignment bool) bool {
	a.compile()
	found := false
	if a.words != nil {
		a.words.scan(0, secret, func(int, []int32) bool {
			found = true
			return false
		})
	}
	if found || a.re == nil {
		return found
	}
	switch a.Target {
	case "match":
		for n := 0; assignment && n < leadLength && from > 0 && (wordByte[text[from-1]] || text[from-1] == '.' || text[from-1] == '-'); n++ {
			from--
		}
		return a.re.Match(text[from:to])
	case "line":
		return a.re.Match(line(text, from, to))
	}
	return a.re.Match(secret)
}

// stand-ins for a secret, in lower case.
var standIns = sync.OnceValue(func() *automaton {
	return newAutomaton([]string{"example", "placeholder", "xxxxx", "*****", ".....", "your-", "your_", "yourkey", "yourapikey", "changeme",
		"redacted", "123456789", "01234567", "76543210", "abcdefgh", "fedcba98", "dummy", "notareal", "not-a-real", "not_a_real", "insert-", "insert_",
		"replace-me", "replace_me", "replaceme", "-goes-here", "_goes_here"}, foldCase)
})

// samples are published in documentation, and thus secret to nobody.
var samples = [][]byte{
	[]byte("SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"), // jwt.io
	[]byte("KMUFsIDTnFmyG3nMiGM6H9FNFUROf3wh7SmqJp-QV30"), // jwt.io since 2025
	[]byte("TJVA95OrM7E2cBab30RMHrHDcEfxjoYZgeFONFh7HgQ"), // jwt.io before 2018
	[]byte("wJalrXUtnFEMI/K7MDENG"),                       // AWS
	[]byte("4eC39HqLyjWDarjtT1zdp7dc"),                    // Stripe
}

// placeholder says whether secret stands in for one.
func placeholder(secret []byte) bool {
	found := false
	standIns().scan(0, secret, func(int, []int32) bool {
		found = true
		return false
	})
	for _, s := range samples {
		found = found || bytes.Contains(secret, s)
	}
	return found
}
