package policy

import (
	"encoding/json"
	"unicode/utf8"
)

// jsonCheck reads JSON strictly, a byte at a time, and tells a ModelCheck of keys
// and of texts where they matter. It holds no more than a name of them: the rest
// of a text passes through it.
type jsonCheck struct {
	c     *ModelCheck
	stack []jsonPlace
	want  jsonWant
	text  []byte // the beginning of the string under way
	isKey bool
	in    bool // in a string
	esc   unescaper
	bare  []byte // the number or the literal under way
	began bool
	utf   utf8Check
}

type jsonPlace struct {
	role  role
	array bool
	key   string // plainKey; of an array none
}

// jsonWant is what may come next.
type jsonWant uint8

const (
	wantValue jsonWant = iota
	wantKeyOrEnd
	wantKey
	wantColon
	wantCommaOrEnd
	wantValueOrEnd // of an array that just began
	wantNothing
)

// special are the bytes of a string that are no text.
var special = func() (is [256]bool) {
	for b := range ' ' {
		is[b] = true
	}
	is['"'], is['\\'] = true, true
	return is
}()

const (
	maxDeep       = 512 // containers in one another
	longestNumber = 1024
	longestText   = 128 // of what is held; a model's name may be long
)

func newJSONCheck(c *ModelCheck) *jsonCheck { return &jsonCheck{c: c} }

func (j *jsonCheck) malformed() {
	j.c.unread("the body is not the JSON object, in UTF-8, that the model's API takes")
}

func (j *jsonCheck) write(p []byte) {
	good := j.utf.write(p)
	j.read(p[:good])
	if good < len(p) {
		j.malformed()
	}
}

func (j *jsonCheck) read(p []byte) {
	for i := 0; i < len(p) && j.c.err == nil; i++ {
		if !j.in {
			j.structure(p[i])
			continue
		}
		// Most of a body is text that is of no interest.
		if !j.esc.open() {
			from := i
			for i < len(p) && !special[p[i]] {
				i++
			}
			if room := longestText + 1 - len(j.text); room > 0 {
				j.text = append(j.text, p[from:min(i, from+room)]...)
			}
			if i == len(p) {
				return
			}
		}
		j.string(p[i])
	}
}

func (j *jsonCheck) close() {
	if j.began && (len(j.stack) > 0 || j.in || j.want != wantNothing) {
		j.malformed()
	}
}

// string takes one byte of a string.
func (j *jsonCheck) string(b byte) {
	if b == '"' && !j.esc.open() {
		j.in = false
		j.ended()
		return
	}
	if b < ' ' {
		j.malformed()
		return
	}
	if j.text = j.esc.undo(j.text, []byte{b}); j.esc.wrong {
		j.malformed()
	}
	if len(j.text) > longestText+utf8.UTFMax {
		j.text = j.text[:longestText+1]
	}
}

// ended takes in a string that is whole.
func (j *jsonCheck) ended() {
	if len(j.stack) == 0 {
		j.malformed() // a text alone
		return
	}
	top := &j.stack[len(j.stack)-1]
	if j.want = wantCommaOrEnd; j.isKey {
		j.want = wantColon
	}
	if top.role == roleFree {
		return
	}
	word := string(j.text)
	if !j.isKey {
		j.c.value(j.c, top.role, top.key, word)
		return
	}
	top.key = plainKey(word)
	j.c.key(j.c, top.role, top.key, word)
}

func (j *jsonCheck) structure(b byte) {
	literal := b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b == '-' || b == '+' || b == '.'
	if len(j.bare) > 0 {
		if literal && len(j.bare) < longestNumber {
			j.bare = append(j.bare, b)
			return
		}
		if literal || !json.Valid(j.bare) {
			j.malformed()
		}
		j.bare = j.bare[:0]
	}
	switch {
	case b == ' ', b == '\t', b == '\r', b == '\n':
	case b == '"':
		j.open()
	case b == '{' || b == '[':
		j.push(b == '[')
	case b == '}' || b == ']':
		j.pop(b == ']')
	case b == ':' && j.want == wantColon:
		j.want = wantValue
	case b == ',' && j.want == wantCommaOrEnd:
		if j.want = wantKey; j.stack[len(j.stack)-1].array {
			j.want = wantValue
		}
	case literal && (j.want == wantValue || j.want == wantValueOrEnd) && len(j.stack) > 0:
		j.bare, j.want = append(j.bare, b), wantCommaOrEnd
	default:
		j.malformed()
	}
}

