package decision

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bottle/pkg/audit"
	"bottle/pkg/bottle"
	"bottle/pkg/ca"
	"bottle/pkg/egress"
	"bottle/pkg/policy"
	"bottle/pkg/proposal"
	"bottle/pkg/state"
)

const slug = "dev-aaaa"

const routes = "routes:\n  - host: \"a.example\"\n    path_allowlist: [\"/open\"]\n    auth: {scheme: \"Bearer\", credential: \"env:A\"}\n"

// bench is a home with one bottle, whose egress is real and on loopback.
type bench struct {
	*Decider
	t      *testing.T
	server *egress.Server
	asked  int
	handed []string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	home, err := state.Open(filepath.Join(t.TempDir(), "home"))
	must(t, err)
	lock, err := home.Create(bottle.Bottle{Slug: slug, Agent: "dev", Bottle: "dev", Status: bottle.Running})
	must(t, err)
	lock.Unlock()
	b := &bench{t: t}
	b.Decider = &Decider{Home: home, Program: "test", Signal: func(context.Context, string, string) error {
		b.server.Reload() // it says itself what came of it
		return nil
	}, Rules: func(string) (proposal.Rules, error) {
		return proposal.Rules{Credentials: []proposal.Credential{{Name: "docs", Hosts: []string{"docs.example"}, Auth: policy.Auth{Scheme: "Bearer", Credential: "docs"}}}}, nil
	}, Hand: func(_ context.Context, _ string, names []string) error {
		b.handed = append(b.handed, names...)
		return nil
	}}
	cert, key, err := ca.New("test", time.Now())
	must(t, err)
	b.write("agents/dev.md", "---\nbottle: dev\nprogram: shell\n---\n")
	b.write("bottles/dev.md", "---\n# mine\negress:\n  routes:\n    - host: a.example # as ever\n---\nfree text\n")
	for name, data := range map[string]string{egress.CertFile: string(cert), egress.KeyFile: string(key), egress.RootsFile: string(cert), policyFile: routes} {
		b.write("state/"+slug+"/egress/in/"+name, data)
	}
	must(t, os.MkdirAll(b.outDir(slug), 0o700))
	b.server, err = egress.Start(egress.Config{In: filepath.Dir(b.policyPath(slug)), Out: b.outDir(slug), Listen: netip.MustParseAddr("127.0.0.1"), Record: func(bottle.Event) {}})
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		b.server.Drain(ctx)
	})
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (b *bench) write(name, text string) {
	b.t.Helper()
	path := filepath.Join(b.Home.Dir, name)
	must(b.t, os.MkdirAll(filepath.Dir(path), 0o700))
	must(b.t, os.WriteFile(path, []byte(text), 0o600))
}

// ask files a proposal as a sidecar does.
func (b *bench) ask(p bottle.Proposal) string {
	b.t.Helper()
	b.asked++
	rules, _ := b.Rules(slug)
	p, err := proposal.Make(p, rules, time.Unix(int64(b.asked), 0))
	must(b.t, err)
	b.write("state/"+slug+"/"+p.Source+"/out/proposals/"+p.ID+".json", string(proposal.Encode(p)))
	must(b.t, os.MkdirAll(filepath.Join(b.Home.StateDir(slug), p.Source, "in"), 0o700))
	return p.ID
}

func host(name string, paths ...string) bottle.Proposal {
	return bottle.Proposal{Kind: bottle.EgressBlock, Justification: "x", Egress: &bottle.EgressAsk{Host: name, Paths: paths}}
}

func (b *bench) decide(orders ...Order) []Result {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	return b.Decide(ctx, slug, orders)
}

