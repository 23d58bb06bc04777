package session

import (
	"io"
	"strings"
	"unicode/utf8"
)

// Level is how much of a stream passes the filter.
type Level int

const (
	// Text passes printable characters, newlines and tabs.
	Text Level = iota
	// Colours passes CSI … m, CR, BS and BEL as well.
	Colours
	// Screen passes all that a program on a whole screen needs (allow.go).
	Screen
)

// Bounds of what is kept of an unfinished sequence, and of how long a string
// without its end may be before what follows is text again.
const (
	maxSequence = 256
	maxString   = 1 << 20
)

// Filter is a writer that passes an allowlist of a hostile terminal stream on
// to another: valid UTF-8 in the order of its characters, a few control
// characters, and complete sequences that draw. All that makes a terminal answer, remember, or act outside of its
// screen is swallowed, and so is what is not known. A sequence is passed on
// only when it is complete, so that how the stream is cut into writes makes no
// difference, and nobody can finish one that was begun here.
type Filter struct {
	w     io.Writer
	level Level
	state state
	seq   []byte // the unfinished sequence or character
	skip  int    // bytes swallowed of the string at hand, or still to swallow
	out   []byte
	modes modes
}

type state int

const (
	ground  state = iota
	char          // inside of a character of several bytes
	escape        // after ESC
	control       // inside of a CSI sequence
	ignore        // inside of a CSI sequence that is not wanted
	str           // inside of OSC, DCS, SOS, PM, APC or a title
	strESC        // after an ESC in there
	osc           // after ESC ]
	palette       // inside of the Linux console's ESC ] P, which has no end
)

// NewFilter returns a filter that writes to w.
func NewFilter(w io.Writer, level Level) *Filter { return &Filter{w: w, level: level} }

// Write filters p and writes what passes by one call of the writer below. It
// returns that writer's error.
func (f *Filter) Write(p []byte) (int, error) {
	f.out = f.out[:0]
	for rest := p; len(rest) > 0; {
		if f.state == ground {
			n := f.plain(rest)
			if rest = rest[n:]; len(rest) == 0 {
				break
			}
		}
		f.step(rest[0])
		rest = rest[1:]
	}
	if len(f.out) == 0 {
		return len(p), nil
	}
	if _, err := f.w.Write(f.out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// plain copies the text at the front of p and returns its length: up to the
// first byte that needs the state machine.
func (f *Filter) plain(p []byte) int {
	i := 0
	for i < len(p) {
		if b := p[i]; b < utf8.RuneSelf {
			if b < 0x20 && b != '\n' || b == 0x7f {
				break
			}
			i++
			continue
		}
		r, size := utf8.DecodeRune(p[i:])
		if r == utf8.RuneError && size <= 1 || r < 0xa0 || reorders(r) {
			break
		}
		i += size
	}
	f.out = append(f.out, p[:i]...)
	return i
}

// step takes one byte through the state machine.
func (f *Filter) step(b byte) {
	switch f.state {
	case ground:
		f.atGround(b)
	case char:
		f.atChar(b)
	case escape:
		f.atEscape(b)
	case control, ignore:
		f.atControl(b)
	case osc, str:
		f.atString(b)
	case strESC:
		if b == '\\' {
			f.state = ground
			return
		}
		f.begin() // the string is cut off by another sequence
		f.atEscape(b)
	case palette:
		if f.skip--; f.skip == 0 || b < 0x20 {
			f.state = ground
		}
		if b == 0x1b {
			f.begin()
		}
	}
}

func (f *Filter) atGround(b byte) {
	switch {
	case b == 0x1b:
		f.begin()
	case b < 0x20 || b == 0x7f:
		f.c0(b)
	case b < utf8.RuneSelf:
		f.out = append(f.out, b)
	case b < 0xa0: // C1, or a stray byte of a character
	default:
		f.seq = append(f.seq[:0], b)
		f.state = char
		f.character()
	}
}

func (f *Filter) c0(b byte) {
	switch b {
	case '\n', '\t':
	case '\r', '\b', '\a':
		if f.level == Text {
			return
		}
	default:
		return
	}
	f.out = append(f.out, b)
}

func (f *Filter) atChar(b byte) {
	if b < 0x80 || b >= 0xc0 { // cut off
		f.out = append(f.out, replacement...)
		f.state = ground
		f.atGround(b)
		return
	}
	f.seq = append(f.seq, b)
	f.character()
}

const replacement = "\uFFFD"

// character passes on the character in seq once it is complete. What is no
// character becomes one replacement.
func (f *Filter) character() {
	if !utf8.FullRune(f.seq) {
		return
	}
	f.state = ground
	switch r, size := utf8.DecodeRune(f.seq); {
	case r == utf8.RuneError && size <= 1:
		f.out = append(f.out, replacement...)
	case r < 0xa0 || reorders(r): // C1 in UTF-8
	default:
		f.out = append(f.out, f.seq...)
	}
}

// reorders says whether r tells a terminal that knows of directions in which
// order to draw. It would do so with the whole line, and beside the agent's pane
// there is another one's text in it.
func reorders(r rune) bool {
	return r >= 0x061c && (r == 0x061c || r == 0x200e || r == 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x206f)
}

// begin starts a sequence.
func (f *Filter) begin() {
	f.state = escape
	f.seq = f.seq[:0]
}

func (f *Filter) atEscape(b byte) {
	switch {
	case b == 0x1b:
		f.begin()
	case b < 0x20: // CAN and SUB cut a sequence off; others have no business in one
		f.state = ground
	case b == '[' && len(f.seq) == 0:
		f.state = control
	case b == ']' && len(f.seq) == 0:
		f.state, f.skip = osc, 0
	case strings.IndexByte("PX^_k", b) >= 0 && len(f.seq) == 0: // k: a title, to screen and tmux
		f.state, f.skip = str, 0
	case b < 0x30: // intermediate
		if f.seq = append(f.seq, b); len(f.seq) > 8 {
			f.state = ground
		}
	case b < 0x7f:
		f.state = ground
		f.seq = append(f.seq, b)
		if f.level == Screen && allowedEscape(string(f.seq)) {
			f.modes.escape(string(f.seq))
			f.out = append(append(f.out, 0x1b), f.seq...)
		}
	default:
		f.state = ground
	}
}

func (f *Filter) atControl(b byte) {
	switch {
	case b == 0x1b:
		f.begin()
	case b == 0x18 || b == 0x1a:
		f.state = ground
	case b < 0x20 || b >= 0x7f || len(f.seq) >= maxSequence:
		f.state = ignore
		if b >= 0x40 && b < 0x7f {
			f.state = ground
		}
	case b < 0x40:
		f.seq = append(f.seq, b)
	default:
		if f.state == control {
			f.out = f.modes.pass(f.out, f.level, f.seq, b)
		}
		f.state = ground
	}
}

// atString swallows. The Linux console has two strings without an end.
func (f *Filter) atString(b byte) {
	first := f.state == osc
	f.state = str
	f.skip++
	switch {
	case b == 0x1b:
		f.state = strESC
	case b == '\a' || b == 0x18 || b == 0x1a || f.skip > maxString:
		f.state = ground
	case first && b == 'R':
		f.state = ground
	case first && b == 'P':
		f.state, f.skip = palette, 7
	}
}
