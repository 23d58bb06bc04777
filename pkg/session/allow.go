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
	alternate      int  // the name by which the alternate screen was entered; 0: it was not
	held           bool // the alternate screen was entered for the stream, which may not leave it
	region, colour bool
	changed        []string
}

// change notes that something is not as it was, by what puts it back. That stays
// so where the stream has put it back itself: the end of a stream may be cut off.
func (m *modes) change(back string) {
	if !slices.Contains(m.changed, back) {
		m.changed = append(m.changed, back)
	}
}

// escape notes a sequence without parameters.
func (m *modes) escape(seq string) {
	switch seq {
	case "=":
		m.change("\x1b>")
	case "(0", ")0":
		m.change("\x1b" + seq[:1] + "B")
	}
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
		m.change("\x1b[0 q")
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
		m.note(introducer, n, final == 'h')
		out = append(out, introducer...)
		out = strconv.AppendInt(out, int64(n), 10)
		out = append(out, final)
	}
	return out
}

// modesOn are on where nobody switched them off.
var modesOn = []string{"\x1b[?7", "\x1b[?25", "\x1b[34"}

// note notes that a mode was switched.
func (m *modes) note(introducer string, n int, on bool) {
	name := introducer + strconv.Itoa(n)
	switch {
	case introducer == "\x1b[?" && slices.Contains(alternates, n):
		m.alternate = 0
		if on {
			m.alternate = n
		}
	case slices.Contains(modesOn, name) && !on:
		m.change(name + "h")
	case !slices.Contains(modesOn, name) && on:
		m.change(name + "l")
	}
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

// UTF8 returns what makes a terminal read UTF-8 where the locale that getenv
// (os.Getenv) tells of does not say that it does.
func (f *Filter) UTF8(getenv func(string) string) []byte {
	ask, back := charset(getenv)
	if back != "" {
		f.modes.change(back)
	}
	return []byte(ask)
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
	if m.region {
		b = append(b, "\x1b7\x1b[r\x1b8"...) // resetting the region moves the cursor
	}
	if m.colour {
		b = append(b, "\x1b[m"...)
	}
	for _, back := range m.changed {
		b = append(b, back...)
	}
	if m.alternate != 0 {
		b = fmt.Appendf(b, "\x1b[?%dl", m.alternate)
	}
	return b
}