// inForce fails unless egress has the policy that the file holds, and it has
// exactly these grants.
func (b *bench) grants(want ...string) {
	b.t.Helper()
	text, p, err := b.Policy(slug)
	must(b.t, err)
	var got []string
	for _, g := range p.Grants {
		got = append(got, g.ID)
	}
	if a, ok := b.applied(slug); !slices.Equal(got, want) || !ok || a.SHA256 != sum(string(text)) {
		b.t.Errorf("granted is %q instead of %q; egress has %s", got, want, a.SHA256)
	}
	if _, err := os.Lstat(b.journal(slug)); err == nil {
		b.t.Error("a journal is left")
	}
}

func (b *bench) records(want int64) {
	b.t.Helper()
	if n, _, err := audit.Verify(b.t.Context(), b.Home.Dir); err != nil || n != want {
		b.t.Errorf("%d records instead of %d: %v", n, want, err)
	}
}

func TestAnApprovalIsInForceBeforeItIsRecorded(t *testing.T) {
	b := newBench(t)
	id := b.ask(host("docs.example", "/x"))
	r := b.decide(Order{ID: id, Reason: "fine"})[0]
	must(t, r.Err)
	b.grants(id)
	b.records(1)
	d, err := b.Home.Decision(slug, proposal.Supervise, id)
	must(t, err)
	if d.Verdict != bottle.Approved || d.Reason != "fine" || d.Grant == nil || d.Grant.Host != "docs.example" {
		t.Errorf("%+v", d)
	}
	if again := b.decide(Order{ID: id})[0]; !errors.Is(again.Err, state.ErrDecided) {
		t.Errorf("decided twice: %v", again.Err)
	}
	if none := b.decide(Order{ID: "egress-block-aaaaaaaaaaaaaaaa"})[0]; !errors.Is(none.Err, state.ErrNotFound) {
		t.Errorf("what is not there: %v", none.Err)
	}
}

func TestACredentialIsHandedOverBeforeItsGrant(t *testing.T) {
	b := newBench(t)
	p := host("docs.example")
	p.Egress.Credential = "docs"
	asked := b.ask(p)
	own := b.ask(host("a.example", "/more"))
	without := b.ask(host("a.example", "/other"))
	for _, r := range b.decide(Order{ID: asked}, Order{ID: own}, Order{ID: without, Terms: proposal.Terms{NoCredential: true}}) {
		must(t, r.Err)
	}
	if !slices.Equal(b.handed, []string{"docs", "env:A"}) {
		t.Errorf("handed over: %q", b.handed)
	}
	b.Hand = func(context.Context, string, []string) error { return errors.New("no such variable") }
	failed := b.ask(host("a.example", "/third"))
	if r := b.decide(Order{ID: failed})[0]; r.Err == nil || r.Decision != nil {
		t.Errorf("%+v", r)
	}
	b.grants(asked, own, without)
}

// S7
func TestOfSixteenDecidersOneWins(t *testing.T) {
	b := newBench(t)
	id := b.ask(host("docs.example"))
	var mu sync.Mutex
	won, lost := 0, 0
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			r := b.decide(Order{ID: id, Reject: i%2 == 0})[0]
			mu.Lock()
			defer mu.Unlock()
			switch {
			case r.Err == nil:
				won++
			case errors.Is(r.Err, state.ErrDecided):
				lost++
			default:
				t.Error(r.Err)
			}
		})
	}
	wg.Wait()
	if won != 1 || lost != 15 {
		t.Errorf("%d won, %d lost", won, lost)
	}
	b.records(1)
}

func TestApprovalsAtOnceAllLand(t *testing.T) {
	b := newBench(t)
	var ids []string
	for _, name := range []string{"b.example", "c.example", "d.example", "e.example"} {
		ids = append(ids, b.ask(host(name)))
	}
	var wg sync.WaitGroup
	for _, id := range ids {
		wg.Go(func() {
			if r := b.decide(Order{ID: id})[0]; r.Err != nil {
				t.Error(r.Err)
			}
		})
	}
	wg.Wait()
	if _, p, _ := b.Policy(slug); len(p.Grants) != 4 {
		t.Errorf("%+v", p.Grants)
	}
	b.records(4)
}

