package dlp

import "bytes"

// halves are the parts of known secrets that a request's fields have shown.
type halves struct {
	ends   map[uint32]bool // states of the automaton in which a field ended: it ends with a needle's beginning
	begins map[cut]bool    // the rest of a needle, with which a field begins
}

const (
	maxHalves = 256 // of either kind that are remembered
	maxBegin  = 256 // bytes of a field in which its beginning is looked for
)

// secrets looks for known secrets in buf[at:limit], field by field, and for the
// rules' keywords on the way.
func (t *text) secrets(limit int, final bool) {
	n := t.q.known
	for i := t.segment(t.at); i < len(t.marks); i++ {
		m := &t.marks[i]
		from, to := max(m.at, t.at), limit
		ended := final
		if i+1 < len(t.marks) && t.marks[i+1].at <= limit {
			to, ended = t.marks[i+1].at, true
		}
		if from >= limit && !(final && from == limit) || t.q.err != nil {
			break
		}
		state := &t.joined
		if m.kind == kindKey {
			state = &t.key
		}
		if from == m.at && m.kind != kindGap {
			if m.kind == kindKey {
				t.key = 0
			}
			t.begun(t.buf[from:min(len(t.buf), from+maxBegin)])
		}
		scanBoth(t.q.rules.words, n.words, &t.keywords, state, t.buf[from:to],
			func(at int, words []int32) bool { return t.keyword(from+at, words) },
			func(at int, words []int32) bool {
				for _, w := range words {
					t.known(n.owner[w], from+at, len(n.words.words[w]))
				}
				return t.q.err == nil
			})
		if ended && m.kind != kindGap {
			t.ended(*state)
		}
	}
	for _, p := range n.punct {
		from := max(0, t.at-len(p.value))
		if i := bytes.Index(t.buf[from:limit], p.value); i >= 0 {
			t.known(p.owner, from+i+len(p.value)-1, 0)
		}
	}
}

// segment returns the index of the mark that holds at buf[at].
func (t *text) segment(at int) int {
	i := len(t.marks) - 1
	for i > 0 && t.marks[i].at > at {
		i--
	}
	return i
}

// known reports secret i, of which a form of size letters and digits ends at
// buf[end]. It may stand in a credential header to a host that it is for.
func (t *text) known(i, end, size int) {
	n := t.q.known
	m := t.markAt(end)
	if m.up != nil && m.up.credential && n.may(i, t.q.policy.Host) && t.back(end, size) >= m.at {
		return
	}
	t.leak(i, m)
}

func (t *text) leak(i int, m *mark) {
	k := &t.q.known.known[i]
	t.q.found(&Finding{Rule: KnownRule, Name: k.Name, Where: m.where(k.Value), Via: m.via, Fingerprint: fingerprint(t.q.key, k.Value)})
}

// back returns where size letters and digits that end at buf[end] begin.
func (t *text) back(end, size int) int {
	for ; end >= 0; end-- {
		if _, ok := squeeze(t.buf[end]); ok {
			if size--; size <= 0 {
				return end
			}
		}
	}
	return 0
}

// begun looks whether a field begins with the end of a needle.
func (t *text) begun(field []byte) {
	n := t.q.known
	if len(n.starts) == 0 {
		return
	}
	var first [needleLength]byte
	got, i := 0, 0
	for ; i < len(field) && got < minPart; i++ {
		if c, ok := squeeze(field[i]); ok {
			first[got] = c
			got++
		}
	}
	if got < minPart || !n.maybe[startHash(first[0], first[1], first[2], first[3])] {
		return
	}
	cuts := n.starts[string(first[:minPart])]
	if len(cuts) == 0 {
		return
	}
	for ; i < len(field) && got < len(first); i++ {
		if c, ok := squeeze(field[i]); ok {
			first[got] = c
			got++
		}
	}
	h := &t.q.halves
	for _, c := range cuts {
		w := n.words.words[c.needle]
		if h.begins[c] || !bytes.HasPrefix(first[:got], []byte(w[c.at:])) {
			continue
		}
		if h.begins == nil {
			h.begins = map[cut]bool{}
		}
		if len(h.begins) < maxHalves {
			h.begins[c] = true
		}
		for s := range h.ends {
			t.pair(s, c)
		}
	}
}

// ended looks whether a field ended with the beginning of a needle.
func (t *text) ended(state uint32) {
	n := t.q.known
	h := &t.q.halves
	for s := state / n.words.width; n.words.depth[s] >= minPart; s = n.words.parent[s] {
		if h.ends[s] {
			continue
		}
		if h.ends == nil {
			h.ends = map[uint32]bool{}
		}
		if len(h.ends) < maxHalves {
			h.ends[s] = true
		}
		for c := range h.begins {
			t.pair(s, c)
		}
	}
}

// pair reports a needle of which one field ends with all that stands before a
// cut, and another begins with all that stands behind it.
func (t *text) pair(state uint32, c cut) {
	n := t.q.known
	w := n.words.words[c.needle]
	depth := int(n.words.depth[state])
	if depth < c.at || depth > len(w) {
		return
	}
	s := uint32(0)
	for i := range depth {
		s = n.words.next[s+uint32(n.words.class[w[i]])] &^ hitBit
	}
	if s/n.words.width != state {
		return
	}
	m := t.marks[len(t.marks)-1]
	m.via = "two parts"
	t.leak(n.owner[c.needle], &m)
}
