package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ParseScheme reads https or http.
func ParseScheme(s string) (string, error) {
	if s != HTTPS && s != HTTP {
		return "", fmt.Errorf("scheme %q is neither https nor http", s)
	}
	return s, nil
}

// ParsePort reads a port in its one spelling: 1 to 65535, digits only, no zero
// in front.
func ParsePort(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || s[0] == '0' || s[0] == '+' {
		return 0, fmt.Errorf("%q is not a port", s)
	}
	return int(n), nil
}

// word is a form of words: a first byte, the others, and how many there are at
// most. Regular expressions would say the same, and every program would compile
// them at its start.
type word struct {
	first, rest string
	most        int
}

const (
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	lower  = "abcdefghijklmnopqrstuvwxyz"
	digits = "0123456789"
)

var (
	methodWord     = word{upper, upper + "_-", 32}
	headerWord     = word{lower + digits, lower + digits + "-", 64}
	schemeWord     = word{upper + lower, upper + lower + digits + "-", 32}
	idWord         = word{upper + lower + digits, upper + lower + digits + "._-", 128}
	credentialWord = word{upper + lower + digits + "_", upper + lower + digits + "_.:-", 256}
)

// fits says whether s is of the form.
func (w word) fits(s string) bool {
	if s == "" || len(s) > w.most || strings.IndexByte(w.first, s[0]) < 0 {
		return false
	}
	for i := 1; i < len(s); i++ {
		if strings.IndexByte(w.rest, s[i]) < 0 {
			return false
		}
	}
	return true
}

// ParseMethod reads a method, in any case, and returns it in upper case.
func ParseMethod(s string) (string, error) {
	m := strings.ToUpper(s)
	switch {
	case !methodWord.fits(m):
		return "", fmt.Errorf("%q is not a method", s)
	case m == "CONNECT", m == "TRACE":
		return "", fmt.Errorf("%s cannot be allowed", m)
	}
	return m, nil
}

// headersNotInjected say who speaks to whom and how a message is framed.
var headersNotInjected = []string{"host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade",
	"keep-alive", "expect", "content-encoding", "x-bottle-blocked"}

// ParseHeader reads the name of a header that carries a credential, in any
// case, and returns it in lower case.
func ParseHeader(s string) (string, error) {
	h := strings.ToLower(s)
	switch {
	case !headerWord.fits(h):
		return "", fmt.Errorf("%q is not a header's name", s)
	case slices.Contains(headersNotInjected, h), strings.HasPrefix(h, "proxy-"):
		return "", fmt.Errorf("%s is no header for a credential", h)
	}
	return h, nil
}

// CheckAuthScheme says what is wrong with the scheme of an Authorization header.
func CheckAuthScheme(s string) error {
	if !schemeWord.fits(s) {
		return fmt.Errorf("%q is not an authorization scheme, as Bearer is", s)
	}
	return nil
}

// ParseRefresh reads how old a value may become: a minute to 30 days.
func ParseRefresh(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < time.Minute || d > 30*24*time.Hour || d%time.Second != 0 {
		return 0, fmt.Errorf("refresh %q is no time as 45m is, a minute to 720h", s)
	}
	return d, nil
}

// DefaultAskTimeout is how long a request is held where the policy does not say.
const DefaultAskTimeout = 30 * time.Second

// maxAskTimeout is below the time in which a connection may be silent.
const maxAskTimeout = 10 * time.Minute

// ParseOnDeny reads the word that says what becomes of a request that no entry
// allows: reject or ask. It returns whether the operator is asked.
func ParseOnDeny(word string) (ask bool, err error) {
	if word != "reject" && word != "ask" {
		return false, fmt.Errorf("on_deny %q is neither reject nor ask", word)
	}
	return word == "ask", nil
}

// ParseAskTimeout reads how long a request is held: whole seconds, a second to
// ten minutes.
func ParseAskTimeout(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < time.Second || d > maxAskTimeout || d%time.Second != 0 {
		return 0, fmt.Errorf("ask_timeout %q is no time as 30s is, 1s to 10m", s)
	}
	return d, nil
}

// CheckCredential says what is wrong with a credential's name.
func CheckCredential(s string) error {
	if !credentialWord.fits(s) {
		return fmt.Errorf("%q is not a credential's name", s)
	}
	return nil
}

// CheckID says what is wrong with a grant's ID.
func CheckID(s string) error {
	if !idWord.fits(s) {
		return fmt.Errorf("%q is not the ID of a grant", s)
	}
	return nil
}

// MaxUses is how many requests a grant with an end of uses may be good for.
const MaxUses = 1_000_000
