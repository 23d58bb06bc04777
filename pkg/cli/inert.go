package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Inert returns text that no terminal acts on and no reader misreads: control
// characters (C0, DEL, C1), bidirectional and zero-width ones, and invalid
// UTF-8 become visible escapes such as \x1b and \u202e. Newlines too.
func Inert(text string) string {
	if !strings.ContainsFunc(text, misleads) && utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case misleads(r) && r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		case misleads(r) && r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		case misleads(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
		i += size
	}
	return b.String()
}

// misleads says whether a terminal or a person could misread r: controls,
// formats (bidi, zero-width, tags, BOM), line separators, and the blanks that
// are no spaces to see.
func misleads(r rune) bool {
	switch {
	case r < 0x7f: // nearly all of what is printed
		return r < ' '
	case r == 0x034f || r == 0x115f || r == 0x1160 || r == 0x17b4 || r == 0x17b5 || r == 0x3164 || r == 0xffa0 || r == 0x2800:
		return true // they draw nothing
	case r >= 0xfe00 && r <= 0xfe0f || r >= 0x180b && r <= 0x180f:
		return true // variation selectors
	case r == 0x2065 || r >= 0xfff0 && r <= 0xfff8 || r >= 0xe0000 && r <= 0xe0fff:
		return true // tags, selectors, and what is kept free for their like
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}

// WriteJSON prints v as one line of JSON in which every character that a
// terminal or a person could misread is escaped; encoding/json passes most of
// them raw.
func WriteJSON(w io.Writer, v any) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("cannot encode JSON: %w", err)
	}
	_, err := w.Write(escapeJSON(buf.Bytes()))
	return err
}

// escapeJSON escapes in encoded JSON; outside of strings it is ASCII already.
func escapeJSON(line []byte) []byte {
	body := bytes.TrimSuffix(line, []byte("\n"))
	if !bytes.ContainsFunc(body, misleads) {
		return line
	}
	var b bytes.Buffer
	for _, r := range string(body) {
		switch {
		case !misleads(r):
			b.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteByte('\n')
	return b.Bytes()
}