func TestWithoutAnAcknowledgementTheOldPolicyStays(t *testing.T) {
	for name, signal := range map[string]func(b *bench) error{
		"not up":  func(*bench) error { return ErrNotUp },
		"no word": func(*bench) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			id := b.ask(host("docs.example"))
			told := b.Signal
			b.Signal = func(context.Context, string, string) error { return signal(b) }
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			r := b.Decide(ctx, slug, []Order{{ID: id}})[0]
			if !errors.Is(r.Err, ErrNotUp) && !errors.Is(r.Err, ErrNoAnswer) {
				t.Errorf("%v", r.Err)
			}
			b.grants()
			b.records(0)
			b.Signal = told
			must(t, b.decide(Order{ID: id})[0].Err)
			b.grants(id)
		})
	}
}

func TestAPolicyThatCannotBeReadIsNotBuiltUpon(t *testing.T) {
	b := newBench(t)
	id, denied := b.ask(host("docs.example")), b.ask(host("b.example"))
	b.write("state/"+slug+"/egress/in/routes.yaml", "routes: [x]\n")
	if r := b.decide(Order{ID: id})[0]; !errors.Is(r.Err, ErrPolicy) || !strings.Contains(r.Err.Error(), "line 1") {
		t.Errorf("%v", r.Err)
	}
	must(t, b.decide(Order{ID: denied, Reject: true})[0].Err) // that needs no policy
}

func TestWhatIsAllowedAlreadyIsSaidAndNotAdded(t *testing.T) {
	b := newBench(t)
	id := b.ask(host("a.example", "/open/x"))
	r := b.decide(Order{ID: id})[0]
	must(t, r.Err)
	if !strings.Contains(r.Decision.Detail, "route 1") || r.Decision.Grant != nil {
		t.Errorf("%+v", r.Decision)
	}
	b.grants()
}

func TestARejectedRefusalIsNotAskedAgain(t *testing.T) {
	b := newBench(t)
	id := b.ask(bottle.Proposal{Kind: bottle.EgressDenied, Egress: &bottle.EgressAsk{Host: "t.example", Paths: []string{"/v1"}}})
	must(t, b.decide(Order{ID: id, Reject: true, Reason: "use the mirror"})[0].Err)
	_, p, _ := b.Policy(slug)
	if s, yes := p.SilencedBy("t.example", 443, "/v1/x"); !yes || s.Reason != "use the mirror" {
		t.Errorf("%+v", p)
	}
	b.grants()
}

func TestARevokedGrantIsGone(t *testing.T) {
	b := newBench(t)
	id := b.ask(host("docs.example"))
	must(t, b.decide(Order{ID: id})[0].Err)
	must(t, b.Revoke(t.Context(), slug, id, "enough"))
	b.grants()
	b.records(2)
	if err := b.Revoke(t.Context(), slug, id, ""); !errors.Is(err, ErrNoGrant) {
		t.Error(err)
	}
}

func TestAModifiedProposalKeepsBothForms(t *testing.T) {
	b := newBench(t)
	id := b.ask(host("docs.example"))
	filed, err := b.Home.Proposal(slug, id)
	must(t, err)
	as, err := proposal.Narrow(filed.Proposal, []string{"/only"}, nil)
	must(t, err)
	r := b.decide(Order{ID: id, As: &as})[0]
	must(t, r.Err)
	if r.Decision.Verdict != bottle.Modified || r.Decision.As.Egress.Paths[0] != "/only" || len(filed.Egress.Paths) > 0 {
		t.Errorf("%+v", r.Decision)
	}
	b.grants(id)
}

