package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// ErrAddress is what CanonicalHost returns for an IP address in any spelling.
// Addresses are never on an allowlist.
var ErrAddress = errors.New("an IP address is not a host name")

const (
	maxHost  = 253 // bytes of a name in DNS, without the last dot
	maxLabel = 63
)

// CanonicalHost returns the one form of a host name by which hosts are
// compared: lower case, no dot at the end, labels that are not ASCII in
// punycode. It refuses what is no name (ErrAddress for an address, however
// spelled) and what DNS could not carry. Underscores are common in real names
// and pass.
func CanonicalHost(s string) (string, error) {
	return canonical(s, false)
}

// RouteHost is CanonicalHost for what an operator writes into a policy: a "*"
// passes too, as a literal that matches nothing.
func RouteHost(s string) (string, error) {
	return canonical(s, true)
}

func canonical(s string, star bool) (string, error) {
	if strings.ContainsAny(s, ":[]") {
		if isAddress6(s) {
			return "", ErrAddress
		}
		return "", fmt.Errorf("host %q has a character that no name has", s)
	}
	if len(s) > 4*maxHost {
		return "", errors.New("the host name is too long")
	}
	if plain(s) {
		return s, nil
	}
	labels := strings.Split(strings.TrimSuffix(s, "."), ".")
	for i, l := range labels {
		c, err := label(l, star)
		if err != nil {
			return "", fmt.Errorf("host %q: %w", s, err)
		}
		labels[i] = c
	}
	if number(labels[len(labels)-1]) {
		return "", ErrAddress
	}
	host := strings.Join(labels, ".")
	if len(host) > maxHost {
		return "", errors.New("the host name is too long")
	}
	return host, nil
}

// plain says whether s is canonical already; most hosts are, and then nothing
// needs to be allocated.
func plain(s string) bool {
	start := 0
	for i := 0; i <= len(s); i++ {
		if i < len(s) && s[i] != '.' {
			if !nameByte(s[i]) {
				return false
			}
			continue
		}
		l := s[start:i]
		if l == "" || len(l) > maxLabel || l[0] == '-' || l[len(l)-1] == '-' || i == len(s) && number(l) {
			return false
		}
		start = i + 1
	}
	return len(s) <= maxHost
}

func nameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

// label returns the canonical form of one label. IDNA is for labels that are
// not ASCII only: its rules refuse names such as _dmarc or r3---sn-x.
func label(l string, star bool) (string, error) {
	if !ascii(l) {
		if !utf8.ValidString(l) {
			return "", fmt.Errorf("%q is not UTF-8", l)
		}
		c, err := idna.Lookup.ToASCII(l)
		if err != nil {
			return "", fmt.Errorf("%q is not a label: %w", l, err)
		}
		l = c
	}
	l = strings.ToLower(l)
	switch {
	case l == "":
		return "", errors.New("a label is empty")
	case len(l) > maxLabel:
		return "", errors.New("a label is too long")
	case l[0] == '-' || l[len(l)-1] == '-':
		return "", errors.New("a label begins or ends with a hyphen")
	}
	for i := range len(l) {
		if !nameByte(l[i]) && !(star && l[i] == '*') {
			return "", fmt.Errorf("%q has a character that no name has", l)
		}
	}
	return l, nil
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// number says whether a last label makes the whole host an IPv4 address to some
// resolver: decimal, octal or hexadecimal, in one to four parts. No top-level
// domain is a number, so the last label decides.
func number(l string) bool {
	if hex, ok := strings.CutPrefix(l, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(l, "0123456789") == ""
}

// isAddress6 tells an IPv6 address, with or without brackets, from garbage.
func isAddress6(s string) bool {
	if inner, ok := strings.CutPrefix(s, "["); ok {
		if s, ok = strings.CutSuffix(inner, "]"); !ok {
			return false
		}
	}
	_, err := netip.ParseAddr(s)
	return err == nil
}
