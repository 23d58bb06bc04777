// Package decision carries out what the operator decides: it changes a bottle's
// policy, waits until the sidecar says that it is in force, and records the
// decision. What a decision changes it takes from pkg/proposal; it asks nobody
// and prints nothing.
package decision

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"slices"
	"strings"
	"time"

	"bottle/pkg/audit"
	"bottle/pkg/bottle"
	"bottle/pkg/pipelock"
	"bottle/pkg/policy"
	"bottle/pkg/proposal"
	"bottle/pkg/state"
)

// Decider decides what the bottles of one home ask.
type Decider struct {
	Home *state.Home
	// Signal tells a bottle's sidecar to read its files again.
	Signal func(ctx context.Context, slug, sidecar string) error
	// Rules are what a bottle's manifest lets its agent ask for.
	Rules func(slug string) (proposal.Rules, error)
	// Hand resolves values anew, by the names that a policy has for them, and hands
	// them to the bottle's egress.
	Hand func(ctx context.Context, slug string, names []string) error
	// Carry makes an agent's image anew from an approved Dockerfile and goes over to
	// it. It calls answer when the image stands, before anything is stopped: then
	// the decision is recorded. An error before that is told to the agent.
	Carry func(ctx context.Context, p bottle.Proposal, answer func() error) error
	// Mirror makes the list and the exceptions of a bottle's pipelock so, and mends
	// what a killed program left of its file. It says whether the bottle has one. nil:
	// no bottle has.
	Mirror func(ctx context.Context, slug string, d pipelock.Delta) (bool, error)
	// Program is the name under which it is recorded.
	Program string
}

// Order is what the operator wants of one proposal.
type Order struct {
	ID     string
	Reject bool
	Reason string
	Terms  proposal.Terms
	// As, where set, is what is approved in its place, as proposal.Narrow and
	// proposal.Remake return it.
	As   *bottle.Proposal
	Save bool // into the manifest too
	// SaveOver is the SHA-256 of the manifest that the operator saw; empty: any.
	SaveOver string
}

// Result is what became of an order.
type Result struct {
	ID       string
	Filed    state.Filed
	Change   proposal.Change
	Decision *bottle.Decision
	Save     *Save
	Err      error
}

// Errors that programs act on.
var (
	// ErrPolicy is wrapped by the error for a policy in force that cannot be read:
	// nothing is approved on top of it.
	ErrPolicy = errors.New("the policy in force cannot be read")
	// ErrNoAnswer is wrapped by the error for a sidecar that did not acknowledge;
	// ErrRefused for one that refused; ErrNotUp for one that does not run. The old
	// policy is in force, and what was to be decided still waits.
	ErrNoAnswer = errors.New("egress did not acknowledge the new policy, so the old one is in force")
	ErrRefused  = errors.New("egress refused the new policy, so the old one is in force")
	ErrNotUp    = errors.New("its egress does not run, so nothing was changed")
	// ErrChanged is the error for a file that was changed meanwhile.
	ErrChanged = errors.New("it was changed meanwhile, so nothing was changed")
	ErrNoGrant = errors.New("no such grant")
	// ErrPipelock is wrapped by the error for a pipelock that did not take a host: it
	// comes first, so that egress is untouched, and what was to be decided still waits.
	ErrPipelock = errors.New("pipelock failed, so the routes are NOT changed")
	// ErrStillListed is wrapped by the error for a host that is closed, and that
	// pipelock's list still has.
	ErrStillListed = errors.New("it is in force, but pipelock's list still has a host that egress has no more, which is harmless")
	// ErrLong is the error for a reason of more than MaxReason bytes; ErrLarge for
	// more at once than could be read back after a kill.
	ErrLong  = fmt.Errorf("the reason has more than %d bytes", MaxReason)
	ErrLarge = errors.New("it is more than can be recorded as one change, so nothing was changed")
)

// Preview returns what orders would change, and changes nothing.
func (d *Decider) Preview(slug string, orders []Order) []Result {
	w := d.begin(slug)
	results := make([]Result, len(orders))
	for i, o := range orders {
		results[i] = w.judge(o)
	}
	return results
}

// Decide carries out orders on the proposals of one bottle, all of them in one
// change of the policy. A result has an error where nothing was decided.
func (d *Decider) Decide(ctx context.Context, slug string, orders []Order) []Result {
	lock, err := d.Home.LockPolicy(ctx, slug)
	if err == nil {
		defer lock.Unlock()
		err = d.recover(ctx, slug)
	}
	results := make([]Result, len(orders))
	if err != nil {
		for i, o := range orders {
			results[i] = Result{ID: o.ID, Err: err}
		}
		return results
	}
	w := d.begin(slug)
	// What changes the policy may fail with it; the rest need not.
	withPolicy, without := batch{}, batch{}
	seen := map[string]bool{}
	for i, o := range orders {
		r := &results[i]
		*r = w.judge(o)
		if r.Err == nil && seen[o.ID] {
			r.Err = state.ErrDecided
		}
		seen[o.ID] = true
		if r.Err == nil && r.Change.Grant != nil && r.Change.Grant.Auth.Set() {
			r.Err = d.hand(ctx, slug, r.Change.Grant.Auth.Credential)
		}
		switch {
		case r.Err != nil:
		case r.Change.Dockerfile != "":
			d.carry(ctx, r, o)
		case r.Change.Listed != "":
			alone := batch{}
			alone.add(r, o)
			d.settle(ctx, slug, w, alone, false)
		case r.Change.Grant != nil || r.Change.Silence != nil:
			withPolicy.add(r, o)
			w.policy = r.Change.Apply(w.policy)
		default:
			without.add(r, o)
		}
	}
	d.settle(ctx, slug, w, withPolicy, true)
	d.settle(ctx, slug, w, without, false)
	return results
}

