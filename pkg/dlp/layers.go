package dlp

import "encoding/base32"

const (
	maxDepth = 3  // decodings of one text on top of another
	minRun   = 16 // characters of a run that is decoded
	longRun  = 64 // characters of a run that is decoded whatever it looks like
	margin   = 160
)

// runByte are the characters of both alphabets of base64, and with that of
// base32 and hexadecimal.
var runByte = set("azAZ09++//__--")

// runs finds runs of encoded characters and writes what they encode into the
// text below. A long run that goes on is decoded as far as it came.
func (t *text) runs(final bool) {
	buf := t.buf
	i := t.runAt
	for t.q.err == nil {
		from, found := i, t.runOpen
		if !found {
			if from, found = nextRun(buf, i); !found {
				i = from
				break
			}
		}
		to := from
		for to < len(buf) && runByte[buf[to]] {
			to++
		}
		open := to == len(buf) && !final
		if open && !t.runOpen && to-from < block/2 {
			i = from // it will be here whole
			break
		}
		if open {
			to -= (to - from) % 8
		}
		t.run(from, to)
		t.runOpen, i = open, to
		if open {
			break
		}
	}
	t.runAt = i
}

// nextRun returns where the first run in buf[i:] begins, or where one might
// begin yet.
func nextRun(buf []byte, i int) (int, bool) {
	for i+minRun <= len(buf) {
		k := i + minRun - 1
		for k >= i && runByte[buf[k]] {
			k--
		}
		if k < i {
			return i, true
		}
		i = k + 1
	}
	return i, false
}

// run decodes the run buf[from:to], or the next part of one.
func (t *text) run(from, to int) {
	first := !t.runOpen
	if first {
		t.runMark = *t.markAt(from)
		first = !t.continues(from)
		t.coins(from, to)
	}
	t.decode(t.buf[from:to], first)
	t.runEnd, t.runWhole = to, (to-from)%4 == 0
}

// continues says whether the run at buf[from:] goes on where the last one broke
// its line.
func (t *text) continues(from int) bool {
	gap := from - t.runEnd
	if !t.runWhole || t.runEnd <= 0 || gap < 1 || gap > 3 {
		return false
	}
	for _, c := range t.buf[t.runEnd:from] {
		if c != '\n' && c != '\r' && c != ' ' {
			return false
		}
	}
	return true
}

// decode decodes one run by what it looks like.
func (t *text) decode(run []byte, first bool) {
	var lower, upper, digit, other, beyondHex, beyond32 bool
	for _, c := range run {
		switch {
		case c >= 'a' && c <= 'z':
			lower = true
			beyondHex = beyondHex || c > 'f'
		case c >= 'A' && c <= 'Z':
			upper = true
			beyondHex = beyondHex || c > 'F'
		case c >= '0' && c <= '9':
			digit = true
			beyond32 = beyond32 || c < '2' || c > '7'
		default:
			other = true
		}
	}
	switch {
	case !other && !beyondHex && digit:
		t.lay("hex", decodeHex(t.q.scratch[:0], run), first)
	case !other && !beyond32 && upper != lower && (upper || digit):
		t.lay("base32", decode32(t.q.scratch[:0], run), first)
	case upper && lower, len(run) >= longRun:
		t.decode64(run, first)
	}
}

// decode64 decodes base64: as it stands into the text below, and at the other
// three alignments where that yields something that is encoded again.
func (t *text) decode64(run []byte, first bool) {
	t.lay("base64", decodeBase64(t.q.scratch[:0], run), first)
	if t.depth+1 == maxDepth {
		return
	}
	for shift := 1; shift < 4 && len(run)-shift >= minRun*4/3; shift++ {
		out := decodeBase64(t.q.scratch[:0], run[shift:])
		if _, again := nextRun(out, 0); again {
			if t.aside == nil {
				t.aside = t.q.newText(t.depth + 1)
			}
			t.put(t.aside, "base64", out, true)
		}
	}
}

// lay writes decoded bytes into the text below.
func (t *text) lay(via string, out []byte, first bool) {
	if t.below == nil {
		t.below = t.q.newText(t.depth + 1)
	}
	t.put(t.below, via, out, first)
}

// put writes decoded bytes into a text one layer deeper.
func (t *text) put(u *text, via string, out []byte, first bool) {
	if cap(out) > cap(t.q.scratch) {
		t.q.scratch = out[:0]
	}
	if len(out) == 0 || !t.q.decoded(len(out)) {
		return
	}
	if first {
		m := t.runMark
		if m.via != "" {
			via = m.via + " " + via
		}
		m.via, m.kind = via, kindValue
		u.start(m, out)
	}
	u.more(out)
}

// start begins a new piece of text, apart from the one before it.
func (u *text) start(m mark, out []byte) {
	if u.inflating != nil {
		u.inflating.close()
		u.inflating = nil
	}
	u.mark(m)
	u.write([]byte{'\n'})
	if name, open := compression(out); open != nil && u.depth < maxDepth {
		if m.via != "" {
			m.via += " "
		}
		m.via += name
		u.runMark = m
		first := true
		u.inflating = newInflater(open, func(p []byte) error {
			if !u.q.decoded(len(p)) {
				return u.q.err
			}
			if u.below == nil {
				u.below = u.q.newText(u.depth + 1)
			}
			if first {
				u.below.start(m, nil)
				first = false
			}
			u.below.write(p)
			return u.q.err
		})
	}
}

// more goes on with the piece.
func (u *text) more(out []byte) {
	if u.inflating != nil && !u.inflating.write(out) {
		u.inflating = nil // it only looked like that
	}
	u.write(out)
}

// base64Value are the values of the characters of both alphabets; 255: none.
var base64Value = func() (t [256]uint8) {
	for i := range t {
		t[i] = 255
	}
	for i, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" {
		t[c] = uint8(i)
	}
	t['-'], t['_'] = 62, 63
	return t
}()

// decodeBase64 appends what a run of either alphabet encodes.
func decodeBase64(out, run []byte) []byte {
	for len(run) >= 4 {
		v := uint32(base64Value[run[0]])<<18 | uint32(base64Value[run[1]])<<12 | uint32(base64Value[run[2]])<<6 | uint32(base64Value[run[3]])
		out = append(out, byte(v>>16), byte(v>>8), byte(v))
		run = run[4:]
	}
	switch len(run) {
	case 3:
		v := uint32(base64Value[run[0]])<<18 | uint32(base64Value[run[1]])<<12 | uint32(base64Value[run[2]])<<6
		out = append(out, byte(v>>16), byte(v>>8))
	case 2:
		out = append(out, base64Value[run[0]]<<2|base64Value[run[1]]>>4)
	}
	return out
}

func decodeHex(out, run []byte) []byte {
	for i := 0; i+1 < len(run); i += 2 {
		out = append(out, nibble(run[i])<<4|nibble(run[i+1]))
	}
	return out
}

func nibble(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	}
	return c - 'A' + 10
}

var plain32 = base32.StdEncoding.WithPadding(base32.NoPadding)

func decode32(out, run []byte) []byte {
	run = run[:len(run)-len(run)%8+[8]int{0, 0, 2, 2, 4, 5, 5, 7}[len(run)%8]]
	in := make([]byte, len(run))
	for i, c := range run {
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		in[i] = c
	}
	n := plain32.DecodedLen(len(in))
	if cap(out) < n {
		out = make([]byte, n)
	}
	n, err := plain32.Decode(out[:n], in)
	if err != nil {
		return nil
	}
	return out[:n]
}
