package frame

import (
	"strings"
	"unicode"
)

// MaxSelection is the most that is taken of a selection, in bytes: as base64 it
// still is what terminals take.
const MaxSelection = 512 << 10

// Text is text as it may be typed into a session: line ends are newlines, and
// no other control character is left but tabs, so that nothing in it is a key
// or ends the paste. Newlines at its end are cut off: who types it, submits it.
func Text(s string) string {
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s)
	s = strings.Map(func(r rune) rune { // it turns what is not UTF-8 into U+FFFD
		if r != '\n' && r != '\t' && unicode.IsControl(r) {
			return -1
		}
		return r
	}, s)
	return strings.TrimRight(s, "\n")
}
