package egress

import (
	"bytes"
	"strings"
)

// kind says what a proxy does with a header field.
type kind uint8

const (
	kindEnd  kind = iota // from end to end: passes
	kindHop              // for this hop: dropped
	kindHost             // these are dropped and written anew
	kindLength
	kindTransfer
	kindConnection // these are noted and dropped
	kindKeepAlive
	kindUpgrade
	kindExpect
	kindDisguised // "Content_Length": a gateway behind us may read it as the real one
	kindOverride  // it passes, but not where the method or the path was judged
)

var kinds = map[string]kind{
	"host":              kindHost,
	"content-length":    kindLength,
	"transfer-encoding": kindTransfer,
	"connection":        kindConnection,
	"keep-alive":        kindKeepAlive,
	"upgrade":           kindUpgrade,
	"http2-settings":    kindUpgrade,
	"expect":            kindExpect,
	"te":                kindHop,
	"x-bottle-blocked":  kindHop, // ours alone: nobody else's answer may look like our refusal
	// Where an upstream believes a proxy, the agent must not be one: these say
	// that the request was for another host.
	"forwarded":          kindHop,
	"x-forwarded-host":   kindHop,
	"x-forwarded-server": kindHop,
	"x-forwarded-port":   kindHop,
	"x-forwarded-proto":  kindHop,
	"x-forwarded-scheme": kindHop,
	"x-forwarded-ssl":    kindHop,
	"x-host":             kindHop,
	"x-original-host":    kindHop,

	"x-http-method":          kindOverride,
	"x-http-method-override": kindOverride,
	"x-method-override":      kindOverride,
	"x-original-uri":         kindOverride,
	"x-original-url":         kindOverride,
	"x-rewrite-uri":          kindOverride,
	"x-rewrite-url":          kindOverride,
	"x-forwarded-prefix":     kindOverride,
	"x-forwarded-path":       kindOverride,
	"x-forwarded-uri":        kindOverride,
}

func kindOf(name []byte) kind {
	var low [32]byte
	if len(name) > len(low) {
		return kindEnd
	}
	disguised := false
	for i, c := range name {
		if c == '_' { // gateways that make variables of names do not tell the two apart
			c, disguised = '-', true
		}
		low[i] = lower(c)
	}
	key := low[:len(name)]
	k := kindEnd
	switch key[0] { // most fields need no look into the map
	case 'c', 'e', 'f', 'h', 'k', 't', 'u', 'x':
		k = kinds[string(key)]
	case 'p':
		if bytes.HasPrefix(key, []byte("proxy-")) {
			k = kindHop
		}
	}
	if disguised && k != kindEnd && k != kindOverride && k != kindHop {
		return kindDisguised
	}
	return k
}

// trailerRefused are fields that a recipient must not find after the body:
// they would change what it already acted on.
var trailerRefused = map[string]bool{
	"authorization": true, "cookie": true, "set-cookie": true, "age": true, "cache-control": true, "content-encoding": true,
	"content-range": true, "content-type": true, "date": true, "expires": true, "location": true, "max-forwards": true,
	"range": true, "retry-after": true, "vary": true, "warning": true, "www-authenticate": true, "trailer": true,
}

// tokenByte are the characters of methods and header names.
var tokenByte = func() (t [256]bool) {
	for _, c := range "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" {
		t[c] = true
	}
	return t
}()

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func equalFold(b []byte, s string) bool {
	return len(b) == len(s) && strings.EqualFold(string(b), s)
}

// trim drops spaces and tabs around a value.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// eachToken calls f for the members of a comma-separated list.
func eachToken(list []byte, f func([]byte)) {
	for len(list) > 0 {
		item, rest, _ := bytes.Cut(list, []byte(","))
		if item = trim(item); len(item) > 0 {
			f(item)
		}
		list = rest
	}
}

// decimal reads digits, and nothing but digits.
func decimal(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

var methods = []string{"GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE"}

// internMethod saves an allocation for the methods that everybody uses.
func internMethod(b []byte) string {
	for _, m := range methods {
		if string(b) == m {
			return m
		}
	}
	return string(b)
}
