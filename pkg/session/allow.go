package session

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
)

// Bounds of a sequence's numbers. A repeat of 9999 is the most that a few bytes
// can draw.
const (
	maxParams = 32
	maxDigits = 4
)

// escapes are the sequences without parameters: save and restore the cursor,
// line feeds, the keypad's modes, and the two character sets that are drawn
// with. Not among them: tab stops, which nothing puts back.
var escapes = []string{"7", "8", "D", "E", "M", "=", ">", "(B", "(0", ")B", ")0"}

func allowedEscape(seq string) bool { return slices.Contains(escapes, seq) }

// decModes are the private modes that may be set and reset: cursor keys, wrap,
// the cursor's blinking and visibility, mouse reports, focus reports, the
// alternate screen, bracketed paste, synchronised output.
var decModes = []int{1, 7, 12, 25, 47, 1000, 1002, 1003, 1004, 1006, 1047, 1049, 2004, 2026}

// alternates are the alternate screen's names, the oldest first.
var alternates = []int{47, 1047, 1049}

// ansiModes: insert, and a name of the cursor's visibility in tmux's terminfo.
var ansiModes = []int{4, 34}

// finals are the sequences CSI numbers final, with the most numbers they may
// have and the highest of them. They move, erase, insert, delete, scroll.
// Not among them: what asks (c, n, x), windows (t), printing (i), resets (p),
// tab stops (g).
var finals = map[byte]struct{ count, highest int }{
	'A': {1, 9999}, 'B': {1, 9999}, 'C': {1, 9999}, 'D': {1, 9999}, 'E': {1, 9999}, 'F': {1, 9999},
	'G': {1, 9999}, '`': {1, 9999}, 'a': {1, 9999}, 'd': {1, 9999}, 'e': {1, 9999},
	'H': {2, 9999}, 'f': {2, 9999}, 'I': {1, 9999}, 'Z': {1, 9999},
	'J': {1, 2}, // 3 would erase the operator's own history
	'K': {1, 2}, 'L': {1, 9999}, 'M': {1, 9999}, 'P': {1, 9999}, '@': {1, 9999}, 'X': {1, 9999},
	'S': {1, 9999}, 'T': {1, 9999}, 'b': {1, 9999},
	'r': {2, 9999}, 's': {0, 0}, 'u': {0, 0},
}

// modes remembers what passed and would outlast the stream.
type modes struct {
	alternate                             int  // the name by which the alternate screen was entered; 0: it was not
	held                                  bool // the alternate screen was entered for the stream, which may not leave it
	region, shape, blink, visible, colour bool
}

// pass appends the sequence CSI seq final to out where it may pass.
func (m *modes) pass(out []byte, level Level, seq []byte, final byte) []byte {
	switch {
	case final == 'm' && level >= Colours && colours(seq):
		m.colour = true
	case level != Screen:
		return out
	case final == 'q' && bytes.HasSuffix(seq, []byte(" ")):
		if n, ok := numbers(seq[:len(seq)-1], 1, 6); !ok || len(n) > 1 {
			return out
		}
		m.shape = true
	case final == 'h' || final == 'l':
		return m.set(out, seq, final)
	default:
		rule, known := finals[final]
		if !known {
			return out
		}
		if _, ok := numbers(seq, rule.count, rule.highest); !ok {
			return out
		}
		m.region = m.region || final == 'r'
	}
	out = append(out, "\x1b["...)
	return append(append(out, seq...), final)
}

// set passes on those modes of a set or reset that are allowed, one by one.
func (m *modes) set(out, seq []byte, final byte) []byte {
	introducer, allowed := "\x1b[", ansiModes
	if len(seq) > 0 && seq[0] == '?' {
		seq, introducer, allowed = seq[1:], "\x1b[?", decModes
	}
	all, ok := numbers(seq, maxParams, 9999)
	if !ok {
		return out
	}
	for _, n := range all {
		if !slices.Contains(allowed, n) || m.held && slices.Contains(alternates, n) {
			continue
		}
		switch {
		case slices.Contains(alternates, n) && final == 'h':
			m.alternate = n
		case slices.Contains(alternates, n):
			m.alternate = 0
		}
		m.blink = m.blink || n == 12
		m.visible = m.visible || n == 34
		out = append(out, introducer...)
		out = strconv.AppendInt(out, int64(n), 10)
		out = append(out, final)
	}
	return out
}

// numbers reads numbers between semicolons: at most count, none above highest.
// An absent one counts as 0.
func numbers(seq []byte, count, highest int) ([]int, bool) {
	if len(seq) == 0 {
		return nil, true
	}
	var all []int
	for part := range bytes.SplitSeq(seq, []byte(";")) {
		n, ok := number(part)
		if !ok || n > highest {
			return nil, false
		}
		all = append(all, n)
	}
	return all, len(all) <= count
}

func number(digits []byte) (int, bool) {
	n := 0
	for _, d := range digits {
		if d < '0' || d > '9' {
			return 0, false
		}
		n = n*10 + int(d-'0')
	}
	return n, len(digits) <= maxDigits
}

// colours says whether seq is a list of attributes: numbers, which may have
// parts between colons.
func colours(seq []byte) bool {
	params := 0
	for part := range bytes.SplitSeq(seq, []byte(";")) {
		for sub := range bytes.SplitSeq(part, []byte(":")) {
			params++
			if _, ok := number(sub); !ok || params > maxParams {
				return false
			}
		}
	}
	return true
}

// Enter takes a whole screen for the stream and returns what brings a terminal
// there: the stream cannot leave it, so that what was on the terminal before is
// there again after the restore.
func (f *Filter) Enter() []byte {
	f.modes.alternate, f.modes.held = 1049, true
	return []byte("\x1b[?1049h\x1b[H\x1b[2J")
}

// Restore returns what puts a terminal back after whatever passed through the
// filter. Nothing in it asks the terminal anything.
func (f *Filter) Restore() []byte {
	m, b := f.modes, []byte(nil)
	switch {
	case f.level == Screen:
	case m.colour:
		return []byte("\x1b[m")
	default:
		return nil
	}
	if m.region {
		b = append(b, "\x1b7\x1b[r\x1b8"...) // resetting the region moves the cursor
	}
	b = append(b, "\x1b[?2026l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1004l\x1b[?2004l"...)
	b = append(b, "\x1b[?1l\x1b>\x1b[4l\x1b[?7h\x1b(B\x1b)B\x1b[m"...)
	if m.alternate != 0 {
		b = fmt.Appendf(b, "\x1b[?%dl", m.alternate)
	}
	for _, c := range []struct {
		changed bool
		back    string
	}{{m.shape, "\x1b[0 q"}, {m.blink, "\x1b[?12l"}, {m.visible, "\x1b[34h"}} {
		if c.changed {
			b = append(b, c.back...)
		}
	}
	return append(b, "\x1b[?25h"...)
}
