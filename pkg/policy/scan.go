package policy

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Exception says that what a rule of the scanner finds is no secret, in requests
// below a path.
type Exception struct {
	Rule string // its ID (CheckRule)
	Path string // a prefix that ends at a segment; empty: the whole host
}

// Scan is what of a route's requests is let through that the scanner would not.
type Scan struct {
	Allow []Exception
	// Stream: what of a body comes behind the bound passes unscanned. Otherwise a
	// body beyond the bound is refused.
	Stream bool
}

// Equal says whether two let the same through.
func (s Scan) Equal(o Scan) bool { return s.Stream == o.Stream && slices.Equal(s.Allow, o.Allow) }

func (s Scan) zero() bool { return !s.Stream && len(s.Allow) == 0 }

// Summary is what is let through, for people.
func (s Scan) Summary() string {
	var parts []string
	for _, e := range s.Allow {
		parts = append(parts, strings.TrimSpace(e.Rule+" "+e.Path))
	}
	if s.Stream {
		parts = append(parts, "behind max_body")
	}
	return "unscanned: " + strings.Join(parts, ", ")
}

// InForce is an exception that holds for a request.
type InForce struct {
	Exception
	Grant *Grant // that it was granted by; nil: it is the route's own. Read it only.
}

// Exceptions are those that hold for a request which rests on an entry: its own,
// and those that were granted for its host and are not spent. Those whose uses
// are counted come last, so that one is taken only where it is needed.
func (p *Policy) Exceptions(r *Route, now time.Time, spent func(*Grant) bool) []InForce {
	var list []InForce
	for _, e := range r.Scan.Allow {
		list = append(list, InForce{e, nil})
	}
	for i := range p.Grants {
		g := &p.Grants[i]
		if g.Opens() || g.Scanner != "" || g.Host != r.Host || !g.Live(now) || spent(g) {
			continue
		}
		for _, path := range orAll(g.Paths) {
			list = append(list, InForce{Exception{g.Rule, path}, g})
		}
	}
	slices.SortStableFunc(list, func(a, b InForce) int { return a.counted() - b.counted() })
	return list
}

// counted is 1 where uses are counted, else 0.
func (e InForce) counted() int {
	if e.Grant != nil && e.Grant.Uses > 0 {
		return 1
	}
	return 0
}

// DefaultMaxBody is how many bytes a body may have where the policy does not say.
const DefaultMaxBody = 32 << 20

// MaxBodyBytes is how many bytes of a body are scanned.
func (p *Policy) MaxBodyBytes() int64 {
	if p.MaxBody > 0 {
		return p.MaxBody
	}
	return DefaultMaxBody
}

var ruleWord = word{lower + digits, lower + digits + "-", 64}

// CheckRule says what is wrong with the ID of a rule. It does not know which
// there are.
func CheckRule(s string) error {
	if !ruleWord.fits(s) {
		return fmt.Errorf("%q is not a rule's ID, as github-pat is", s)
	}
	return nil
}

var patternWord = word{upper + lower + digits, upper + lower + digits + " ._/-", 64}

// CheckPattern says what is wrong with the name of one of pipelock's patterns. It
// does not know which there are.
func CheckPattern(s string) error {
	if !patternWord.fits(s) || s[len(s)-1] == ' ' || strings.Contains(s, "  ") {
		return fmt.Errorf("%q is not the name of a pattern, as JWT Token is", s)
	}
	return nil
}

// ParseOversize reads the word that says what becomes of a body beyond the
// bound: block or stream. It returns whether the rest passes unscanned.
func ParseOversize(word string) (stream bool, err error) {
	if word != "block" && word != "stream" {
		return false, fmt.Errorf("oversize %q is neither block nor stream", word)
	}
	return word == "stream", nil
}

// Bounds of max_body.
const (
	minBody = 1 << 10
	maxBody = 1 << 30
)

// ParseSize reads a number of bytes: 4096, 512KiB, 32MiB or 1GiB.
func ParseSize(s string) (int64, error) {
	number, unit := s, int64(1)
	for _, u := range []struct {
		name  string
		bytes int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}} {
		if n, ok := strings.CutSuffix(s, u.name); ok {
			number, unit = n, u.bytes
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || number[0] == '+' || n > maxBody || n*unit < minBody || n*unit > maxBody {
		return 0, fmt.Errorf("%q is no size as 32MiB is, 1KiB to 1GiB", s)
	}
	return n * unit, nil
}

var errNoRule = errors.New("an exception needs a rule")