func TestASavedGrantIsInTheManifestAndNothingElseChanged(t *testing.T) {
	b := newBench(t)
	id := b.ask(host("docs.example", "/x"))
	r := b.decide(Order{ID: id, Save: true})[0]
	must(t, r.Err)
	text, err := os.ReadFile(filepath.Join(b.Home.Dir, "bottles/dev.md"))
	must(t, err)
	if want := "---\n# mine\negress:\n  routes:\n    - host: a.example # as ever\n    - host: docs.example\n      path_allowlist: [/x]\n---\nfree text\n"; string(text) != want {
		t.Errorf("%s", text)
	}
	stale := b.ask(host("docs.example", "/y"))
	if r := b.decide(Order{ID: stale, Save: true, SaveOver: sum("another")})[0]; !errors.Is(r.Err, ErrChanged) {
		t.Error(r.Err)
	}
	b.grants(id)
}

// A program may be killed anywhere between two writes. What it left is what the
// steps up to there make; the next one must end at the old or the new. Egress may
// have let something through from the second step on, so that there is a way back
// only where it does not run.
func TestAChangeThatWasCutShortIsFinishedOrUndone(t *testing.T) {
	for _, c := range []struct {
		steps int
		down  bool
		done  bool
	}{{0, false, false}, {1, false, false}, {2, false, true}, {2, true, false}, {3, false, true}, {3, true, true}, {4, false, true}, {4, true, true}, {5, false, true}} {
		b := newBench(t)
		before := b.ask(host("b.example"))
		must(t, b.decide(Order{ID: before})[0].Err)
		id := b.ask(host("docs.example"))
		w := b.begin(slug)
		r := w.judge(Order{ID: id})
		r.Decision = b.decision(&r, Order{ID: id})
		j := journal{Old: string(w.text), New: string(policy.Render(r.Change.Apply(w.policy))), Program: "killed", Time: time.Now().UTC().Truncate(time.Millisecond),
			Decisions: []verdict{{Source: r.Filed.Source, Decision: *r.Decision}}}
		for n, step := range []func() error{
			func() error { return b.leave(j) },
			func() error { return os.WriteFile(b.policyPath(slug), []byte(j.New), 0o600) },
			func() error { return b.server.Reload() },
			func() error { return b.Home.Decide(slug, r.Filed.Source, *r.Decision) },
			func() error { return b.audit(slug, &j, false) },
		} {
			if n < c.steps {
				must(t, step())
			}
		}
		if c.down {
			b.Signal = func(context.Context, string, string) error { return ErrNotUp }
		}
		must(t, b.Recover(t.Context(), slug))
		_, err := b.Home.Decision(slug, r.Filed.Source, id)
		if decided := err == nil; decided != c.done {
			t.Errorf("%+v: it is decided: %v", c, decided)
		}
		if c.down {
			continue // it takes what it finds when it starts
		}
		if c.done {
			b.grants(before, id)
			b.records(2)
			continue
		}
		b.grants(before)
		b.records(1)
		must(t, b.decide(Order{ID: id})[0].Err)
		b.grants(before, id)
	}
}

// leave writes the journal as commit does.
func (b *bench) leave(j journal) error {
	data, err := encode(&j)
	if err != nil {
		return err
	}
	return os.WriteFile(b.journal(slug), data, 0o600)
}

// An undoing that was cut short before egress was told must not be taken for a
// change that came into force.
func TestAnUndoingThatWasCutShortIsGoneOnWith(t *testing.T) {
	b := newBench(t)
	id := b.ask(host("docs.example"))
	must(t, b.decide(Order{ID: id})[0].Err)
	old, err := b.text(slug)
	must(t, err)
	// A revocation came to egress, was not acknowledged in time, and was undone on the disk.
	j := journal{Old: string(old), New: routes, Program: "killed", Time: time.Now().UTC().Truncate(time.Millisecond),
		Record: &audit.Record{Kind: audit.Revoke, Slug: slug, Grant: id}}
	must(t, b.leave(j))
	must(t, os.WriteFile(b.policyPath(slug), []byte(j.New), 0o600))
	must(t, b.server.Reload())
	must(t, os.WriteFile(b.policyPath(slug), old, 0o600))
	must(t, b.Recover(t.Context(), slug))
	b.grants(id)
	b.records(1)
}