type batch struct {
	results []*Result
	orders  []Order
}

func (b *batch) add(r *Result, o Order) {
	b.results, b.orders = append(b.results, r), append(b.orders, o)
}

// settle carries a batch out, whole.
func (d *Decider) settle(ctx context.Context, slug string, w *work, b batch, changes bool) {
	if len(b.results) == 0 {
		return
	}
	j := journal{}
	if changes {
		j.Old, j.New = string(w.text), string(policy.Render(w.policy))
	}
	for i, r := range b.results {
		r.Decision = d.decision(r, b.orders[i])
		j.Decisions = append(j.Decisions, verdict{Source: r.Filed.Source, Decision: *r.Decision, Diff: r.Change.Diff})
		if r.Save != nil {
			j.Saves = append(j.Saves, *r.Save)
		}
		if r.Change.Listed != "" {
			j.Listed = append(j.Listed, r.Change.Listed)
		}
	}
	if err := d.commit(ctx, slug, &j); err != nil {
		for _, r := range b.results {
			r.Decision, r.Err = nil, err
		}
	}
}

// hand gives egress a fresh value for a grant.
func (d *Decider) hand(ctx context.Context, slug, name string) error {
	if d.Hand == nil {
		return nil
	}
	if err := d.Hand(ctx, slug, []string{name}); err != nil {
		return fmt.Errorf("its credential cannot be handed to egress: %w", err)
	}
	return nil
}

// carry has an image made. The decision is recorded when it stands.
func (d *Decider) carry(ctx context.Context, r *Result, o Order) {
	if d.Carry == nil {
		r.Err = errors.New("this program cannot make images")
		return
	}
	record := func() error {
		if r.Decision == nil {
			r.Decision = d.decision(r, o)
		}
		j := journal{Decisions: []verdict{{Source: r.Filed.Source, Decision: *r.Decision, Diff: r.Change.Diff}}}
		return d.commit(ctx, r.Filed.Slug, &j)
	}
	answered := false
	p := r.Filed.Proposal
	if o.As != nil {
		p.Capability = o.As.Capability
	}
	err := d.Carry(ctx, p, func() error {
		if answered {
			return nil
		}
		answered = true
		return record()
	})
	switch {
	case err == nil && answered:
	case answered:
		r.Err = err // the agent was told yes; the rest is the operator's to see
	case ctx.Err() != nil:
		r.Err = err // it still waits
	default:
		if err == nil {
			err = errors.New("nothing was made")
		}
		r.Decision = d.decision(r, o)
		r.Decision.Verdict, r.Decision.Detail = bottle.Rejected, "approved, but the image could not be made: "+clipped(err.Error())
		r.Err = errors.Join(err, record())
	}
}

// clipped is as much of a text as a decision has room for.
func clipped(text string) string {
	if len(text) <= maxDetail {
		return text
	}
	return strings.ToValidUTF8(text[:maxDetail], "") + "…"
}

// decision is the document that answers the sidecar.
func (d *Decider) decision(r *Result, o Order) *bottle.Decision {
	doc := &bottle.Decision{Proposal: r.ID, Kind: r.Filed.Kind, Verdict: bottle.Approved, Reason: o.Reason, Detail: r.Change.Note,
		Time: time.Now().UTC().Truncate(time.Millisecond), By: self(), Program: d.Program, Push: r.Change.Push}
	switch {
	case o.Reject:
		doc.Verdict, doc.Push = bottle.Rejected, nil
	case o.As != nil:
		as := *o.As
		as.Slug, as.Agent = "", ""
		doc.Verdict, doc.As = bottle.Modified, &as
	}
	if g := r.Change.Grant; g != nil && !o.Reject {
		grant := Document(*g, r.Filed.Slug, r.Filed.Kind)
		grant.CreatedAt, grant.Saved = doc.Time, o.Save
		doc.Grant = &grant
	}
	return doc
}

// Document is a grant as programs exchange it.
func Document(g policy.Grant, slug string, kind bottle.Kind) bottle.Grant {
	doc := bottle.Grant{ID: g.ID, Proposal: g.ID, Slug: slug, Kind: kind, Host: g.Host, Scheme: g.Scheme, Port: g.Port, Paths: g.Paths,
		Methods: g.Methods, Credential: g.Auth.Credential, Rule: g.Rule, Scanner: g.Scanner, Uses: g.Uses}
	if !g.Expires.IsZero() {
		end := g.Expires
		doc.Expires = &end
	}
	return doc
}

