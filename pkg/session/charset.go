package session

import (
	"regexp"
	"strings"
	"sync"
)

// A terminal that takes its bytes one by one, in Latin-1 say, finds C1 controls
// inside of characters that are harmless in UTF-8: ❔ ends in the bytes of an
// operating system command. So a terminal that may be such a one is told to
// read UTF-8. Those that always do ignore it.
const (
	readUTF8  = "\x1b%G"
	readBytes = "\x1b%@"
)

var utf8Locale = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?i)\.utf-?8(@|$)`) })

// charset returns what makes a terminal read UTF-8, and what puts it back, where
// the locale's variables do not say that it does anyway. A locale that is not
// set, or C, says nothing of the terminal: that is left as it then is.
func charset(getenv func(string) string) (ask, back string) {
	if getenv("TERM") == "dumb" {
		return "", "" // it acts on nothing
	}
	locale := ""
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale = getenv(name); locale != "" {
			break
		}
	}
	switch {
	case utf8Locale().MatchString(locale):
		return "", ""
	case locale == "" || locale == "C" || locale == "POSIX" || strings.HasPrefix(locale, "C."):
		return readUTF8, ""
	}
	return readUTF8, readBytes
}
