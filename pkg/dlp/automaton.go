package dlp

// automaton finds all of a set of words in one pass, in a time that depends on
// the text's length alone (Aho and Corasick). It is a dense table over classes
// of bytes: one look a byte.
type automaton struct {
	class  [256]uint8 // of a byte
	width  uint32     // classes
	next   []uint32   // state*width + class → state*width, with hitBit where a word ends
	words  []string
	ends   [][]int32 // by state: indices of the words that end there, the longest first
	depth  []uint8   // by state: length of the word's beginning that it stands for
	parent []uint32  // by state: the state of the longest proper suffix that begins a word
}

const hitBit = 1 << 31

// foldCase makes classes of the words' bytes where case does not count; all
// other bytes are one class.
func foldCase(c byte) (byte, bool) {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c, true
}

// squeeze makes letters and digits alone count, in any case.
func squeeze(c byte) (byte, bool) {
	switch {
	case c >= 'A' && c <= 'Z':
		return c + 'a' - 'A', true
	case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		return c, true
	}
	return 0, false
}

// common are the letters that most texts are full of.
const common = "etaoinsrhldcum"

// newAutomaton takes words as fold gives them.
func newAutomaton(words []string, fold func(byte) (byte, bool)) *automaton {
	a := &automaton{words: words}
	var used [256]uint8
	a.width = 2 // class 0: what no word holds; class 1: what is passed over as if it were not there
	// These have their places in the table side by side.
	for _, w := range append([]string{common}, words...) {
		for i := range len(w) {
			if used[w[i]] == 0 {
				used[w[i]] = uint8(a.width)
				a.width++
			}
		}
	}
	for c := range 256 {
		if f, ok := fold(byte(c)); ok {
			a.class[c] = used[f]
		} else {
			a.class[c] = 1
		}
	}
	a.grow(used)
	a.link()
	for s := uint32(0); s < uint32(len(a.next)); s += a.width {
		a.next[s+1] = s
	}
	return a
}

// grow makes the trie of the words; 0 in next: no such state yet. States near the
// root, where a text is most of the time, come first and close to one another.
func (a *automaton) grow(used [256]uint8) {
	a.next = make([]uint32, a.width)
	a.depth, a.ends = []uint8{0}, make([][]int32, 1)
	at := make([]uint32, len(a.words)) // the state behind a word's first bytes
	for depth, more := 0, true; more; depth++ {
		more = false
		for i, w := range a.words {
			if depth >= len(w) {
				continue
			}
			more = true
			to := at[i] + uint32(used[w[depth]])
			if a.next[to] == 0 {
				a.next[to] = uint32(len(a.next))
				a.next = append(a.next, make([]uint32, a.width)...)
				a.depth, a.ends = append(a.depth, uint8(min(depth+1, 255))), append(a.ends, nil)
			}
			at[i] = a.next[to]
		}
	}
	for i, s := range at {
		a.ends[s/a.width] = append(a.ends[s/a.width], int32(i))
	}
}

// link turns the trie into the automaton, level by level.
func (a *automaton) link() {
	a.parent = make([]uint32, len(a.depth))
	queue := []uint32{0}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		fail := a.parent[s/a.width] * a.width
		for c := range a.width {
			child := a.next[s+c]
			if child == 0 {
				if s != 0 {
					a.next[s+c] = a.next[fail+c]
				}
				continue
			}
			to := uint32(0)
			if s != 0 {
				to = a.next[fail+c] &^ hitBit
			}
			n := child / a.width
			a.parent[n] = to / a.width
			a.ends[n] = append(a.ends[n], a.ends[to/a.width]...)
			if len(a.ends[n]) > 0 {
				a.next[s+c] |= hitBit
			}
			queue = append(queue, child)
		}
	}
}

// scan goes on from state over text and calls hit at every byte at which words
// end: its index, and the words' indices. hit says whether to go on.
func (a *automaton) scan(state uint32, text []byte, hit func(at int, words []int32) bool) uint32 {
	next, s := a.next, state
	for i, c := range text {
		s = next[s+uint32(a.class[c])]
		if s&hitBit != 0 {
			s &^= hitBit
			if !hit(i, a.ends[s/a.width]) {
				return s
			}
		}
	}
	return s
}

// scanBoth scans a text with two automata. Each waits for its own table, so that
// it takes little longer than one.
func scanBoth(a, b *automaton, s, u *uint32, text []byte, hitA, hitB func(at int, words []int32) bool) {
	nextA, nextB, inA, inB := a.next, b.next, *s, *u
	for i, c := range text {
		inA = nextA[inA+uint32(a.class[c])]
		inB = nextB[inB+uint32(b.class[c])]
		if (inA|inB)&hitBit == 0 {
			continue
		}
		on := true
		if inA&hitBit != 0 {
			inA &^= hitBit
			on = hitA(i, a.ends[inA/a.width])
		}
		if inB&hitBit != 0 {
			inB &^= hitBit
			on = hitB(i, b.ends[inB/b.width]) && on
		}
		if !on {
			break
		}
	}
	*s, *u = inA, inB
}