// self is who decides.
func self() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return "?"
}

// work is what orders on one bottle are judged against.
type work struct {
	d      *Decider
	slug   string
	text   []byte // of the policy in force
	policy policy.Policy
	err    error // why it cannot be read
	rules  proposal.Rules
	rulerr error
	now    time.Time
}

func (d *Decider) begin(slug string) *work {
	w := &work{d: d, slug: slug, now: time.Now()}
	w.text, w.policy, w.err = d.inForce(slug)
	if d.Rules != nil {
		w.rules, w.rulerr = d.Rules(slug)
	}
	return w
}

// MaxReason is how many bytes a reason has at most. Escaped they may be six times
// as many, and must fit into a line of the audit log, and into the decision, which
// sidecars read up to a bound, beside what is approved.
const MaxReason = 8 << 10

// maxDetail bounds what is told of an image that could not be made.
const maxDetail = 4 << 10

// CheckReason says whether a reason can be recorded, and told to the agent.
func CheckReason(reason string) error {
	if len(reason) > MaxReason {
		return ErrLong
	}
	return nil
}

// judge says what an order would change.
func (w *work) judge(o Order) Result {
	r := Result{ID: o.ID}
	if r.Filed, r.Err = w.d.Home.Proposal(w.slug, o.ID); r.Err != nil {
		return r
	}
	if r.Filed.Decision != nil {
		r.Decision, r.Err = r.Filed.Decision, state.ErrDecided
		return r
	}
	if r.Err = CheckReason(o.Reason); r.Err != nil {
		return r
	}
	p := r.Filed.Proposal
	if o.As != nil {
		p = *o.As
		p.ID, p.Kind = r.ID, r.Filed.Kind // a grant has the name of what was asked
	}
	if o.Reject {
		r.Change = proposal.Reject(p, o.Reason)
	} else {
		rules := w.rules
		if w.rulerr != nil && p.Egress != nil && p.Egress.Credential != "" {
			r.Err = w.rulerr
			return r
		}
		r.Change, r.Err = proposal.Approve(p, proposal.Context{Policy: w.policy, Rules: rules, Terms: o.Terms, Now: w.now})
	}
	touches := r.Change.Grant != nil || r.Change.Silence != nil || r.Change.Already != nil
	if r.Err == nil && touches && w.err != nil {
		r.Err = w.err
	}
	if r.Err == nil && o.Save && !o.Reject {
		r.Save, r.Err = w.d.save(w.slug, r.Change, o.SaveOver)
	}
	return r
}

// Revoke ends a grant at once.
func (d *Decider) Revoke(ctx context.Context, slug, id, reason string) error {
	if err := CheckReason(reason); err != nil {
		return err
	}
	lock, err := d.Home.LockPolicy(ctx, slug)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if err := d.recover(ctx, slug); err != nil {
		return err
	}
	text, p, err := d.inForce(slug)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(p.Grants, func(g policy.Grant) bool { return g.ID == id })
	if i < 0 {
		return ErrNoGrant
	}
	gone := policy.Policy{Grants: []policy.Grant{p.Grants[i]}}
	p.Grants = slices.Delete(slices.Clone(p.Grants), i, i+1)
	return d.commit(ctx, slug, &journal{Old: string(text), New: string(policy.Render(p)), Record: &audit.Record{Kind: audit.Revoke, Slug: slug,
		Sidecar: proposal.Egress, Grant: id, Reason: reason, Diff: minus(gone)}})
}

func minus(p policy.Policy) string {
	var b strings.Builder
	for line := range strings.Lines(string(policy.Render(p))) {
		if line != "routes: []\n" && line != "grants:\n" {
			b.WriteString("-" + line)
		}
	}
	return b.String()
}

// Edit puts another policy in force in the place of old, the text that the
// operator was shown. diff is what he confirmed.
func (d *Decider) Edit(ctx context.Context, slug string, old []byte, p policy.Policy, diff string) error {
	lock, err := d.Home.LockPolicy(ctx, slug)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if err := d.recover(ctx, slug); err != nil {
		return err
	}
	text, err := d.text(slug)
	switch {
	case err != nil:
		return err
	case string(text) != string(old):
		return ErrChanged
	}
	return d.commit(ctx, slug, &journal{Old: string(text), New: string(policy.Render(p)),
		Record: &audit.Record{Kind: audit.Edit, Slug: slug, Sidecar: proposal.Egress, Diff: diff}})
}

// HasGrant says whether a bottle's policy has a grant.
func (d *Decider) HasGrant(slug, id string) bool {
	_, p, err := d.inForce(slug)
	return err == nil && slices.ContainsFunc(p.Grants, func(g policy.Grant) bool { return g.ID == id })
}
