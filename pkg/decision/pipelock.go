package decision

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"bottle/pkg/audit"
	"bottle/pkg/pipelock"
	"bottle/pkg/policy"
)

// hosts are those that a change opens, and those that are not open after it. What
// was over before is among the latter: nobody was there to close it when it ended.
func (d *Decider) hosts(slug string, j *journal) (open, closed []string) {
	if d.Mirror == nil {
		return nil, nil
	}
	before, err := policy.Parse([]byte(j.Old))
	if err != nil { // an edit mends it
		before = policy.Policy{}
	}
	after, err := policy.Parse([]byte(j.New))
	if err != nil {
		return nil, nil // apply will say so
	}
	now := time.Now()
	had, _ := pipelock.Hosts(d.lasting(slug, before, now), now)
	wanted, _ := pipelock.Hosts(d.lasting(slug, after, now), now)
	return pipelock.Missing(had, wanted), pipelock.Missing(wanted, everNamed(before))
}

// lasting leaves out the grants that are over.
func (d *Decider) lasting(slug string, p policy.Policy, now time.Time) policy.Policy {
	used := d.used(slug)
	p.Grants = slices.DeleteFunc(slices.Clone(p.Grants), func(g policy.Grant) bool { return over(g, used[g.ID], now) })
	return p
}

// everNamed are the hosts of a policy, those of grants that are over too.
func everNamed(p policy.Policy) []string {
	p.Grants = slices.Clone(p.Grants)
	for i := range p.Grants {
		p.Grants[i].Expires = time.Time{}
	}
	hosts, _ := pipelock.Hosts(p, time.Time{})
	return hosts
}

// openInPipelock has pipelock list hosts, before egress lets them through, and
// returns those that it lists then: none where there is no pipelock.
func (d *Decider) openInPipelock(ctx context.Context, slug string, hosts []string) ([]string, error) {
	if len(hosts) == 0 {
		return nil, nil
	}
	has, err := d.Mirror(ctx, slug, hosts, nil)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrPipelock, err)
	case !has:
		return nil, nil
	}
	return hosts, nil
}

// list puts a host on pipelock's list alone.
func (d *Decider) list(ctx context.Context, slug, host string) error {
	if d.Mirror == nil {
		return errNoPipelock
	}
	listed, err := d.openInPipelock(ctx, slug, []string{host})
	if err == nil && listed == nil {
		err = errNoPipelock
	}
	return err
}

var errNoPipelock = errors.New("this bottle runs no pipelock")

// alreadyListed adds to the error of an egress that did not take what pipelock has.
func alreadyListed(err error, listed []string) error {
	if len(listed) == 0 {
		return err
	}
	return fmt.Errorf("%w; pipelock lists %s already, which is harmless: egress decides", err, strings.Join(listed, ", "))
}

// closeInPipelock has pipelock list hosts no more, when egress has closed them.
func (d *Decider) closeInPipelock(ctx context.Context, slug string, hosts []string) error {
	if len(hosts) == 0 {
		return nil
	}
	if _, err := d.Mirror(ctx, slug, nil, hosts); err != nil {
		return fmt.Errorf("%w: %w", ErrStillListed, err)
	}
	return nil
}

// closeEnded closes in pipelock what grants had opened that are over.
func (d *Decider) closeEnded(ctx context.Context, slug string, ended []policy.Grant) {
	text, _, err := d.inForce(slug)
	if err != nil || d.Mirror == nil {
		return
	}
	_, closed := d.hosts(slug, &journal{Old: string(text), New: string(text)})
	theirs := everNamed(policy.Policy{Grants: ended})
	closed = slices.DeleteFunc(closed, func(h string) bool { return !slices.Contains(theirs, h) })
	d.closeInPipelock(ctx, slug, closed) // what stays is harmless, and goes with the next change
}

// EditPipelock has set put another file in the place of the one that the operator
// was shown, and records it. diff is what he confirmed.
func (d *Decider) EditPipelock(ctx context.Context, slug string, set func(context.Context) error, diff string) error {
	lock, err := d.Home.LockPolicy(ctx, slug)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if err := d.recover(ctx, slug); err != nil {
		return err
	}
	if err := set(ctx); err != nil {
		return err
	}
	return d.append([]audit.Record{{Kind: audit.Edit, Slug: slug, Sidecar: "pipelock", Diff: diff, Program: d.Program,
		Time: time.Now().UTC().Truncate(time.Millisecond)}})
}
