package dlp

import (
	"crypto/sha256"
	_ "embed"
	"strings"
	"sync"
)

//go:embed bip39.txt
var wordlist string

// numbers are BIP-39's English words and their numbers.
var numbers = sync.OnceValue(func() map[string]int {
	m := map[string]int{}
	for i, w := range strings.Fields(wordlist) {
		m[w] = i
	}
	return m
})

// phrase follows the words of a text and finds those of a wallet's seed: 12,
// 15, 18, 21 or 24 words of BIP-39's list whose checksum holds.
type phrase struct {
	word   []byte // the one that it is in
	seen   [24]int
	count  int // words of the list in a row
	gap    int // bytes since the last word
	failed bool
}

// scan takes in t.buf[t.at:limit].
func (p *phrase) scan(t *text, limit int) {
	for i := t.at; i < limit; i++ {
		c := t.buf[i] | 0x20
		if c >= 'a' && c <= 'z' {
			if len(p.word) < 9 {
				p.word = append(p.word, c)
			}
			continue
		}
		if len(p.word) > 0 {
			p.end(t, i)
			p.word = p.word[:0]
			p.gap = 0
		}
		// Between two words may stand a little: spaces, commas, quotes, numbers.
		if p.gap++; p.gap > 8 || wordByte[t.buf[i]] && !digitByte[t.buf[i]] {
			p.count = 0
		}
	}
	if limit == len(t.buf) && len(p.word) > 0 {
		p.end(t, limit)
	}
}

// end takes in the word that ends at t.buf[at].
func (p *phrase) end(t *text, at int) {
	n, ok := 0, false
	if len(p.word) >= 3 && len(p.word) <= 8 {
		n, ok = numbers()[string(p.word)]
	}
	if !ok {
		p.count = 0
		return
	}
	copy(p.seen[:], p.seen[1:])
	p.seen[len(p.seen)-1] = n
	p.count++
	for size := 12; size <= 24 && size <= p.count; size += 3 {
		if seeds(p.seen[len(p.seen)-size:]) {
			t.phraseAt(at)
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

// seeds says whether the words' checksum holds: the last 4 to 8 of their bits
// are those that the others' SHA-256 begins with. All words equal are an
// example.
func seeds(words []int) bool {
	same := true
	for _, w := range words[:len(words)-1] {
		same = same && w == words[0]
	}
	if same {
		return false
	}
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
