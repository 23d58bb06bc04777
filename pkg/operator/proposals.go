package operator

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/cli"
	"bottle/pkg/decision"
	"bottle/pkg/policy"
	"bottle/pkg/proposal"
	"bottle/pkg/state"
)

// Line is a proposal as bottle-ls prints it.
type Line struct {
	ID            string           `json:"id"`
	Slug          string           `json:"slug"`
	Agent         string           `json:"agent"`
	Kind          bottle.Kind      `json:"kind"`
	Status        string           `json:"status"` // pending, or the verdict
	Summary       string           `json:"summary"`
	Justification string           `json:"justification"`
	CreatedAt     time.Time        `json:"created_at"`
	Age           int64            `json:"age"` // seconds
	Proposed      any              `json:"proposed"`
	Diff          string           `json:"diff"`
	Note          string           `json:"note,omitempty"`      // why there is no diff
	Pending       *bottle.Pending  `json:"pending,omitempty"`   // what the sidecar says of it
	HeldLeft      *int64           `json:"held_left,omitempty"` // seconds; absent: no request waits for the answer itself
	Again         bool             `json:"again,omitempty"`     // from --watch: it was told before, and only HeldLeft came or went
	Decision      *bottle.Decision `json:"decision,omitempty"`
}

// Payload is what a proposal asks, without the rest.
func Payload(p bottle.Proposal) any {
	switch {
	case p.Egress != nil:
		return p.Egress
	case p.Exception != nil:
		return p.Exception
	case p.Capability != nil:
		return p.Capability
	case p.Push != nil:
		return p.Push
	case p.Pipelock != nil:
		return p.Pipelock
	}
	return struct{}{}
}

// State is what a person is shown of the status: "held 24s" while a request waits
// for the answer itself.
func (l *Line) State() string {
	if l.HeldLeft == nil {
		return l.Status
	}
	return "held " + bottle.Span(time.Duration(*l.HeldLeft)*time.Second)
}

// LineOf is a proposal against the policy that its bottle has.
func LineOf(f state.Filed, p policy.Policy, rules proposal.Rules, now time.Time) Line {
	l := Line{ID: f.ID, Slug: f.Slug, Agent: f.Agent, Kind: f.Kind, Status: "pending", Summary: proposal.Summary(f.Proposal), Justification: f.Justification,
		CreatedAt: f.CreatedAt, Age: int64(now.Sub(f.CreatedAt) / time.Second), Proposed: Payload(f.Proposal), Decision: f.Decision}
	if f.Pending != (bottle.Pending{}) {
		l.Pending = &f.Pending
	}
	if f.Decision != nil {
		l.Status = string(f.Decision.Verdict)
		return l
	}
	if holds(&f, now) {
		left := int64(f.Pending.HeldUntil.Sub(now) / time.Second)
		l.HeldLeft = &left
	}
	c, err := proposal.Approve(f.Proposal, proposal.Context{Policy: p, Rules: rules, Now: now})
	l.Diff, l.Note = c.Diff, c.Note
	if err != nil {
		l.Note = err.Error()
	}
	return l
}

func holds(f *state.Filed, now time.Time) bool { return f.Decision == nil && f.Pending.Holds(now) }

// Filed reads the proposals of all bottles: those for which a request is held,
// what is held least first, then the others, oldest first. What cannot be read is
// an error each.
func Filed(h *state.Home, all bool) ([]state.Filed, []error) {
	slugs, err := h.Slugs()
	if err != nil {
		return nil, []error{err}
	}
	var found []state.Filed
	var bad []error
	for _, slug := range slugs {
		some, errs := h.Proposals(slug, all)
		found = append(found, some...)
		for _, err := range errs {
			bad = append(bad, fmt.Errorf("%s: %w", slug, err))
		}
	}
	now := time.Now()
	slices.SortStableFunc(found, func(a, b state.Filed) int {
		switch x, y := holds(&a, now), holds(&b, now); {
		case x && y:
			return a.Pending.HeldUntil.Compare(b.Pending.HeldUntil)
		case x:
			return -1
		case y:
			return 1
		}
		return a.CreatedAt.Compare(b.CreatedAt)
	})
	return found, bad
}

