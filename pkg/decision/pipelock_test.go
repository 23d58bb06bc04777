package decision

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bottle/pkg/audit"
	"bottle/pkg/bottle"
	"bottle/pkg/pipelock"
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
	b.Mirror = func(_ context.Context, _ string, d pipelock.Delta) (bool, error) {
		open, closed := d.Open, d.Close
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
		if len(d.Except)+len(d.Ended) > 0 {
			s.calls = append(s.calls, fmt.Sprintf("except %v end %v", d.Except, d.Ended))
		}
		if d.Empty() {
			s.calls = append(s.calls, "mend")
			must(t, os.Remove(b.previous(slug)))
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

// asksPipelock has a bottle with a pipelock ask for a host on its list.
func asksPipelock(b *bench) string {
	b.t.Helper()
	rules := b.Rules
	b.Rules = func(slug string) (proposal.Rules, error) {
		r, err := rules(slug)
		r.Pipelock = true
		return r, err
	}
	return b.ask(bottle.Proposal{Kind: bottle.PipelockBlock, Justification: "x", Pipelock: &bottle.PipelockAsk{Host: "a.example"}})
}

// What is asked of pipelock's list alone changes no route.
func TestAHostForPipelockAloneChangesNoRoute(t *testing.T) {
	b, s := withPipelock(t)
	id := asksPipelock(b)
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

// excepted files what egress asks where pipelock found a JWT.
func excepted(b *bench) string {
	b.t.Helper()
	return b.ask(bottle.Proposal{Kind: bottle.DLPBlock, Exception: &bottle.ExceptionAsk{Rule: "JWT Token", Host: "a.example", Path: "/open", Scanner: policy.Pipelock}})
}

// Pipelock's file has an exception before the policy does, and loses it before too,
// so that a revocation that fails can be tried again.
func TestAnExceptionOfPipelocksComesAndGoesFirst(t *testing.T) {
	b, s := withPipelock(t)
	id := excepted(b)
	s.fails = errors.New("its check says no")
	if err := b.decide(Order{ID: id})[0].Err; !errors.Is(err, ErrPipelock) {
		t.Errorf("%v", err)
	}
	b.grants()
	s.fails, s.calls = nil, nil
	if err := b.decide(Order{ID: id, Terms: proposal.Terms{Uses: 1}})[0].Err; err == nil {
		t.Error("it counts uses")
	}
	must(t, b.decide(Order{ID: id})[0].Err)
	added := "except [{" + id + " JWT Token a.example /open}] end []"
	s.told(added)
	b.grants(id)
	s.fails = errors.New("it is away")
	if err := b.Revoke(t.Context(), slug, id, ""); !errors.Is(err, ErrPipelock) {
		t.Errorf("%v", err)
	}
	b.grants(id)
	s.fails, s.calls = nil, nil
	must(t, b.Revoke(t.Context(), slug, id, ""))
	s.told("except [] end [" + id + "]")
	b.grants()
}

// An exception that egress' policy does not hold must not stay, whoever fails.
func TestAnExceptionWithoutAGrantIsTakenOut(t *testing.T) {
	b, s := withPipelock(t)
	signal := b.Signal
	b.Signal = func(context.Context, string, string) error { return ErrNotUp }
	id := excepted(b)
	if err := b.decide(Order{ID: id})[0].Err; !errors.Is(err, ErrNotUp) {
		t.Errorf("%v", err)
	}
	added, ended := "except [{"+id+" JWT Token a.example /open}] end []", "except [] end ["+id+"]"
	s.told(added, ended)
	b.Signal = signal
	_, p, err := b.Policy(slug)
	must(t, err)
	g := policy.Grant{ID: id, Route: policy.Route{Host: "a.example", Scheme: policy.HTTPS, Port: 443, Paths: []string{"/open"}}, Rule: "JWT Token", Scanner: policy.Pipelock}
	after := p
	after.Grants = append(after.Grants, g)
	must(t, b.leave(journal{Old: string(policy.Render(p)), New: string(policy.Render(after))})) // a program was killed before egress had it
	must(t, b.Recover(t.Context(), slug))
	s.told(ended)
	b.grants()
	after.Grants[len(after.Grants)-1].Expires = time.Now().Add(-time.Minute).UTC().Truncate(time.Second) // nobody came before it was over
	must(t, b.leave(journal{Old: string(policy.Render(p)), New: string(policy.Render(after))}))
	must(t, b.Recover(t.Context(), slug))
	s.told(ended)
}

// The end of an exception is recorded when pipelock has it no more.
func TestAnExceptionThatEndedIsTriedUntilItIsGone(t *testing.T) {
	b, s := withPipelock(t)
	id := excepted(b)
	short := time.Second
	must(t, b.decide(Order{ID: id, Terms: proposal.Terms{For: &short}})[0].Err)
	_, p, err := b.Policy(slug)
	must(t, err)
	p.Grants[0].Expires = time.Now().Add(-time.Minute).UTC().Truncate(time.Second)
	b.write("state/"+slug+"/egress/in/"+policyFile, string(policy.Render(p)))
	s.fails, s.calls = errors.New("it is away"), nil
	must(t, b.LookAfter(t.Context(), slug))
	b.records(1)
	s.fails = nil
	must(t, b.LookAfter(t.Context(), slug))
	ended := "except [] end [" + id + "]"
	s.told(ended, ended)
	b.records(2)
	must(t, b.LookAfter(t.Context(), slug))
	s.told()
}

// A rejected exception is not asked for again, and no request is refused for it.
func TestARejectedExceptionIsSilenced(t *testing.T) {
	b, s := withPipelock(t)
	must(t, b.decide(Order{ID: excepted(b), Reject: true})[0].Err)
	_, p, err := b.Policy(slug)
	must(t, err)
	if !p.SilencesPattern("JWT Token", "a.example", "/open") || p.Silences("a.example", 443, "/open") {
		t.Errorf("silenced is %+v", p.Silenced)
	}
	s.told()
}

// An edit of pipelock's file that was cut short is recorded where its file is there,
// and only then; pipelock is made to go by the one that is.
func TestAnEditOfPipelocksFileThatWasCutShort(t *testing.T) {
	for _, there := range []bool{true, false} {
		b, s := withPipelock(t)
		b.write("state/"+slug+"/pipelock/in/"+pipelock.File, map[bool]string{true: "new", false: "old"}[there])
		b.write("state/"+slug+"/pipelock/"+pipelock.Previous, "old")
		must(t, b.leave(journal{File: sum("new"), Record: &audit.Record{Kind: audit.Edit, Slug: slug, Sidecar: sidecar, Diff: "+new"}}))
		must(t, b.Recover(t.Context(), slug))
		s.told("mend")
		b.records(map[bool]int64{true: 1, false: 0}[there])
		must(t, b.Recover(t.Context(), slug))
		s.told()
	}
}

// An edit that fails is not recorded; one that was done is, once.
func TestAnEditOfPipelocksFileIsRecorded(t *testing.T) {
	b, _ := withPipelock(t)
	must(t, os.MkdirAll(filepath.Join(b.Home.StateDir(slug), sidecar, "in"), 0o700))
	failed := errors.New("its check says no")
	set := func(context.Context) error { return failed }
	if err := b.EditPipelock(t.Context(), slug, []byte("new"), set, "+new"); !errors.Is(err, failed) {
		t.Errorf("%v", err)
	}
	failed = nil
	must(t, b.EditPipelock(t.Context(), slug, []byte("new"), set, "+new"))
	b.records(1)
	b.grants()
}

// A host for pipelock's list that a killed program had begun is listed by the next,
// or waits on.
func TestAHostForPipelockThatWasCutShort(t *testing.T) {
	b, s := withPipelock(t)
	id := asksPipelock(b)
	left := journal{Listed: []string{"a.example"}, Decisions: []verdict{{Source: proposal.Supervise,
		Decision: bottle.Decision{Proposal: id, Kind: bottle.PipelockBlock, Verdict: bottle.Approved}}}}
	s.fails = errors.New("it is away")
	must(t, b.leave(left))
	must(t, b.Recover(t.Context(), slug))
	if filed, err := b.Home.Proposal(slug, id); err != nil || filed.Decision != nil {
		t.Errorf("it waits no more: %+v, %v", filed.Decision, err)
	}
	s.fails = nil
	must(t, b.leave(left))
	must(t, b.Recover(t.Context(), slug))
	if filed, err := b.Home.Proposal(slug, id); err != nil || filed.Decision == nil {
		t.Errorf("it still waits: %v", err)
	}
	b.records(1)
}

// A bottle without a pipelock has none of its list, and no exception of it.
func TestWithoutAPipelockNothingOfItIsApproved(t *testing.T) {
	b, _ := withPipelock(t)
	b.Mirror = func(context.Context, string, pipelock.Delta) (bool, error) { return false, nil }
	for _, id := range []string{excepted(b), asksPipelock(b)} {
		if err := b.decide(Order{ID: id})[0].Err; !errors.Is(err, errNoPipelock) {
			t.Errorf("%s: %v", id, err)
		}
		if filed, err := b.Home.Proposal(slug, id); err != nil || filed.Decision != nil {
			t.Errorf("it waits no more: %+v, %v", filed.Decision, err)
		}
	}
	must(t, b.decide(Order{ID: b.ask(host("docs.example", "/x"))})[0].Err) // a host is egress' alone then
}

// A grant whose uses are used up opens nothing more in pipelock either, before its
// end is recorded and after.
func TestAUsedUpGrantIsClosedInPipelock(t *testing.T) {
	b, s := withPipelock(t)
	id := b.ask(host("docs.example", "/x"))
	must(t, b.decide(Order{ID: id, Terms: proposal.Terms{Uses: 1}})[0].Err)
	s.calls = nil
	b.write("state/"+slug+"/egress/out/"+usesFile, id+"\n")
	again := b.ask(host("docs.example", "/y"))
	must(t, b.decide(Order{ID: again})[0].Err)
	s.told("open docs.example egress:true") // egress of this test knows no uses
	must(t, b.Revoke(t.Context(), slug, again, ""))
	s.told("close docs.example egress:true")
}

// Who edits pipelock's file finishes first what a killed program had begun.
func TestAnEditOfPipelocksFileFindsAnother(t *testing.T) {
	b, _ := withPipelock(t)
	b.write("state/"+slug+"/pipelock/in/"+pipelock.File, "one")
	must(t, b.leave(journal{File: sum("one"), Record: &audit.Record{Kind: audit.Edit, Slug: slug, Sidecar: sidecar, Diff: "+one"}}))
	must(t, b.EditPipelock(t.Context(), slug, []byte("two"), func(context.Context) error { return nil }, "+two"))
	b.records(2)
}

// What a killed program had closed in egress is closed in pipelock by the next.
func TestAKilledRevocationIsClosedInPipelock(t *testing.T) {
	b, s := withPipelock(t)
	id := b.ask(host("docs.example", "/x"))
	must(t, b.decide(Order{ID: id})[0].Err)
	old, p, err := b.Policy(slug)
	must(t, err)
	p.Grants = nil
	left := journal{Old: string(old), New: string(policy.Render(p)), Record: &audit.Record{Kind: audit.Revoke, Slug: slug, Grant: id}}
	b.write("state/"+slug+"/egress/in/"+policyFile, left.New)
	must(t, b.leave(left))
	s.calls = nil
	must(t, b.Recover(t.Context(), slug))
	s.told("close docs.example egress:false")
	b.grants()
	b.records(2)
}
