package proposal

import (
	"errors"
	"fmt"
	"strings"

	"bottle/pkg/bottle"
)

// gitPush is a push that the gate holds back.
type gitPush struct{}

const maxUpdates = 200

func (gitPush) source(*bottle.Proposal) string { return GitGate }

func (gitPush) check(p *bottle.Proposal) error {
	push := p.Push
	switch {
	case push == nil:
		return errors.New("it holds no push")
	case push.Remote == "" || len(push.Remote) > 200:
		return errors.New("the push names no remote")
	case len(push.Updates) == 0 || len(push.Updates) > maxUpdates:
		return fmt.Errorf("a push has 1 to %d refs", maxUpdates)
	}
	for _, u := range push.Updates {
		if !strings.HasPrefix(u.Ref, "refs/") {
			return fmt.Errorf("%q is not a ref", u.Ref)
		}
		if !objectID(u.Old) || !objectID(u.New) || len(u.Old) != len(u.New) {
			return fmt.Errorf("%s: it does not go from one object id to another", u.Ref)
		}
	}
	return nil
}

func objectID(s string) bool {
	return (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789abcdef") == ""
}

func (gitPush) summary(p *bottle.Proposal) string {
	push := p.Push
	s := "push to " + push.Remote + ": " + push.Updates[0].Ref
	if n := len(push.Updates) - 1; n > 0 {
		s += fmt.Sprintf(" and %d more", n)
	}
	if n := len(push.Findings); n == 1 {
		s += "  [1 finding: " + push.Findings[0].Rule + "]"
	} else if n > 1 {
		s += fmt.Sprintf("  [%d findings: %s, …]", n, push.Findings[0].Rule)
	}
	return s
}

func (gitPush) approve(c *Change, p *bottle.Proposal, in Context) error {
	if in.Terms.Uses > 0 || in.Terms.For != nil {
		return errors.New("a push is approved as it is, for the bottle's life: it has neither uses nor an end")
	}
	push := *p.Push
	c.Push = &push
	var b strings.Builder
	for _, u := range push.Updates {
		fmt.Fprintf(&b, "+%s %s..%s\n", u.Ref, u.Old, u.New)
	}
	for _, f := range push.Findings {
		fmt.Fprintf(&b, "+finding %s %s %s\n", f.Rule, f.Where, f.Object)
	}
	c.Diff = b.String()
	return nil
}

func (gitPush) reject(*Change, *bottle.Proposal) {}
