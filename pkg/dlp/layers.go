package dlp

import (
	"bytes"
)

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
		to := extent(buf, from)
		open := to == len(buf) && !final
		if open && !t.runOpen && to-from < block/2 {
			i = from // it will be here whole
			break
		}
		if open {
			to = whole(buf, from, to)
		}
		t.run(from, to)
		t.runOpen, i = open, to
		if open {
			break
		}
	}
	t.runAt = i
}

const minLine = 60 // characters of a line behind which a run goes on

// extent returns where the run that begins at buf[from:] ends. It goes on behind
// a line break where the line is long enough to have been broken for its length.
func extent(buf []byte, from int) int {
	to, line := from, from
	for {
		for to < len(buf) && runByte[buf[to]] {
			to++
		}
		next := to
		for next < len(buf) && next < to+2 && (buf[next] == '\r' || buf[next] == '\n') {
			next++
		}
		if next == to || to-line < minLine || next == len(buf) || !runByte[buf[next]] {
			return to
		}
		to, line = next, next
	}
}

// whole takes from the end of a run what is no whole group of any encoding.
func whole(buf []byte, from, to int) int {
	n := 0
	for _, c := range buf[from:to] {
		if runByte[c] {
			n++
		}
	}
	for n %= 8; n > 0; to-- {
		if runByte[buf[to-1]] {
			n--
		}
	}
	return to
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
	if !t.runOpen {
		t.runMark = *t.markAt(from)
		t.coins(from, to)
	}
	run := t.buf[from:to]
	if filler(run) {
		return
	}
	if bytes.IndexByte(run, '\n') >= 0 {
		joined := make([]byte, 0, len(run))
		for _, c := range run {
			if runByte[c] {
				joined = append(joined, c)
			}
		}
		run = joined
	}
	t.decode(run, !t.runOpen)
}

// filler says whether a run has no more than two different characters: whatever
// it encodes, it is padding, a ruler or a test's.
func filler(run []byte) bool {
	if len(run) == 0 {
		return true
	}
	one, other := run[0], run[0]
	for _, c := range run {
		if c == one || c == other {
			continue
		}
		if one != other {
			return false
		}
		other = c
	}
	return true
}

// decode decodes one run by what it looks like: as it stands into the text
// below, and at other alignments into the text beside that where something
// legible comes of it.
func (t *text) decode(run []byte, first bool) {
	if len(run) == 0 {
		return
	}
	hex, thirtyTwo := t.inner(run)
	switch {
	case hex == len(run):
		t.lay("hex", decodeHex(t.scratch[:0], run), first)
		t.beside("hex", decodeHex(t.scratch[:0], run[1:]))
	case thirtyTwo == len(run):
		t.lay("base32", decode32(t.scratch[:0], run), first)
		t.beside32(run, 1)
	default:
		t.decode64(run, first)
	}
}

const minInner = 24 // characters of a run within a run

// inner finds, in a run, runs of hexadecimal and of base32, which other
// characters were put to, and decodes them. Where all of it is one, it is left to
// the caller: inner returns the lengths of the longest of each kind.
func (t *text) inner(run []byte) (hex, thirtyTwo int) {
	for from, to := stretch(run, 0, &hexByte); to > 0; from, to = stretch(run, to, &hexByte) {
		part := run[from:to]
		if !bytes.ContainsAny(part, "0123456789") {
			continue
		}
		hex = max(hex, len(part))
		if len(part) < len(run) && len(part) >= minInner {
			t.beside("hex", decodeHex(t.scratch[:0], part))
			t.beside("hex", decodeHex(t.scratch[:0], part[1:]))
		}
	}
	if hex == len(run) {
		return hex, 0
	}
	for _, alphabet := range []*[256]bool{&upper32, &lower32} {
		for from, to := stretch(run, 0, alphabet); to > 0; from, to = stretch(run, to, alphabet) {
			part := run[from:to]
			thirtyTwo = max(thirtyTwo, len(part))
			if len(part) < len(run) && len(part) >= minInner {
				t.beside32(part, 0)
			}
		}
	}
	return hex, thirtyTwo
}

