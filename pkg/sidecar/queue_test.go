package sidecar

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/proposal"
	"bottle/pkg/spool"
)

// desk is a sidecar's two directories, and the operator's hand in them.
type desk struct {
	t       *testing.T
	in, out string
}

func newDesk(t *testing.T) desk {
	d := desk{t, filepath.Join(t.TempDir(), "in"), filepath.Join(t.TempDir(), "out")}
	for _, dir := range []string{filepath.Join(d.in, DecisionsDir), d.out} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func (d desk) open(l Limits) *Queue {
	d.t.Helper()
	q, err := OpenQueue(d.in, d.out, l)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(q.Close)
	return q
}

func (d desk) decide(id string, v bottle.Verdict) {
	d.t.Helper()
	data, err := json.Marshal(bottle.Decision{Proposal: id, Verdict: v, Reason: "because"})
	if err == nil {
		err = spool.CreateFile(filepath.Join(d.in, DecisionsDir, id+".json"), data, 0o600)
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

func ask(t *testing.T, host string) bottle.Proposal {
	t.Helper()
	p, err := proposal.Make(bottle.Proposal{Kind: bottle.EgressBlock, Justification: "the docs", Egress: &bottle.EgressAsk{Host: host}},
		proposal.Rules{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var roomy = Limits{Pending: 20, PerMinute: 100}

func TestADecisionReachesWhoWaits(t *testing.T) {
	d := newDesk(t)
	q := d.open(roomy)
	p, err := q.Ask(ask(t, "docs.example.com"))
	if err != nil {
		t.Fatal(err)
	}
	answers := make(chan bottle.Decision)
	for range 3 {
		go func() {
			a, err := q.Await(t.Context(), p.ID)
			if err != nil {
				t.Error(err)
			}
			answers <- a
		}()
	}
	d.decide(p.ID, bottle.Approved)
	for range 3 {
		if a := <-answers; a.Verdict != bottle.Approved || a.Reason != "because" {
			t.Errorf("the answer is %+v", a)
		}
	}
	// And whoever asks for it afterwards.
	if a, err := q.Await(t.Context(), p.ID); err != nil || a.Verdict != bottle.Approved {
		t.Errorf("later: %+v, %v", a, err)
	}
}

func TestTheSameAskJoinsTheOneThatWaits(t *testing.T) {
	d := newDesk(t)
	q := d.open(roomy)
	first, _ := q.Ask(ask(t, "docs.example.com"))
	second, err := q.Ask(ask(t, "docs.example.com"))
	if err != nil || second.ID != first.ID {
		t.Fatalf("%s, %s, %v", first.ID, second.ID, err)
	}
	d.decide(first.ID, bottle.Rejected)
	if _, err := q.Await(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	if third, err := q.Ask(ask(t, "docs.example.com")); err != nil || third.ID == first.ID {
		t.Errorf("what is decided was joined: %s, %v", third.ID, err)
	}
}

func TestAQueueIsBounded(t *testing.T) {
	q := newDesk(t).open(Limits{Pending: 5, PerMinute: 100})
	for i := range 5 {
		if _, err := q.Ask(ask(t, fmt.Sprintf("h%d.example.com", i))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := q.Ask(ask(t, "more.example.com")); !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "5 proposals wait") {
		t.Errorf("the sixth: %v", err)
	}
	if _, err := q.Ask(ask(t, "h0.example.com")); err != nil {
		t.Errorf("joining needs no room: %v", err)
	}
	d := newDesk(t)
	q = d.open(Limits{Pending: 50, PerMinute: 3})
	for i := range 10_000 {
		q.Ask(ask(t, fmt.Sprintf("h%d.example.com", i)))
	}
	files, err := os.ReadDir(filepath.Join(d.out, ProposalsDir))
	if err != nil || len(files) != 3 {
		t.Errorf("%d files, %v", len(files), err)
	}
}

func TestAKilledSidecarComesBackWithItsQueue(t *testing.T) {
	d := newDesk(t)
	q := d.open(roomy)
	a, _ := q.Ask(ask(t, "a.example.com"))
	b, _ := q.Ask(ask(t, "b.example.com"))
	q.Note(a.ID, func(p *bottle.Pending) { p.Method = "PUT" })
	q.Close()                       // which tells what keep would have told
	d.decide(b.ID, bottle.Approved) // while it was down
	// What was half written, and what is none of ours.
	dir := filepath.Join(d.out, ProposalsDir)
	for name, text := range map[string]string{spool.TempPrefix + "x": "{", "egress-block-aaaaaaaaaaaaaaaa.json": "{}", "x": "y"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	q = d.open(roomy)
	if got, err := q.Ask(ask(t, "a.example.com")); err != nil || got.ID != a.ID {
		t.Errorf("what waits was not joined: %s, %v", got.ID, err)
	}
	if got, err := q.Await(t.Context(), b.ID); err != nil || got.Verdict != bottle.Approved {
		t.Errorf("decided while it was down: %+v, %v", got, err)
	}
	q.Close()
	told := d.pending()
	if len(told) != 1 || told[a.ID].Count != 2 || told[a.ID].Method != "PUT" || told[a.ID].Waiting {
		t.Errorf("pending: %+v", told)
	}
	if _, err := os.Lstat(filepath.Join(dir, spool.TempPrefix+"x")); err == nil {
		t.Error("what was half written is still there")
	}
}

func (d desk) pending() map[string]bottle.Pending {
	d.t.Helper()
	data, err := os.ReadFile(filepath.Join(d.out, PendingFile))
	var told map[string]bottle.Pending
	if err == nil {
		err = json.Unmarshal(data, &told)
	}
	if err != nil {
		d.t.Fatal(err)
	}
	return told
}

func TestACallThatLeavesMarksTheProposal(t *testing.T) {
	d := newDesk(t)
	q := d.open(roomy)
	p, _ := q.Ask(ask(t, "docs.example.com"))
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := q.Await(ctx, p.ID)
		left <- err
	}()
	for { // until the call waits
		q.mu.Lock()
		waits := q.waiting[p.ID].pending.Waiting
		q.mu.Unlock()
		if waits {
			break
		}
	}
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	q.Close()
	if told, there := d.pending()[p.ID]; !there || told.Waiting {
		t.Errorf("it is told as %+v, %v", told, there)
	}
}

func TestTheLatestDecisionOnWhatIsMeantCounts(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	q := d.open(Limits{Pending: 10, PerMinute: 10})
	meant := func(p bottle.Proposal) bool { return p.Egress.Host == "meant.example" }
	if _, found := q.Decided(meant); found {
		t.Error("a decision before there is a proposal")
	}
	for i, row := range []struct {
		host string
		v    bottle.Verdict
	}{{"meant.example", bottle.Rejected}, {"meant.example", bottle.Approved}, {"other.example", bottle.Rejected}} {
		p := ask(t, row.host)
		p.Justification, p.CreatedAt = fmt.Sprint("for the time ", i), p.CreatedAt.Add(time.Duration(i)*time.Second)
		p.ID = proposal.ID(p)
		if _, err := q.Ask(p); err != nil {
			t.Fatal(err)
		}
		d.decide(p.ID, row.v)
		if _, err := q.Await(t.Context(), p.ID); err != nil {
			t.Fatal(err)
		}
	}
	q.Ask(ask(t, "meant.example")) // which waits
	if got, found := q.Decided(meant); !found || got.Verdict != bottle.Approved {
		t.Errorf("%+v, %t", got, found)
	}
}

func TestADecisionOfAnotherProposalIsNone(t *testing.T) {
	d := newDesk(t)
	q := d.open(roomy)
	p, _ := q.Ask(ask(t, "docs.example.com"))
	data, _ := json.Marshal(bottle.Decision{Proposal: "egress-block-aaaaaaaaaaaaaaaa", Verdict: bottle.Approved})
	if err := os.WriteFile(filepath.Join(d.in, DecisionsDir, p.ID+".json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	q.look()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting[p.ID] == nil {
		t.Error("it counts as decided")
	}
}

// What holds requests says so while it does; who watches the proposals, and no
// file beside them, is made to look.
func TestWhatHoldsRequestsIsMarked(t *testing.T) {
	d := newDesk(t)
	q := d.open(roomy)
	p, err := q.Ask(ask(t, "docs.example.com"))
	if err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(time.Minute).UTC().Truncate(time.Millisecond)
	q.Note(p.ID, func(w *bottle.Pending) { w.HeldUntil = until })
	looks, err := watch(filepath.Join(d.out, ProposalsDir))
	if err != nil {
		t.Fatal(err)
	}
	told := func(held int) {
		t.Helper()
		late := time.After(time.Minute)
		for {
			var all map[string]bottle.Pending
			data, err := os.ReadFile(filepath.Join(d.out, PendingFile))
			if err == nil {
				err = json.Unmarshal(data, &all)
			}
			if w := all[p.ID]; err == nil && w.Held == held && w.Waiting == (held > 0) && w.HeldUntil.Equal(until) && w.Holds(time.Now()) == (held > 0) {
				return
			}
			select {
			case <-looks:
			case <-late:
				t.Fatalf("%d are not told: %s, %v", held, data, err)
			}
		}
	}
	decided, release := q.Hold(p.ID)
	told(1)
	release()
	told(0)
	// One that dies with what it holds: its next life says that nothing is held.
	q.Hold(p.ID)
	told(1)
	q.Close()
	q = d.open(roomy)
	told(0)
	select {
	case <-decided:
		t.Error("it was decided by nobody")
	default:
	}
	again, release := q.Hold(p.ID)
	d.decide(p.ID, bottle.Rejected)
	<-again
	release()
	if a, err := q.Decision(p.ID); err != nil || a.Verdict != bottle.Rejected {
		t.Errorf("%+v, %v", a, err)
	}
	if late, _ := q.Hold(p.ID); late == nil {
		t.Error("what was decided meanwhile is waited for")
	} else {
		<-late
	}
}
