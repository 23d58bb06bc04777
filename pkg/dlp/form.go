package dlp

// formWalker writes a form's pairs, decoded, into a text. In another one it
// looks for keys in the bytes as they are: what is no form can be cut by & and =
// too (HTML's escapes, for one), and be put together again by who reads it so.
type formWalker struct {
	t       *text
	raw     *text
	root    *place
	begun   bool
	inValue bool
	key     string
	escape  []byte // % and a digit, whose end has not come
}

func newForm(t *text, root *place) *formWalker {
	raw := t.q.newText(t.depth)
	raw.classes = formatOnly
	m := mark{up: root, index: -1}
	raw.runMark = m
	raw.mark(m)
	return &formWalker{t: t, raw: raw, root: root}
}

func (w *formWalker) write(p []byte) {
	if !w.begun {
		w.begun = true
		w.start()
	}
	for _, c := range p {
		w.step(c)
	}
	w.t.full()
	w.t.q.grow(len(p))
	w.raw.write(p)
}

// flush ends what was held back.
func (w *formWalker) flush() {
	w.t.buf = append(w.t.buf, w.escape...)
	w.escape = w.escape[:0]
	w.raw.close()
}

func (w *formWalker) start() {
	w.inValue, w.key = false, ""
	w.t.mark(mark{up: w.root, index: -1, kind: kindKey})
}

func (w *formWalker) step(c byte) {
	t := w.t
	if len(w.escape) > 0 {
		w.escape = append(w.escape, c)
		if !hexByte[c] {
			t.buf = append(t.buf, w.escape[:len(w.escape)-1]...)
			w.escape = w.escape[:0]
		} else if len(w.escape) == 3 {
			t.buf = append(t.buf, nibble(w.escape[1])<<4|nibble(c))
			w.escape = w.escape[:0]
			return
		} else {
			return
		}
	}
	switch {
	case c == '%':
		w.escape = append(w.escape, c)
	case c == '+':
		t.buf = append(t.buf, ' ')
	case c == '&':
		w.gap()
		t.buf = append(t.buf, '\n')
		w.start()
	case c == '=' && !w.inValue:
		w.inValue = true
		from := t.marks[len(t.marks)-1].at
		w.key = string(t.buf[from:min(len(t.buf), from+maxName)])
		w.gap()
		t.buf = append(t.buf, '=')
		t.mark(mark{up: w.root, key: w.key, index: -1})
	default:
		t.buf = append(t.buf, c)
	}
}

func (w *formWalker) gap() {
	w.t.buf = append(w.t.buf, w.escape...)
	w.escape = w.escape[:0]
	w.t.mark(mark{up: w.root, key: w.key, index: -1, kind: kindGap})
}

func (w *formWalker) close() error {
	if !w.begun {
		w.start()
	}
	w.t.buf = append(w.t.buf, w.escape...)
	w.escape = w.escape[:0]
	w.t.close()
	w.raw.close()
	return nil
}