// stretch returns the first minRun or more bytes of an alphabet in run[i:]; 0, 0
// where there are none.
func stretch(run []byte, i int, alphabet *[256]bool) (from, to int) {
	for i+minRun <= len(run) {
		k := i + minRun - 1
		for k >= i && alphabet[run[k]] {
			k--
		}
		if k >= i {
			i = k + 1
			continue
		}
		for to = i + minRun; to < len(run) && alphabet[run[to]]; to++ {
		}
		return i, to
	}
	return 0, 0
}

var (
	upper32 = set("AZ27")
	lower32 = set("az27")
)

// beside32 decodes base32 at all alignments from one on.
func (t *text) beside32(run []byte, shift int) {
	for ; shift < 8 && len(run)-shift >= minRun; shift++ {
		t.beside("base32", decode32(t.scratch[:0], run[shift:]))
	}
}

// decode64 decodes base64. Short words of one case are none.
func (t *text) decode64(run []byte, first bool) {
	var lower, upper bool
	for _, c := range run {
		lower = lower || c >= 'a' && c <= 'z'
		upper = upper || c >= 'A' && c <= 'Z'
	}
	if !(lower && upper) && len(run) < longRun {
		return
	}
	t.lay("base64", decodeBase64(t.scratch[:0], run), first)
	for shift := 1; shift < 4 && len(run)-shift >= minRun*4/3; shift++ {
		t.beside("base64", decodeBase64(t.scratch[:0], run[shift:]))
	}
}

// beside writes what is legible beside the text below.
func (t *text) beside(via string, out []byte) {
	if !legible(out) {
		return
	}
	if t.aside == nil {
		t.aside = t.q.newText(t.depth + 1)
	}
	t.put(t.aside, via, out, true)
}

// legible says whether b is compressed, or holds text: minRun characters in a
// row that are printable, or half of them so and half of them NUL.
func legible(b []byte) bool {
	if compression(b) != nil {
		return true
	}
	for i := 0; i+minRun <= len(b); {
		k, nuls := i+minRun-1, 0
		for ; k >= i && legibleByte[b[k]]; k-- {
			if b[k] == 0 {
				nuls++
			}
		}
		if k < i && nuls <= minRun/2 {
			return true
		}
		i = max(k, i) + 1
	}
	return false
}

var legibleByte = set(" ~\x00\x00\t\t\n\n\r\r")

// lay writes decoded bytes into the text below.
func (t *text) lay(via string, out []byte, first bool) {
	if t.below == nil {
		t.below = t.q.newText(t.depth + 1)
	}
	t.put(t.below, via, out, first)
}

// put writes decoded bytes into a text one layer deeper.
func (t *text) put(u *text, via string, out []byte, first bool) {
	if cap(out) > cap(t.scratch) {
		t.scratch = out[:0]
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
	if f := compression(out); f != nil && u.depth < maxDepth && u.q.decoded(f.cost) {
		u.inflate(f, m)
	}
}

// inflate begins to decompress the piece into the text below.
func (u *text) inflate(f *format, m mark) {
	if m.via != "" {
		m.via += " "
	}
	m.via += f.name
	first := true
	u.inflating = u.q.newInflater(f.open, func(p []byte) error {
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

// base32Value are the values of the characters of base32, in either case; 255: none.
var base32Value = func() (t [256]uint8) {
	for i := range t {
		t[i] = 255
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") {
		t[c], t[lowerCase(c)] = uint8(i), uint8(i)
	}
	return t
}()

func lowerCase(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// decode32 appends the whole bytes that a run of base32 encodes.
func decode32(out, run []byte) []byte {
	var bits uint64
	n := 0
	for _, c := range run {
		v := base32Value[c]
		if v == 255 {
			return nil
		}
		bits = bits<<5 | uint64(v)
		if n += 5; n >= 8 {
			n -= 8
			out = append(out, byte(bits>>n))
		}
	}
	return out
}
