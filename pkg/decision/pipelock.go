package decision

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bottle/pkg/audit"
	"bottle/pkg/pipelock"
	"bottle/pkg/policy"
	"bottle/pkg/spool"
)

// sidecar is pipelock's directory in a bottle's state, and its name in the log.
const sidecar = "pipelock"

// mirrored is what a change of the policy changes in pipelock's file.
type mirrored struct {
	first pipelock.Delta // before egress has the policy
	last  pipelock.Delta // when egress has it
	back  pipelock.Delta // what puts the exceptions back
}

// mirrored says what opens, what is not open after a change, and which exceptions
// hold. What was over before is closed too: nobody was there to close it when it
// ended. Exceptions end first: of pipelock they are the whole, and a revocation that
// fails there can be tried again.
func (d *Decider) mirrored(slug string, j *journal) (m mirrored) {
	if d.Mirror == nil {
		return m
	}
	before, err := policy.Parse([]byte(j.Old))
	if err != nil { // an edit mends it
		before = policy.Policy{}
	}
	after, err := policy.Parse([]byte(j.New))
	if err != nil {
		return m // apply will say so
	}
	now := time.Now()
	old, fresh := d.lasting(slug, before, now), d.lasting(slug, after, now)
	had, _ := pipelock.Hosts(old, now)
	wanted, _ := pipelock.Hosts(fresh, now)
	m.first.Open, m.last.Close = pipelock.Missing(had, wanted), pipelock.Missing(wanted, everNamed(before))
	held, holds := pipelock.Exceptions(old, now), pipelock.Exceptions(fresh, now)
	m.first.Except, m.back.Except = without(holds, held), without(held, holds)
	m.first.Ended = ids(without(pipelock.Exceptions(ever(before), time.Time{}), holds))
	m.back.Ended = ids(without(pipelock.Exceptions(ever(after), time.Time{}), held)) // whoever undoes it may come late
	return m
}

// without are the exceptions of a list that are not in another.
func without(list, others []pipelock.Exception) []pipelock.Exception {
	return slices.DeleteFunc(slices.Clone(list), func(e pipelock.Exception) bool { return slices.Contains(others, e) })
}

func ids(list []pipelock.Exception) (ids []string) {
	for _, e := range list {
		ids = append(ids, e.ID)
	}
	return ids
}

// lasting leaves out the grants that are over.
func (d *Decider) lasting(slug string, p policy.Policy, now time.Time) policy.Policy {
	used := d.used(slug)
	p.Grants = slices.DeleteFunc(slices.Clone(p.Grants), func(g policy.Grant) bool { return over(g, used[g.ID], now) })
	return p
}

// ever is a policy whose grants have no end.
func ever(p policy.Policy) policy.Policy {
	p.Grants = slices.Clone(p.Grants)
	for i := range p.Grants {
		p.Grants[i].Expires = time.Time{}
	}
	return p
}

// everNamed are the hosts of a policy, those of grants that are over too.
func everNamed(p policy.Policy) []string {
	hosts, _ := pipelock.Hosts(ever(p), time.Time{})
	return hosts
}

// openInPipelock has pipelock do its part before egress lets anything through, and
// returns the hosts that it lists then: none where there is no pipelock.
func (d *Decider) openInPipelock(ctx context.Context, slug string, first pipelock.Delta) ([]string, error) {
	if first.Empty() {
		return nil, nil
	}
	has, err := d.Mirror(ctx, slug, first)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrPipelock, err)
	case !has && len(first.Except) > 0:
		return nil, errNoPipelock
	case !has:
		return nil, nil
	}
	return first.Open, nil
}

// list puts hosts on pipelock's list alone.
func (d *Decider) list(ctx context.Context, slug string, hosts []string) error {
	if len(hosts) == 0 {
		return nil
	}
	if d.Mirror == nil {
		return errNoPipelock
	}
	listed, err := d.openInPipelock(ctx, slug, pipelock.Delta{Open: hosts})
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
func (d *Decider) closeInPipelock(ctx context.Context, slug string, last pipelock.Delta) error {
	if last.Empty() {
		return nil
	}
	if _, err := d.Mirror(ctx, slug, last); err != nil {
		return fmt.Errorf("%w: %w", ErrStillListed, err)
	}
	return nil
}

// unexcept puts pipelock's exceptions back to what they were before a change.
func (d *Decider) unexcept(slug string, j *journal) error {
	back := d.mirrored(slug, j).back
	if back.Empty() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), unexceptTime)
	defer cancel()
	if _, err := d.Mirror(ctx, slug, back); err != nil {
		return fmt.Errorf("pipelock's exceptions cannot be put back: %w", err)
	}
	return nil
}

const unexceptTime = time.Minute // a check, and a restart

// closeEnded closes in pipelock what grants had opened or excepted that are over. It
// returns those whose end can be recorded: while an exception may stand there, the
// next program is to try again. A host that stays is harmless, and goes with the
// next change.
func (d *Decider) closeEnded(ctx context.Context, slug string, ended []policy.Grant) []policy.Grant {
	text, _, err := d.inForce(slug)
	if err != nil || d.Mirror == nil {
		return ended
	}
	closed := d.mirrored(slug, &journal{Old: string(text), New: string(text)}).last.Close
	over := ever(policy.Policy{Grants: ended})
	theirs := everNamed(over)
	gone := pipelock.Delta{Close: slices.DeleteFunc(closed, func(h string) bool { return !slices.Contains(theirs, h) }),
		Ended: ids(pipelock.Exceptions(over, time.Time{}))}
	if d.closeInPipelock(ctx, slug, gone) == nil {
		return ended
	}
	return slices.DeleteFunc(slices.Clone(ended), func(g policy.Grant) bool { return slices.Contains(gone.Ended, g.ID) })
}

// EditPipelock has set put another file, text, in the place of the one that the
// operator was shown, and records it. diff is what he confirmed. A program that is
// killed meanwhile leaves the one file or the other, and the next one sees to it
// that pipelock goes by it, and records what was put there.
func (d *Decider) EditPipelock(ctx context.Context, slug string, text []byte, set func(context.Context) error, diff string) error {
	lock, err := d.Home.LockPolicy(ctx, slug)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if err := d.recover(ctx, slug); err != nil {
		return err
	}
	j := &journal{File: sum(string(text)), Record: &audit.Record{Kind: audit.Edit, Slug: slug, Sidecar: sidecar, Diff: diff}}
	if err := d.write(slug, j); err != nil {
		return err
	}
	if err := set(ctx); err != nil {
		return errors.Join(err, d.forget(slug))
	}
	return d.finish(slug, j, false)
}

// previous is there where nobody knows which file pipelock goes by.
func (d *Decider) previous(slug string) string {
	return filepath.Join(d.Home.StateDir(slug), sidecar, pipelock.Previous)
}

// mendPipelock has pipelock go by the file that is there. Where that fails, whoever
// changes it next tries again.
func (d *Decider) mendPipelock(ctx context.Context, slug string) {
	if d.Mirror != nil && exists(d.previous(slug)) {
		d.Mirror(ctx, slug, pipelock.Delta{})
	}
}

// pipelockSum is the SHA-256 of pipelock's file; empty where it cannot be read.
func (d *Decider) pipelockSum(slug string) string {
	text, err := spool.ReadFile(filepath.Join(d.Home.StateDir(slug), sidecar, "in"), pipelock.File, pipelock.MaxFile)
	if err != nil {
		return ""
	}
	return sum(string(text))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
