package dlp

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html"
	"math/big"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// KnownRule is the rule of a finding of a known secret.
const KnownRule = "known-secret"

// MinKnown is how many bytes a known secret has at least.
const MinKnown = 12

// Known is a secret whose value is known: one of the bottle's own.
type Known struct {
	Name  string
	Value []byte
	// Hosts are where it may travel, in a credential header and nowhere else.
	// None: it may travel nowhere.
	Hosts []string
}

const (
	coreLength   = 48 // bytes of a value that are looked for: its middle, which no format fills with boilerplate
	needleLength = 64 // characters that are looked for of a form that may come in two parts
	otherLength  = 40 // characters that are looked for of the other forms
	minNeedle    = 10 // letters and digits that a form must have to be looked for
	minPart      = 4  // letters and digits of the smaller part of a value in two parts
)

// needles are all forms of all known secrets, as they are once everything but
// letters and digits is left out and case is folded. So line breaks, padding,
// separators, quotes, escapes of punctuation, UTF-16 and both alphabets of
// base64 need no form of their own.
type needles struct {
	known   []Known
	words   *automaton
	owner   []int            // by needle: the index of its secret
	whole   []bool           // by needle: a value in two parts is looked for in this form
	starts  map[string][]cut // by its first minPart characters: what is left of a needle behind a cut
	maybe   [1 << 12]bool    // by a hash of these: whether there is such a start
	punct   []punctual
	allowed map[string][]int // by host: the secrets that may travel there
}

// cut is a place in a needle: what stands before it may be in another field.
type cut struct {
	needle int
	at     int
}

// punctual is a value with too few letters and digits to be looked for
// without the rest.
type punctual struct {
	owner int
	value []byte
}

func newNeedles(known []Known) (*needles, error) {
	known = merged(known)
	n := &needles{known: known, starts: map[string][]cut{}, allowed: map[string][]int{}}
	seen := map[string]bool{}
	var words []string
	add := func(owner int, whole bool, forms ...string) {
		length := otherLength
		if whole {
			length = needleLength
		}
		for _, f := range forms {
			w := squeezed(f)
			if w = w[:min(len(w), length)]; len(w) < minNeedle || seen[w] {
				continue
			}
			seen[w] = true
			words = append(words, w)
			n.owner = append(n.owner, owner)
			n.whole = append(n.whole, whole && mixed(w))
		}
	}
	for i, k := range known {
		if len(k.Value) < MinKnown {
			return nil, fmt.Errorf("the secret %s is shorter than %d bytes", k.Name, MinKnown)
		}
		core := core(k.Value)
		if len(squeezed(string(core))) < minNeedle {
			n.punct = append(n.punct, punctual{i, core}, punctual{i, reversed(core)})
		}
		add(i, true, wholeForms(core)...)
		add(i, false, otherForms(core)...)
		for _, h := range k.Hosts {
			h = strings.ToLower(h)
			n.allowed[h] = append(n.allowed[h], i)
		}
	}
	n.words = newAutomaton(words, squeeze)
	for i, w := range words {
		for at := minPart; n.whole[i] && at <= len(w)-minPart; at++ {
			key := w[at : at+minPart]
			n.starts[key] = append(n.starts[key], cut{i, at})
			n.maybe[startHash(key[0], key[1], key[2], key[3])] = true
		}
	}
	return n, nil
}

func startHash(a, b, c, d byte) uint32 {
	return (uint32(a) | uint32(b)<<8 | uint32(c)<<16 | uint32(d)<<24) * 0x9e3779b1 >> 20
}

// merged joins secrets of one value: it may travel where any of them may.
func merged(known []Known) []Known {
	var out []Known
	for _, k := range known {
		i := slices.IndexFunc(out, func(o Known) bool { return bytes.Equal(o.Value, k.Value) })
		if i < 0 {
			out = append(out, k)
		} else {
			out[i].Hosts = slices.Concat(out[i].Hosts, k.Hosts)
		}
	}
	return out
}

// core returns the middle of a long value: what begins and ends one is often
// boilerplate (a PEM header, the first part of a JWT) that others have too.
func core(value []byte) []byte {
	if len(value) <= coreLength {
		return value
	}
	from := (len(value) - coreLength) / 2
	return value[from : from+coreLength]
}