// open begins a string.
func (j *jsonCheck) open() {
	switch j.want {
	case wantKey, wantKeyOrEnd:
		j.isKey = true
	case wantValue, wantValueOrEnd:
		j.isKey = false
	default:
		j.malformed()
		return
	}
	j.in, j.text = true, j.text[:0]
}

func (j *jsonCheck) push(array bool) {
	r := roleRoot
	switch {
	case j.want != wantValue && j.want != wantValueOrEnd, len(j.stack) == maxDeep, array && len(j.stack) == 0:
		j.malformed()
		return
	case len(j.stack) > 0:
		top := &j.stack[len(j.stack)-1]
		if r = top.role; !top.array {
			r = j.c.inside(top.role, top.key)
		}
	}
	if r == roleTools && !array {
		r = roleTool
	}
	j.began = true
	j.stack = append(j.stack, jsonPlace{role: r, array: array})
	if j.want = wantKeyOrEnd; array {
		j.want = wantValueOrEnd
	}
}

func (j *jsonCheck) pop(array bool) {
	ends := j.want == wantCommaOrEnd || array && j.want == wantValueOrEnd || !array && j.want == wantKeyOrEnd
	if len(j.stack) == 0 || j.stack[len(j.stack)-1].array != array || !ends {
		j.malformed()
		return
	}
	j.stack = j.stack[:len(j.stack)-1]
	if j.want = wantCommaOrEnd; len(j.stack) == 0 {
		j.want = wantNothing
	}
}

// unescaper undoes the escapes of JSON's strings, in pieces.
type unescaper struct {
	held  []byte // an escape whose end has not come
	wrong bool   // there was one that JSON does not have
}

func (u *unescaper) open() bool { return len(u.held) > 0 }

// undo appends p to out, its escapes undone.
func (u *unescaper) undo(out, p []byte) []byte {
	for _, b := range p {
		switch {
		case len(u.held) == 0 && b != '\\':
			out = append(out, b)
			continue
		case len(u.held) == 0:
			u.held = append(u.held, b)
			continue
		}
		u.held = append(u.held, b)
		if u.held[1] == 'u' && len(u.held) < 6 {
			if len(u.held) == 2 || unhex(b) >= 0 {
				continue
			}
			out, u.wrong = append(out, u.held...), true // no escape after all
		} else {
			out = append(out, u.plain()...)
		}
		u.held = u.held[:0]
	}
	return out
}

// plain is what a whole escape stands for.
func (u *unescaper) plain() []byte {
	switch e := u.held; e[1] {
	case 'u':
		r := rune(0)
		for _, d := range e[2:] {
			r = r<<4 | rune(unhex(d))
		}
		return utf8.AppendRune(nil, r)
	case 'n', 'r', 't', 'b', 'f':
		return []byte{' '}
	case '"', '\\', '/':
		return e[1:]
	default:
		u.wrong = true
		return e[1:]
	}
}

// utf8Check tells where what comes in pieces is no UTF-8: those who read it in
// other ways would find other words.
type utf8Check struct{ held []byte }

// write returns how many bytes of p are good, or may be the beginning of what is.
func (u *utf8Check) write(p []byte) int {
	i := 0
	for ; len(u.held) > 0 && i < len(p); i++ {
		if u.held = append(u.held, p[i]); !utf8.FullRune(u.held) {
			continue
		}
		if r, n := utf8.DecodeRune(u.held); r == utf8.RuneError && n == 1 {
			return i
		}
		u.held = u.held[:0]
	}
	if utf8.Valid(p[i:]) {
		return len(p)
	}
	for i < len(p) {
		r, n := utf8.DecodeRune(p[i:])
		switch {
		case r != utf8.RuneError || n > 1:
			i += n
		case utf8.FullRune(p[i:]):
			return i
		default:
			u.held = append(u.held, p[i:]...)
			i = len(p)
		}
	}
	return i
}
