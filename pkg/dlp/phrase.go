package dlp

import (
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"slices"
	"strings"
	"sync"
)

//go:embed bip39.txt
var wordlist string

// wordTable are BIP-39's English words and their numbers. Each word of a text is
// looked up, so it is a table of its own: a word of at most eight letters is one
// number, its place is a hash of that, and collisions are next to it.
type wordTable struct {
	words   [1 << wordBits]uint64
	numbers [1 << wordBits]int16
}

const wordBits = 13 // four times as many places as there are words

var words = sync.OnceValue(func() *wordTable {
	t := &wordTable{}
	for i, w := range strings.Fields(wordlist) {
		var low [8]byte
		copy(low[:], w)
		key := binary.LittleEndian.Uint64(low[:])
		at := place39(key)
		for t.words[at] != 0 {
			at = (at + 1) % uint64(len(t.words))
		}
		t.words[at], t.numbers[at] = key, int16(i)
	}
	return t
})

func place39(key uint64) uint64 { return key * 0x9e3779b97f4a7c15 >> (64 - wordBits) }

// number returns a word's number in the list; false: it is not there.
func (t *wordTable) number(key uint64) (int, bool) {
	for at := place39(key); t.words[at] != 0; at = (at + 1) % uint64(len(t.words)) {
		if t.words[at] == key {
			return int(t.numbers[at]), true
		}
	}
	return 0, false
}

// phrase follows the words of a text and finds those of a wallet's seed: 12,
// 15, 18, 21 or 24 words of BIP-39's list whose checksum holds.
type phrase struct {
	at    int // in the text's buf: up to where it has looked
	seen  [24]int
	count int // words of the list in a row
	gap   int // bytes since the last word
}

const seedWork = 24 // what looking at a seed costs, in bytes that an expression looks at

const maxGap = 8 // bytes between two words: spaces, a comma, quotes, a number

var letterByte = set("azAZ")

// stride is less than the length of the shortest phrase: 12 words of three
// letters, and what stands between them.
const stride = 40

// scan looks at the words that begin before t.buf[limit]. Between phrases it
// leaps: one that begins within a stride of here has a word at its end, and most
// texts have none of the list's there. Where they have one, the phrase begins with
// the first of those in a row.
func (p *phrase) scan(t *text, limit int) {
	buf, i := t.buf, p.at
	table := words()
	leapt := 0 // up to here words have to be looked at one by one
	for i < limit {
		if p.count == 0 && i >= leapt && i+stride < limit {
			from, to := wordAt(buf, i, i+stride)
			if !table.has(buf, from, to) {
				i = to
				continue
			}
			i, leapt = table.back(buf, i, from), to
		}
		if !letterByte[buf[i]] {
			if p.gap++; p.gap > maxGap {
				p.count = 0
			}
			i++
			continue
		}
		end := i + 1
		for end < len(buf) && letterByte[buf[end]] {
			end++
		}
		p.word(t, table, i, end)
		i, p.gap = end, 0
	}
	p.at = i
}

// wordAt returns the word that stands at buf[at], from first on, or the next one
// that a phrase may go on with; else what stands there instead.
func wordAt(buf []byte, first, at int) (from, to int) {
	for from = at; from < len(buf) && from <= at+maxGap && !letterByte[buf[from]]; from++ {
	}
	for from > first && letterByte[buf[from-1]] {
		from--
	}
	for to = max(from, at); to < len(buf) && letterByte[buf[to]]; to++ {
	}
	return from, to
}

// has says whether buf[from:to] is a word of the list.
func (t *wordTable) has(buf []byte, from, to int) bool {
	_, ok := t.number(wordKey(buf, from, to))
	return ok
}

// back returns where the words of the list begin, from first on, that follow one
// another up to buf[at].
func (t *wordTable) back(buf []byte, first, at int) int {
	for {
		end := at
		for end > first && at-end <= maxGap && !letterByte[buf[end-1]] {
			end--
		}
		from := end
		for from > first && letterByte[buf[from-1]] {
			from--
		}
		if at-end > maxGap || !t.has(buf, from, end) {
			return at
		}
		at = from
	}
}

// wordKey returns the word buf[from:to] as the table has it; 0: it is too short
// or too long to be there.
func wordKey(buf []byte, from, to int) (key uint64) {
	const fold = 0x2020202020202020
	n := to - from
	switch {
	case n < 3 || n > 8:
		return 0
	case from+8 <= len(buf):
		return (binary.LittleEndian.Uint64(buf[from:]) | fold) << (8 * (8 - n)) >> (8 * (8 - n))
	}
	for i, c := range buf[from:to] {
		key |= uint64(c|0x20) << (8 * i)
	}
	return key
}

// word takes in the word t.buf[from:to].
func (p *phrase) word(t *text, table *wordTable, from, to int) {
	n, ok := table.number(wordKey(t.buf, from, to))
	if !ok {
		p.count = 0
		return
	}
	copy(p.seen[:], p.seen[1:])
	p.seen[len(p.seen)-1] = n
	p.count++
	for size := 12; size <= 24 && size <= p.count; size += 3 {
		if words := p.seen[len(p.seen)-size:]; varied(words) && t.q.spend(seedWork) && seeds(words) {
			t.phraseAt(to)
			return
		}
	}
}

// phraseAt reports a phrase that ends at buf[at].
func (t *text) phraseAt(at int) {
	from := at
	for spaces := 0; from > 0 && spaces < 12; from-- {
		if t.buf[from-1] == ' ' {
			spaces++
		}
	}
	if r := t.q.rules.byID[mnemonicRule]; r != nil {
		t.report(r, max(0, at-1), at, t.buf[from:at])
	}
}

// varied says whether few of the words come again, and they are in no order.
// Otherwise it is an example, a program, or the list itself.
func varied(words []int) bool {
	again := 0
	for i, w := range words {
		if slices.Contains(words[:i], w) {
			again++
		}
	}
	return again <= 2 && !slices.IsSorted(words)
}

// seeds says whether the words' checksum holds: the last 4 to 8 of their bits
// are those that the others' SHA-256 begins with.
func seeds(words []int) bool {
	var bits [33]byte
	for i, w := range words {
		for b := range 11 {
			if at := i*11 + b; w>>(10-b)&1 == 1 {
				bits[at/8] |= 0x80 >> (at % 8)
			}
		}
	}
	check := len(words) / 3 // bits of checksum; 32 times as many of entropy stand before them
	sum := sha256.Sum256(bits[:4*check])
	return sum[0]>>(8-check) == bits[4*check]>>(8-check)
}