// Lines are proposals as they are printed, each against its bottle's policy.
func Lines(d *decision.Decider, found []state.Filed, now time.Time) []Line {
	type base struct {
		policy policy.Policy
		rules  proposal.Rules
		err    error
	}
	bases := map[string]base{}
	lines := make([]Line, 0, len(found))
	for _, f := range found {
		b, known := bases[f.Slug]
		if !known {
			_, b.policy, b.err = d.Policy(f.Slug)
			b.rules, _ = d.Rules(f.Slug) // without them a credential is told as one that cannot be given
			bases[f.Slug] = b
		}
		l := LineOf(f, b.policy, b.rules, now)
		if b.err != nil && f.Decision == nil {
			l.Diff, l.Note = "", b.err.Error()
		}
		lines = append(lines, l)
	}
	return lines
}

// Target is a proposal that a program was told to decide.
type Target struct {
	Slug, ID string
	state.Filed
}

// Targets are the proposals that a program was told to act on: its arguments,
// where "-" stands for the lines of standard input (ids, SLUG/ID, or the JSON
// lines of bottle-ls proposals). Doubles are dropped. All are known to exist when
// it returns.
func Targets(ctx context.Context, c *cli.Call, h *state.Home) ([]Target, error) {
	words, err := words(ctx, c)
	if err != nil {
		return nil, err
	}
	if len(words) == 0 {
		return nil, nil
	}
	found, _ := Filed(h, true)
	byID := map[string][]state.Filed{}
	for _, f := range found {
		byID[f.ID] = append(byID[f.ID], f)
	}
	var targets []Target
	seen := map[string]bool{}
	for _, w := range words {
		var those []state.Filed
		for _, f := range byID[w.id] {
			if w.slug == "" || w.slug == f.Slug {
				those = append(those, f)
			}
		}
		switch len(those) {
		case 0:
			return nil, cli.Error{Code: cli.NotFound, Msg: fmt.Sprintf("no proposal %q", w.String()), Hint: "run bottle-ls proposals"}
		case 1:
		default:
			return nil, cli.Error{Code: cli.Usage, Msg: fmt.Sprintf("%q is a proposal of several bottles", w.id), Hint: "write SLUG/ID"}
		}
		if key := those[0].Slug + "/" + those[0].ID; !seen[key] {
			seen[key] = true
			targets = append(targets, Target{Slug: those[0].Slug, ID: those[0].ID, Filed: those[0]})
		}
	}
	return targets, nil
}

// word is what names a proposal or a grant.
type word struct{ slug, id string }

func (w word) String() string {
	if w.slug != "" {
		return w.slug + "/" + w.id
	}
	return w.id
}

// ParseWord reads ID, SLUG/ID, or a JSON object that has them.
func ParseWord(line string) (slug, id string) {
	line = strings.TrimSpace(line)
	if strings.HasPrefix(line, "{") {
		var doc struct{ ID, Slug string }
		if json.Unmarshal([]byte(line), &doc) == nil && doc.ID != "" {
			return doc.Slug, doc.ID
		}
		return "", line
	}
	first, _, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
	if slug, id, both := strings.Cut(first, "/"); both {
		return slug, id
	}
	return "", first
}

func words(ctx context.Context, c *cli.Call) (all []word, err error) {
	for _, arg := range c.Args {
		if arg != "-" {
			slug, id := ParseWord(arg)
			all = append(all, word{slug, id})
			continue
		}
		err := EachLine(ctx, c, func(line string) error {
			if slug, id := ParseWord(line); id != "" {
				all = append(all, word{slug, id})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}
