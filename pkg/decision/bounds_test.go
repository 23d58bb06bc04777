package decision

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"bottle/pkg/audit"
	"bottle/pkg/bottle"
	"bottle/pkg/policy"
	"bottle/pkg/proposal"
)

// Sidecars read a decision up to a bound: what is written must stay below it.
func TestWhateverIsDecidedCanBeRead(t *testing.T) {
	b := newBench(t)
	long := strings.Repeat("<&>", 19_000)
	push := b.ask(bottle.Proposal{Kind: bottle.GitPush, Push: &bottle.PushAsk{Remote: "origin", Diffstat: long,
		Updates: []bottle.PushUpdate{{Ref: "refs/heads/x", Old: strings.Repeat("0", 40), New: strings.Repeat("a", 40)}}}})
	worst := strings.Repeat("\x01", MaxReason) // six bytes each
	must(t, b.decide(Order{ID: push, Reason: worst})[0].Err)
	if d, err := b.Home.Decision(slug, proposal.GitGate, push); err != nil || d.Push.Diffstat != long || d.Reason != worst {
		t.Errorf("%v", err)
	}

	// What is approved in its place stands there beside the grant.
	paths := make([]string, 50)
	for i := range paths {
		paths[i] = fmt.Sprintf("/%02d/%s", i, strings.Repeat("x", 1000))
	}
	id := b.ask(host("docs.example"))
	filed, err := b.Home.Proposal(slug, id)
	must(t, err)
	as, err := proposal.Narrow(filed.Proposal, paths, nil)
	must(t, err)
	must(t, b.decide(Order{ID: id, As: &as, Reason: worst})[0].Err)
	if d, err := b.Home.Decision(slug, proposal.Supervise, id); err != nil || len(d.Grant.Paths) != 50 || d.Reason != worst {
		t.Errorf("%v", err)
	}
	over := bottle.Proposal{Kind: bottle.CapabilityBlock, Justification: "x", Capability: &bottle.CapabilityAsk{Dockerfile: "FROM bottle\nRUN true " + strings.Repeat("\t", 40_000) + "x\n"}}
	if _, err := proposal.Remake(over); err == nil || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("more was put in a proposal's place than a proposal may have: %v", err)
	}
	b.Carry = func(context.Context, bottle.Proposal, func() error) error {
		return errors.New(strings.Repeat("\x01", 1<<20))
	}
	image := b.ask(bottle.Proposal{Kind: bottle.CapabilityBlock, Justification: "x", Capability: &bottle.CapabilityAsk{Dockerfile: "FROM bottle\nRUN true\n"}})
	if r := b.decide(Order{ID: image, Reason: worst})[0]; r.Err == nil {
		t.Error("an image that could not be made was approved")
	}
	if d, err := b.Home.Decision(slug, proposal.Supervise, image); err != nil || d.Verdict != bottle.Rejected || d.Reason != worst {
		t.Errorf("%v", err)
	}

	must(t, b.Revoke(t.Context(), slug, id, worst))
	b.records(4)
	whole := 0 // in the log, where it is cut beside the worst detail
	b.eachRecord(func(r audit.Record) {
		if r.Reason == worst {
			whole++
		}
	})
	if whole != 3 {
		t.Errorf("%d of 3 reasons are whole in the log", whole)
	}
}

func TestWhatCouldNotBeReadIsRefused(t *testing.T) {
	b := newBench(t)
	id := b.ask(host("docs.example"))
	over := strings.Repeat("x", MaxReason+1)
	if r := b.decide(Order{ID: id, Reject: true, Reason: over})[0]; !errors.Is(r.Err, ErrLong) {
		t.Errorf("a reason without a bound: %v", r.Err)
	}
	must(t, b.decide(Order{ID: id})[0].Err)
	if err := b.Revoke(t.Context(), slug, id, over); !errors.Is(err, ErrLong) {
		t.Errorf("a reason without a bound: %v", err)
	}
	b.grants(id)

	var wide policy.Policy
	for i := range 300 {
		r := policy.Route{Host: fmt.Sprintf("h%d.example", i), Scheme: "https", Port: 443}
		for n := range 60 {
			r.Paths = append(r.Paths, fmt.Sprintf("/%d/%s", n, strings.Repeat("x", 1000)))
		}
		wide.Routes = append(wide.Routes, r)
	}
	old, err := b.Text(slug)
	must(t, err)
	if err := b.Edit(t.Context(), slug, old, wide, ""); !errors.Is(err, ErrLarge) {
		t.Errorf("a policy of %d bytes: %v", len(policy.Render(wide)), err)
	}
	b.grants(id)
}
