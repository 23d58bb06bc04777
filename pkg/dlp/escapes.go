package dlp

import (
	"bytes"
	"unicode/utf8"
)

// escapes finds places that are full of escapes (%41, \u0041, \x41, &#65;) or
// in UTF-16, and writes what they stand for into the text below.
func (t *text) escapes(limit int, final bool) {
	buf, i := t.buf, t.escapeAt
	next := starters{buf: buf}
	for t.q.err == nil {
		if i = next.from(i); i >= limit {
			break
		}
		c := buf[i]
		n, _ := escape(buf[i:])
		if c == 0 {
			if n = wide(buf[i:]); n > 0 {
				i = t.narrow(i)
				continue
			}
		}
		if n <= 2 {
			i++
			continue
		}
		i = t.cluster(i, limit)
	}
	t.escapeAt = max(i, limit)
}

// starters finds what an escape may begin with. Most texts hold none, and are
// passed over many bytes at a time.
type starters struct {
	buf []byte
	at  [4]int // where each stands next, behind what was passed; 0: not looked for yet
}

// from returns where the first stands in buf[i:]; len(buf): nowhere.
func (s *starters) from(i int) int {
	first := len(s.buf)
	for k, c := range [4]byte{'%', '\\', '&', 0} {
		if s.at[k] <= i && i < len(s.buf) {
			if n := bytes.IndexByte(s.buf[i:], c); n >= 0 {
				s.at[k] = i + n
			} else {
				s.at[k] = len(s.buf)
			}
		}
		first = min(first, max(s.at[k], i))
	}
	return first
}

var starter = func() (t [256]bool) {
	t['%'], t['\\'], t['&'], t[0] = true, true, true, true
	return t
}()

// cluster unescapes the text around the escape at buf[at:], up to where none
// was for a while, and returns where to go on.
func (t *text) cluster(at, limit int) int {
	from, to := max(0, at-margin), at
	for i := at; i < limit && i < to+margin; {
		n := 1
		if starter[t.buf[i]] {
			if m, _ := escape(t.buf[i:]); m > 2 {
				n, to = m, i+m
			}
		}
		i += n
	}
	end := min(len(t.buf), to+margin)
	out := t.scratch[:0]
	for i := from; i < end; {
		if starter[t.buf[i]] {
			if n, c := escape(t.buf[i:end]); n > 0 {
				out = utf8.AppendRune(out, c)
				i += n
				continue
			}
		}
		out = append(out, t.buf[i])
		i++
	}
	t.runMark = *t.markAt(at)
	t.lay("escapes", out, true)
	return to
}

// escape reads an escape: how long it is and what it stands for. 0: there is none.
func escape(b []byte) (int, rune) {
	if len(b) < 2 {
		return 0, 0
	}
	switch b[0] {
	case '%':
		return hexEscape(b, 1, 2)
	case '\\':
		switch c := b[1]; c {
		case 'x':
			return hexEscape(b, 2, 2)
		case 'u':
			return hexEscape(b, 2, 4)
		case 'n', 'r', 't':
			return 2, '\n'
		case '"', '\'', '\\', '/':
			return 2, rune(c)
		}
	case '&':
		return entity(b)
	}
	return 0, 0
}

func hexEscape(b []byte, from, digits int) (int, rune) {
	if len(b) < from+digits {
		return 0, 0
	}
	v := rune(0)
	for _, c := range b[from : from+digits] {
		if !hexByte[c] {
			return 0, 0
		}
		v = v<<4 | rune(nibble(c))
	}
	return from + digits, v
}

var entities = map[string]rune{"amp": '&', "lt": '<', "gt": '>', "quot": '"', "apos": '\'', "nbsp": ' ', "sol": '/', "plus": '+',
	"equals": '=', "lowbar": '_', "hyphen": '-', "period": '.', "colon": ':', "commat": '@', "num": '#', "percnt": '%'}

// entity reads an entity of HTML.
func entity(b []byte) (int, rune) {
	end := 1
	for end < len(b) && end < 10 && b[end] != ';' {
		end++
	}
	if end >= len(b) || b[end] != ';' || end < 3 {
		return 0, 0
	}
	name := b[1:end]
	if name[0] != '#' {
		c, ok := entities[string(name)]
		if !ok {
			return 0, 0
		}
		return end + 1, c
	}
	digits, base := name[1:], rune(10)
	if digits[0]|0x20 == 'x' {
		digits, base = digits[1:], 16
	}
	v := rune(0)
	for _, c := range digits {
		if !hexByte[c] || base == 10 && c > '9' {
			return 0, 0
		}
		v = v*base + rune(nibble(c))
	}
	return end + 1, v
}

// wide says whether b, which begins with a NUL, goes on in UTF-16 of ASCII, and
// for how many bytes.
func wide(b []byte) int {
	n := 0
	for n+1 < len(b) && b[n] == 0 && b[n+1] >= ' ' && b[n+1] < 0x7f {
		n += 2
	}
	if n < minRun {
		return 0
	}
	return n
}

// narrow writes UTF-16 as ASCII, and returns where to go on.
func (t *text) narrow(at int) int {
	from := max(0, at-1) // in little endian the first character stands before its NUL
	n := wide(t.buf[at:])
	out := append(t.scratch[:0], t.buf[from])
	for i := at + 1; i < at+n; i += 2 {
		out = append(out, t.buf[i])
	}
	t.runMark = *t.markAt(from)
	t.lay("utf-16", out, true)
	return at + n
}
