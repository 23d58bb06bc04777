package dlp

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonWalker writes JSON into a text, with the escapes in its strings undone,
// and marks what stands where. It does not judge: what is no JSON passes
// through it as it is, and nothing is left out.
type jsonWalker struct {
	t       *text
	root    *place
	stack   []container
	over    int // containers beyond maxNested that are open
	inText  bool
	isKey   bool
	wantKey bool   // a string that begins now is a key
	escaped []byte // an escape whose end has not come
	high    rune   // the first half of a pair of escapes
	name    []byte // the key that it is in
	cache   [64]string
}

type container struct {
	place *place
	array bool
	key   string
	index int
}

const (
	maxNested = 64  // containers whose place is told
	maxName   = 128 // bytes of a key that are kept
)

func newJSON(t *text, root *place) *jsonWalker {
	w := &t.q.json
	if t.q.busy {
		w = &jsonWalker{}
	}
	t.q.busy = true
	w.t, w.root = t, root
	w.mark(kindGap)
	return w
}

func (w *jsonWalker) write(p []byte) {
	for len(p) > 0 && w.t.q.err == nil {
		n := min(len(p), block/2)
		w.step(p[:n])
		p = p[n:]
		w.t.full()
	}
}

// flush writes what was held back.
func (w *jsonWalker) flush() {
	w.t.buf = append(w.t.buf, w.escaped...)
	w.escaped = w.escaped[:0]
}

func (w *jsonWalker) close() error {
	w.flush()
	w.t.close()
	return nil
}

func (w *jsonWalker) step(p []byte) {
	for len(p) > 0 {
		switch {
		case len(w.escaped) > 0:
			w.escape(p[0])
			p = p[1:]
		case w.inText:
			p = w.string(p)
		default:
			p = w.structure(p)
		}
	}
}

// string takes in what p has of a string, and returns the rest of p.
func (w *jsonWalker) string(p []byte) []byte {
	n := bytes.IndexByte(p, '"')
	if n < 0 {
		n = len(p)
	}
	if e := bytes.IndexByte(p[:n], '\\'); e >= 0 {
		n = e
	}
	w.add(p[:n])
	if n == len(p) {
		return nil
	}
	if p[n] == '\\' {
		w.escaped = append(w.escaped, '\\')
		return p[n+1:]
	}
	w.inText = false
	if w.isKey {
		w.top().key = w.intern(w.name)
	}
	w.mark(kindGap)
	w.t.buf = append(w.t.buf, '"')
	return p[n+1:]
}

func (w *jsonWalker) add(b []byte) {
	w.high = 0
	w.t.buf = append(w.t.buf, b...)
	if w.isKey && len(w.name) < maxName {
		w.name = append(w.name, b...)
	}
}

// escape takes in one more byte of an escape.
func (w *jsonWalker) escape(c byte) {
	w.escaped = append(w.escaped, c)
	e := w.escaped
	if e[1] == 'u' && len(e) < 6 && (len(e) == 2 || hexByte[c]) {
		return
	}
	var one [utf8.UTFMax]byte
	out := e
	switch e[1] {
	case 'u':
		if n, r := hexEscape(e, 2, 4); n > 0 {
			out = utf8.AppendRune(one[:0], w.pair(r))
		}
	case 'n', 'r', 't', 'b', 'f':
		out = append(one[:0], '\n')
		if e[1] == 't' {
			out[0] = '\t'
		}
	case '"', '\\', '/':
		out = e[1:]
	}
	high := w.high
	w.add(out)
	w.high, w.escaped = high, w.escaped[:0]
}

// pair joins the two escapes of one character.
func (w *jsonWalker) pair(r rune) rune {
	high := w.high
	w.high = 0
	switch {
	case utf16.IsSurrogate(r) && high == 0:
		w.high = r
		return utf8.RuneError
	case high != 0:
		return utf16.DecodeRune(high, r)
	}
	return r
}

// structure takes in what p has between strings, and returns the rest of p.
func (w *jsonWalker) structure(p []byte) []byte {
	for i, c := range p {
		switch c {
		case '"':
			w.t.buf = append(w.t.buf, p[:i+1]...)
			w.open()
			return p[i+1:]
		case '{', '[':
			w.push(c == '[')
		case '}', ']':
			w.pop()
		case ':':
			w.wantKey = false
		case ',':
			w.next()
		}
	}
	w.t.buf = append(w.t.buf, p...)
	return nil
}

// open begins a string.
func (w *jsonWalker) open() {
	w.inText, w.isKey, w.name, w.high = true, w.wantKey && w.over == 0 && len(w.stack) > 0, w.name[:0], 0
	if w.isKey {
		w.mark(kindKey)
	} else {
		w.mark(kindValue)
	}
}

func (w *jsonWalker) top() *container {
	return &w.stack[len(w.stack)-1]
}

// mark notes where the text from here on stands.
func (w *jsonWalker) mark(k kind) {
	m := mark{up: w.root, index: -1, kind: k}
	if len(w.stack) > 0 {
		c := w.top()
		m.up = c.place
		if m.index = c.index; !c.array {
			m.key = c.key
			m.index = -1
		}
		if k == kindKey {
			m.key = ""
		}
	}
	w.t.mark(m)
}

func (w *jsonWalker) push(array bool) {
	if len(w.stack) == maxNested || w.over > 0 {
		w.over++
		return
	}
	p := w.root
	if len(w.stack) > 0 {
		c := w.top()
		p = w.t.q.place(place{up: c.place, key: c.key, index: c.index})
	}
	w.stack = append(w.stack, container{place: p, array: array})
	w.wantKey = !array
}

func (w *jsonWalker) pop() {
	w.wantKey = false
	if w.over > 0 {
		w.over--
	} else if len(w.stack) > 0 {
		w.stack = w.stack[:len(w.stack)-1]
	}
}

// next goes on to the container's next element.
func (w *jsonWalker) next() {
	if w.over > 0 || len(w.stack) == 0 {
		return
	}
	c := w.top()
	c.index++
	if w.wantKey = !c.array; w.wantKey {
		c.key, c.index = "", 0
	}
}

// intern returns a key as a string, which keys of one name share.
func (w *jsonWalker) intern(key []byte) string {
	if len(key) > maxName {
		key = key[:maxName]
	}
	if len(key) == 0 {
		return "\"\""
	}
	h := (len(key)*31 + int(key[0])*7 + int(key[len(key)-1])*3 + int(key[len(key)/2])) % len(w.cache)
	if w.cache[h] != string(key) {
		w.cache[h] = string(key)
	}
	return w.cache[h]
}
