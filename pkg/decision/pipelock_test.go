package decision

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/policy"
	"bottle/pkg/proposal"
)

// second is a bottle's pipelock, as far as a decision sees it.
type second struct {
	b     *bench
	calls []string // what it was told, and whether egress had the host then
	fails error
}

func withPipelock(t *testing.T) (*bench, *second) {
	t.Helper()
	b := newBench(t)
	s := &second{b: b}
	b.Mirror = func(_ context.Context, _ string, open, closed []string) (bool, error) {
		reaches := func(hosts []string) bool {
			_, p, err := b.Policy(slug)
			must(t, err)
			return len(hosts) > 0 && p.Reaches(policy.HTTPS, hosts[0], 443, time.Now())
		}
		if len(open) > 0 {
			s.calls = append(s.calls, fmt.Sprintf("open %s egress:%v", strings.Join(open, " "), reaches(open)))
		}
		if len(closed) > 0 {
			s.calls = append(s.calls, fmt.Sprintf("close %s egress:%v", strings.Join(closed, " "), reaches(closed)))
		}
		return true, s.fails
	}
	return b, s
}

func (s *second) told(want ...string) {
	s.b.t.Helper()
	if !slices.Equal(s.calls, want) {
		s.b.t.Errorf("pipelock was told %q, want %q", s.calls, want)
	}
	s.calls = nil
}

// Pipelock's list opens before the routes do, and closes after they did; a host that
// is open already, and stays open, is not mentioned.
func TestPipelockOpensFirstAndClosesLast(t *testing.T) {
	b, s := withPipelock(t)
	id := b.ask(host("docs.example", "/x"))
	must(t, b.decide(Order{ID: id})[0].Err)
	s.told("open docs.example egress:false")
	more := b.ask(host("docs.example", "/y"))
	must(t, b.decide(Order{ID: more})[0].Err)
	s.told()
	must(t, b.Revoke(t.Context(), slug, more, ""))
	s.told()
	must(t, b.Revoke(t.Context(), slug, id, ""))
	s.told("close docs.example egress:false")
}

func TestWherePipelockFailsTheRoutesAreNotChanged(t *testing.T) {
	b, s := withPipelock(t)
	s.fails = errors.New("its check says no")
	id := b.ask(host("docs.example", "/x"))
	err := b.decide(Order{ID: id})[0].Err
	if !errors.Is(err, ErrPipelock) || !strings.Contains(err.Error(), "pipelock failed, so the routes are NOT changed: its check says no") {
		t.Errorf("%v", err)
	}
	b.grants()
	if filed, err := b.Home.Proposal(slug, id); err != nil || filed.Decision != nil {
		t.Errorf("it waits no more: %+v, %v", filed.Decision, err)
	}
	s.fails = nil
	must(t, b.decide(Order{ID: id})[0].Err)
	b.grants(id)
}

// Egress that refuses after pipelock took the host: harmless, said, and a retry
// works.
func TestWhereEgressRefusesAfterwardsItIsSaid(t *testing.T) {
	b, s := withPipelock(t)
	signal := b.Signal
	b.Signal = func(context.Context, string, string) error { return ErrNotUp }
	id := b.ask(host("docs.example", "/x"))
	err := b.decide(Order{ID: id})[0].Err
	if !errors.Is(err, ErrNotUp) || !strings.Contains(err.Error(), "pipelock lists docs.example already, which is harmless") {
		t.Errorf("%v", err)
	}
	b.Signal = signal
	s.calls = nil
	must(t, b.decide(Order{ID: id})[0].Err)
	s.told("open docs.example egress:false")
	b.grants(id)
}

func TestARevocationHoldsWherePipelockFails(t *testing.T) {
	b, s := withPipelock(t)
	id := b.ask(host("docs.example", "/x"))
	must(t, b.decide(Order{ID: id})[0].Err)
	s.fails = errors.New("it is away")
	if err := b.Revoke(t.Context(), slug, id, ""); !errors.Is(err, ErrStillListed) {
		t.Errorf("%v", err)
	}
	b.grants()
}

// What a grant had opened is closed in pipelock by the next program that looks.
func TestAHostWhoseGrantEndedIsClosed(t *testing.T) {
	b, s := withPipelock(t)
	ends := time.Now().Add(-time.Minute).UTC().Truncate(time.Second)
	must(t, b.Edit(t.Context(), slug, []byte(routes), policy.Policy{Routes: []policy.Route{{Host: "a.example", Scheme: policy.HTTPS, Port: 443}},
		Grants: []policy.Grant{{ID: string(bottle.EgressBlock) + "-aaaaaaaaaaaaaaaa", Expires: ends,
			Route: policy.Route{Host: "over.example", Scheme: policy.HTTPS, Port: 443}}}}, ""))
	s.told()
	must(t, b.LookAfter(t.Context(), slug))
	s.told("close over.example egress:false")
}

// What is asked of pipelock's list alone changes no route.
func TestAHostForPipelockAloneChangesNoRoute(t *testing.T) {
	b, s := withPipelock(t)
	rules := b.Rules
	b.Rules = func(slug string) (proposal.Rules, error) {
		r, err := rules(slug)
		r.Pipelock = true
		return r, err
	}
	id := b.ask(bottle.Proposal{Kind: bottle.PipelockBlock, Justification: "x", Pipelock: &bottle.PipelockAsk{Host: "a.example"}})
	s.fails = errors.New("it is away")
	if err := b.decide(Order{ID: id})[0].Err; !errors.Is(err, ErrPipelock) {
		t.Errorf("%v", err)
	}
	s.fails, s.calls = nil, nil
	must(t, b.decide(Order{ID: id})[0].Err)
	s.told("open a.example egress:true")
	b.grants()
	b.records(1)
}
