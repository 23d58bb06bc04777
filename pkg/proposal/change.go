package proposal

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/policy"
)

// Terms are how the operator approves.
type Terms struct {
	// For is how long it holds. nil: as long as the proposal asks for; 0: the
	// bottle's life.
	For *time.Duration
	// Uses is how many requests it is good for; 0: any number.
	Uses         int64
	NoCredential bool
}

// Context is what an approval is judged against.
type Context struct {
	Policy policy.Policy // in force
	Rules  Rules
	Terms  Terms
	Now    time.Time
}

// Change is what a decision changes.
type Change struct {
	Grant   *policy.Grant   // is added to egress' policy
	Silence *policy.Silence // is added to egress' policy
	// Already are the entries by which all of it is allowed: nothing is added.
	Already []string
	// Push is what the gate lets through; Dockerfile what the agent's image is made
	// of anew.
	Push       *bottle.PushAsk
	Dockerfile string
	Listed     string // is added to pipelock's list alone
	// Diff is what is added to the policy, a line each, "+" before it; or the
	// whole of a Dockerfile, the refs of a push, or a host of pipelock's list.
	Diff string
	Note string // one line for the operator, or nothing
}

// Approve returns what approval of p changes.
func Approve(p bottle.Proposal, in Context) (Change, error) {
	var c Change
	k, known := kinds[p.Kind]
	if !known {
		return c, fmt.Errorf("%q is no kind of proposal", p.Kind)
	}
	if d := in.Terms.For; d != nil && (*d < 0 || *d > MaxDuration || *d > 0 && *d < time.Second) {
		return c, fmt.Errorf("%v is not a duration from 1s to %v", *d, MaxDuration)
	}
	err := k.approve(&c, &p, in)
	return c, err
}

// Reject returns what rejection of p changes. Where nobody may hear the reason
// now, what is refused from then on is told it.
func Reject(p bottle.Proposal, reason string) Change {
	var c Change
	if k, known := kinds[p.Kind]; known {
		k.reject(&c, &p)
	}
	if c.Silence != nil && c.Silence.Pattern == "" { // pipelock's answers are its own
		c.Silence.Reason = policy.Why(reason)
	}
	c.Diff = lines(policy.Policy{Silenced: optional(c.Silence)})
	return c
}

// Apply returns p with the change. What is there already is not added twice, so
// that a change may be carried out again.
func (c *Change) Apply(p policy.Policy) policy.Policy {
	if c.Grant != nil && !slices.ContainsFunc(p.Grants, func(g policy.Grant) bool { return g.ID == c.Grant.ID }) {
		p.Grants = append(slices.Clip(p.Grants), *c.Grant)
	}
	if c.Silence != nil && !slices.Contains(p.Silenced, *c.Silence) {
		p.Silenced = append(slices.Clip(p.Silenced), *c.Silence)
	}
	return p
}

// grant makes the entry that an approval adds, or says why none is needed.
func (c *Change) grant(p *bottle.Proposal, g policy.Grant, seconds int64, in Context) {
	g.ID, g.Uses = p.ID, in.Terms.Uses
	d := time.Duration(seconds) * time.Second
	if in.Terms.For != nil {
		d = *in.Terms.For
	}
	if d > 0 {
		// The file has whole seconds: up, so that nobody gets less than was said.
		g.Expires = in.Now.UTC().Add(d + time.Second - time.Nanosecond).Truncate(time.Second)
	}
	if c.Already = in.Policy.Covers(&g, in.Now); c.Already != nil {
		c.Note = "already allowed by " + strings.Join(c.Already, ", ") + ": nothing is added"
		return
	}
	c.Grant = &g
	c.Diff = lines(policy.Policy{Grants: []policy.Grant{g}})
}

// lines are what p adds to a policy, "+" before each.
func lines(p policy.Policy) string {
	var b strings.Builder
	for line := range strings.Lines(string(policy.Render(p))) {
		if line != "routes: []\n" && line != "grants:\n" && line != "silenced:\n" {
			b.WriteString("+" + line)
		}
	}
	return b.String()
}

func optional[T any](v *T) []T {
	if v == nil {
		return nil
	}
	return []T{*v}
}

// Narrow returns p with less: these paths, which must lie below those asked for,
// and these methods, which must be among them. Empty lists leave what there is.
// It is another proposal with another ID, in the place of the first.
func Narrow(p bottle.Proposal, paths, methods []string) (bottle.Proposal, error) {
	if p.Exception != nil && len(methods) == 0 && len(paths) == 1 {
		e := *p.Exception
		e.Path = paths[0]
		wide := policy.Route{Paths: []string{p.Exception.Path}}
		if !wide.Holds(e.Path) {
			return p, fmt.Errorf("%s is not below what is asked for", e.Path)
		}
		p.Exception = &e
		return Remake(p)
	}
	if p.Egress == nil {
		return p, errors.New("only what asks for a host can be narrowed")
	}
	e := *p.Egress
	asked := policy.Route{Paths: e.Paths, Methods: e.Methods}
	if len(paths) > 0 {
		e.Paths = paths
		for _, path := range paths {
			if err := policy.CheckPrefix(path); err != nil {
				return p, err
			}
			if !asked.Holds(path) {
				return p, fmt.Errorf("%s is not below what is asked for", path)
			}
		}
	}
	if len(methods) > 0 {
		e.Methods = nil
		for _, m := range methods {
			m, err := policy.ParseMethod(m)
			if err != nil {
				return p, err
			}
			if len(asked.Methods) > 0 && !slices.Contains(asked.Methods, m) {
				return p, fmt.Errorf("%s is not among the methods asked for", m)
			}
			e.Methods = append(e.Methods, m)
		}
	}
	p.Egress = &e
	return Remake(p)
}

// Remake checks a proposal that the operator changed, and gives it its own ID.
func Remake(p bottle.Proposal) (bottle.Proposal, error) {
	slug, agent := p.Slug, p.Agent
	k, known := kinds[p.Kind]
	if !known {
		return p, fmt.Errorf("%q is no kind of proposal", p.Kind)
	}
	if err := check(k, &p); err != nil {
		return p, err
	}
	p.Slug, p.Agent = "", ""
	p, err := named(p)
	p.Slug, p.Agent = slug, agent
	return p, err
}