// wholeForms are the forms in which a value cut into two parts is known again.
func wholeForms(v []byte) []string {
	return []string{string(v), base64.StdEncoding.EncodeToString(v), hex.EncodeToString(v), string(reversed(v))}
}

// otherForms are the rest of the forms that one encoding makes of a value.
func otherForms(v []byte) []string {
	b32 := base32.StdEncoding.EncodeToString(v)
	forms := []string{
		url.QueryEscape(string(v)), url.QueryEscape(url.QueryEscape(string(v))), url.PathEscape(string(v)),
		html.EscapeString(string(v)), strconv.QuoteToASCII(string(v)), strings.ToLower(b32),
		each(v, "0x%02x"), each(v, `x%02x`), each(v, "%d"), each(v, "%03o"), each(v, "u%04x"), each(v, "%%25%02x"), each(v, "%08b"),
		each(v, "&#%d;"), each(v, "&#x%x;"),
		string(reversed([]byte(base64.StdEncoding.EncodeToString(v)))), string(reversed([]byte(hex.EncodeToString(v)))),
		base64.StdEncoding.EncodeToString(reversed(v)), hex.EncodeToString(reversed(v)),
		string(rot13(v)), encode58(v),
	}
	w := wideUTF16(v)
	forms = append(forms, hex.EncodeToString(w))
	for shift := range 3 {
		for _, b := range [][]byte{v, w} {
			s := base64.StdEncoding.EncodeToString(append(make([]byte, shift), b...))
			forms = append(forms, inner(s, shift, len(b), 3, 4))
		}
	}
	for shift := range 5 {
		s := base32.StdEncoding.EncodeToString(append(make([]byte, shift), v...))
		forms = append(forms, inner(s, shift, len(v), 5, 8))
	}
	return forms
}

// inner cuts from encoded, which encodes shift zero bytes and size bytes of a
// value, the characters that no neighbour of the value changes.
func inner(encoded string, shift, size, in, out int) string {
	bits := 8 * in / out
	from := (shift*8 + bits - 1) / bits
	to := (shift + size) * 8 / bits
	return encoded[from:to]
}

func each(v []byte, format string) string {
	var b strings.Builder
	for _, c := range v {
		fmt.Fprintf(&b, format, c)
	}
	return b.String()
}

// wideUTF16 is UTF-16. Its NULs are left out of plain text, but not out of what
// encodes it.
func wideUTF16(v []byte) []byte {
	wide := make([]byte, 0, 2*len(v))
	for _, c := range v {
		wide = append(wide, c, 0)
	}
	return wide
}

func rot13(v []byte) []byte {
	out := slices.Clone(v)
	for i, c := range out {
		if letterByte[c] {
			out[i] = c&^0x1f | (c&0x1f+12)%26 + 1
		}
	}
	return out
}

// encode58 is base58, which has no alignment: it encodes a value as a number.
func encode58(v []byte) string {
	n, digit, radix := new(big.Int).SetBytes(v), new(big.Int), big.NewInt(58)
	var out []byte
	for n.Sign() > 0 {
		n.DivMod(n, radix, digit)
		out = append(out, base58[digit.Int64()])
	}
	return string(reversed(out))
}

func reversed(v []byte) []byte {
	r := slices.Clone(v)
	slices.Reverse(r)
	return r
}

// squeezed leaves out of s everything but letters and digits, and folds case.
func squeezed(s string) string {
	out := make([]byte, 0, len(s))
	for i := range len(s) {
		if c, ok := squeeze(s[i]); ok {
			out = append(out, c)
		}
	}
	return string(out)
}

// mixed says whether w holds both letters and digits. Two words in two fields
// are no value in two parts.
func mixed(w string) bool {
	return strings.ContainsAny(w, "0123456789") && strings.ContainsAny(w, "abcdefghijklmnopqrstuvwxyz")
}

// may says whether a host may be sent secret i in a credential header.
func (n *needles) may(i int, host string) bool {
	return slices.Contains(n.allowed[host], i)
}

// covers says whether secret is part of a value that host may be sent.
func (n *needles) covers(secret []byte, host string) bool {
	return slices.ContainsFunc(n.allowed[host], func(i int) bool {
		v := n.known[i].Value
		return bytes.Contains(v, secret) || bytes.Contains(secret, v)
	})
}
