package policy

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Paths are compared as they stand on the wire, byte by byte, since that is how
// they go upstream. Where an upstream could read a path in another way than we
// do, no prefix says anything about it; so such a path is refused, not mended.

// maxDecoding is how often an upstream is thought to decode a path. What is
// encoded deeper is refused.
const maxDecoding = 4

// pathFault says what is wrong with a path on any route; empty: nothing.
func pathFault(path string) string {
	for i := range len(path) {
		switch c := path[i]; {
		case c == '#':
			return "the path has a # in it"
		case c <= ' ' || c == 0x7f:
			return "the path has a control character or a space in it"
		case c == '%' && strings.HasPrefix(path[i:], "%00"):
			return "the path has a NUL in it"
		}
	}
	return ""
}

// ambiguity says how an upstream could read a path in another way than it
// stands there; empty: in none. It expects what pathFault let pass.
func ambiguity(path string) string {
	if path == "*" { // OPTIONS *: no path at all, and under no prefix
		return ""
	}
	if path == "" || path[0] != '/' {
		return "the path does not begin with /"
	}
	encoded := false
	for i := range len(path) {
		switch c := path[i]; {
		case c == '\\' || c == ';':
			return fmt.Sprintf("the path has a %c in it", c)
		case c >= 0x80:
			return "the path has a character that must be encoded"
		case c == '/' && i > 0 && path[i-1] == '/':
			return "the path has an empty segment (//)"
		case c == '%':
			encoded = true
		}
	}
	if fault := dots(path); fault != "" || !encoded {
		return fault
	}
	return encodedFault(path)
}

// dots finds segments that an upstream would resolve. Servers that trim spaces
// find them behind these too.
func dots(path string) string {
	if !strings.Contains(path, "/.") && !strings.Contains(path, "/ ") {
		return ""
	}
	for segment := range strings.SplitSeq(path, "/") {
		switch strings.Trim(segment, " ") {
		case ".", "..":
			return "the path has a segment of dots (. or ..)"
		}
	}
	return ""
}

// encodedFault decodes a path again and again, as careless servers do, and
// looks for what has a meaning in a path.
func encodedFault(path string) string {
	for depth := range maxDecoding {
		next, found, fault := decode(path, depth == 0)
		if fault != "" {
			return fault
		}
		if fault = dots(next); fault != "" {
			return fault
		}
		if !utf8.ValidString(next) {
			return "the path has an encoded character that is not UTF-8"
		}
		if i := strings.IndexFunc(next, lookalike); i >= 0 {
			return "the path has a character that some servers take for a dot or a slash"
		}
		if !found {
			return ""
		}
		path = next
	}
	return "the path is encoded too deep"
}

// decode takes one layer of percent encoding off and says whether there was
// one. strict refuses a % that encodes nothing; below the first layer it is an
// ordinary character.
func decode(path string, strict bool) (out string, found bool, fault string) {
	if !strings.Contains(path, "%") {
		return path, false, ""
	}
	b := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		if path[i] != '%' {
			b = append(b, path[i])
			continue
		}
		high, low := -1, -1
		if i+2 < len(path) {
			high, low = unhex(path[i+1]), unhex(path[i+2])
		}
		if high < 0 || low < 0 {
			if strict {
				return "", false, "the path has a % that encodes nothing"
			}
			b = append(b, '%')
			continue
		}
		c := byte(high<<4 | low)
		if c < ' ' || c == 0x7f || strings.IndexByte(`./\;`, c) >= 0 {
			return "", false, fmt.Sprintf("the path has an encoded %q in it", c)
		}
		b, found, i = append(b, c), true, i+2
	}
	return string(b), found, ""
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// lookalike are the characters that compatibility mappings turn into a dot, a
// slash, a backslash or a semicolon.
func lookalike(r rune) bool { return strings.ContainsRune("．․‥…／⁄∕＼﹨∖；﹔", r) }

// below says whether path is prefix, or under it: a prefix ends at a segment.
func below(path, prefix string) bool {
	if !strings.HasPrefix(path, prefix) {
		return false
	}
	return len(path) == len(prefix) || prefix[len(prefix)-1] == '/' || path[len(prefix)] == '/'
}

// maxPath bounds a prefix, in bytes.
const maxPath = 1024

// CheckPrefix says what is wrong with a path prefix as an operator wrote it.
func CheckPrefix(prefix string) error {
	switch {
	case len(prefix) > maxPath:
		return fmt.Errorf("the path is longer than %d bytes", maxPath)
	case strings.Contains(prefix, "?"):
		return errors.New("the path has a query, and queries are not judged")
	}
	for _, fault := range []string{pathFault(prefix), ambiguity(prefix)} {
		if fault != "" {
			return errors.New(fault)
		}
	}
	if prefix[0] != '/' {
		return errors.New("the path does not begin with /")
	}
	return nil
}
