package dlp

import (
	"bytes"
	"fmt"
	"math"
	"regexp"
	"sync"
)

// rule is a Rule made ready.
type rule struct {
	Rule
	index int
	allow []*allow
	valid func(secret []byte) bool // says whether a checksum holds; nil: there is none

	once sync.Once
	re   *regexp.Regexp
	path *regexp.Regexp
}

const (
	maxReach   = 4096 // bytes that a match may have
	leadLength = 50   // characters before an assignment's keyword that belong to it
	runLength  = 256  // bytes of base64 around a match in which a weak format means nothing
	maxLine    = 512
)

// check says what is wrong with a rule; the expression is compiled later.
func (r *rule) check() error {
	r.valid = validators[r.ID]
	if r.Reach > maxReach || r.Reach <= 0 {
		r.Reach = maxReach
	}
	switch {
	case r.Class != Format && r.Class != Service && r.Class != Generic:
		return fmt.Errorf("no such class: %q", r.Class)
	case r.Regex != "" && len(r.Keywords) == 0:
		return fmt.Errorf("an expression without a keyword")
	case r.Regex == "" && r.Path == "" && !keywordless[r.ID]:
		return fmt.Errorf("neither an expression nor a path")
	}
	return nil
}

// compile compiles what check left.
func (r *rule) compile() {
	r.once.Do(func() {
		re := r.Regex
		if r.Anchored {
			re = `\A(?:` + re + `)`
		}
		if r.Regex != "" {
			r.re = regexp.MustCompile(re)
		}
		if r.Path != "" {
			r.path = regexp.MustCompile(r.Path)
		}
	})
}

// stands says, in few looks, whether a match can begin at text[at:], where a
// keyword of the given length stands.
func (r *rule) stands(text []byte, at, length int) bool {
	if r.Word && r.Anchored && !begins(text, at) {
		return false
	}
	if r.Fronts != nil && !r.front(text[at:]) {
		return false
	}
	if r.Needs != nil && !r.needs(text[at:]) {
		return false
	}
	return !r.Assign || assigned(text[at+length:], r.Least, r.Mixed)
}

func (r *rule) front(text []byte) bool {
	for _, f := range r.Fronts {
		if len(text) >= len(f) && string(text[:len(f)]) == f {
			return true
		}
	}
	return false
}

func (r *rule) needs(text []byte) bool {
	text = text[:min(len(text), r.Reach)]
	if r.ID == urlRule && !hasUserinfo(text[len("://"):]) {
		return false
	}
	for _, n := range r.Needs {
		if bytes.Contains(text, []byte(n)) {
			return true
		}
	}
	return false
}

// begins says whether a word begins at text[at:]: what stands before it is no
// character of a word, or the end of an escape.
func begins(text []byte, at int) bool {
	if at == 0 || !wordByte[text[at-1]] {
		return true
	}
	switch text[at-1] {
	case 'n', 'r', 't':
		if at > 1 && text[at-2] == '\\' {
			return true
		}
	}
	return at > 2 && text[at-3] == '%' && hexByte[text[at-1]] && hexByte[text[at-2]]
}

// assigned says whether something of least characters may be assigned to the
// name that ends where text begins. It is what all assignments have in common,
// in a hundredth of the time that their expressions take.
func assigned(text []byte, least int, mixed bool) bool {
	i, limit := 0, min(len(text), maxGapName)
	for i < limit && nameByte[text[i]] {
		i++
	}
	n := i
	for n < len(text) && n < i+4 && operatorByte[text[n]] {
		n++
	}
	if n == i {
		return false
	}
	for limit = min(len(text), n+5); n < limit && openByte[text[n]]; n++ {
	}
	end, value := n, &valueByte
	if mixed {
		value = &mixedByte
	}
	for end < len(text) && end < n+maxValue && value[text[end]] {
		mixed = mixed && (letterByte[text[end]] || text[end] == '.' || text[end] == '_' || text[end] == '-')
		end++
	}
	return end-n >= least && !mixed
}

const (
	maxGapName = 23  // characters between a keyword and the operator
	maxValue   = 320 // characters of a value that are looked at
)

func set(ranges string) (t [256]bool) {
	for i := 0; i+1 < len(ranges); i += 2 {
		for c := int(ranges[i]); c <= int(ranges[i+1]); c++ {
			t[c] = true
		}
	}
	return t
}

var (
	wordByte     = set("azAZ09__")
	hexByte      = set("09afAF")
	nameByte     = set("azAZ09__  \t\t..--\r\n\f\f''\"\"")
	operatorByte = set("==>>::||??,,")
	openByte     = set("``''\"\"  \t\t\r\r\n\n\f\f==")
	valueByte    = set("azAZ09__++//..==~~--::@@%%!!\"\"")
	mixedByte    = set("azAZ09__++//..==--")
	base64Byte   = set("azAZ09++//==")
)

// minGroup is how long a group must be to be the secret.
const minGroup = 8

// secretOf returns the secret of a match: its group.
func (r *rule) secretOf(text []byte, m []int) []byte {
	if r.Group > 0 && 2*r.Group+1 < len(m) && m[2*r.Group] >= 0 {
		return text[m[2*r.Group]:m[2*r.Group+1]]
	}
	for g := 2; g+1 < len(m); g += 2 {
		if m[g] >= 0 && m[g+1]-m[g] >= minGroup {
			return text[m[g]:m[g+1]]
		}
	}
	return bytes.Trim(text[m[0]:m[1]], "\n")
}

// harmless says whether what matched is no secret after all.
func (r *rule) harmless(everywhere []*allow, text []byte, from, to int, secret []byte) bool {
	floor := r.Entropy
	if floor == 0 {
		floor = 2
	}
	if entropy(secret) <= floor || placeholder(secret) {
		return true
	}
	if r.Weak && inLongRun(text, from, to) {
		return true
	}
	for _, list := range [][]*allow{everywhere, r.allow} {
		for _, a := range list {
			if a.holds(text, from, to, secret, r.Assign) {
				return true
			}
		}
	}
	return false
}

// entropy returns Shannon's entropy in bits a byte.
func entropy(s []byte) float64 {
	var count [256]int
	for _, c := range s {
		count[c]++
	}
	var e float64
	for _, n := range count {
		if n > 0 {
			p := float64(n) / float64(len(s))
			e -= p * math.Log2(p)
		}
	}
	return e
}

// inLongRun says whether text[from:to] is part of a long run of base64.
func inLongRun(text []byte, from, to int) bool {
	n := 0
	for i := from - 1; i >= 0 && n < runLength && base64Byte[text[i]]; i-- {
		n++
	}
	for i := to; i < len(text) && n < runLength && base64Byte[text[i]]; i++ {
		n++
	}
	return n >= runLength
}

// line returns the line that text[from:to] is in, up to a length.
func line(text []byte, from, to int) []byte {
	start := max(0, from-maxLine)
	if i := bytes.LastIndexByte(text[start:from], '\n'); i >= 0 {
		start += i + 1
	}
	end := min(len(text), to+maxLine)
	if i := bytes.IndexByte(text[to:end], '\n'); i >= 0 {
		end = to + i
	}
	return text[start:end]
}
