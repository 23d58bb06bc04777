package gitgate

import (
	"context"
	"slices"
	"strings"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/proposal"
	"bottle/pkg/sidecar"
)

// Pushes that wait for the operator, and how often new ones come.
const (
	maxWaiting = proposal.MaxPending
	perMinute  = 20
)

// judge lets a push pass, or holds it: where something was found, or the operator
// wants to see every push. What he has approved before passes.
func (p *push) judge(ctx context.Context) error {
	if len(p.found) == 0 && !p.conf.Push.RequireApproval {
		return nil
	}
	if p.misnamed {
		p.tellFindings()
		return refuse(wordPolicy, "a ref's name holds a secret: give it another")
	}
	ask := p.ask()
	d, _ := p.service.queue.Decided(func(q bottle.Proposal) bool { return q.Push != nil && covers(*q.Push, ask) })
	approved := d.Verdict == bottle.Approved || d.Verdict == bottle.Modified
	if approved && d.Push != nil && covers(*d.Push, ask) {
		p.answer.say("git-gate: approved as %s", d.Proposal)
		return nil
	}
	p.tellFindings()
	if d.Verdict == bottle.Rejected {
		return refuse(wordRejected, "the operator rejected this push (%s)%s", d.Proposal, because(d.Reason))
	}
	if len(p.found) == maxFound {
		return refuse(wordHeld, "more than %d findings: nobody can judge that, push less at a time", maxFound-1)
	}
	p.describeTo(ctx, &ask)
	made, err := hold(p.service.queue, ask)
	if err != nil {
		return refuse(wordHeld, "%v", err)
	}
	p.held = made.ID
	return refuse(wordHeld, "held for the operator as %s: once it is approved, push the same again", made.ID)
}

// hold asks the operator, with as much of the log and the diffstat as there is
// room for.
func hold(queue *sidecar.Queue, ask bottle.PushAsk) (bottle.Proposal, error) {
	for {
		made, err := proposal.Make(bottle.Proposal{Kind: bottle.GitPush, Push: &ask}, proposal.Rules{}, time.Now())
		if err == nil {
			return queue.Ask(made)
		}
		if len(ask.Commits) == 0 && ask.Diffstat == "" {
			return made, err
		}
		ask.Commits = ask.Commits[:len(ask.Commits)/2]
		ask.Diffstat = ask.Diffstat[:strings.LastIndexByte(ask.Diffstat[:len(ask.Diffstat)/2], '\n')+1]
	}
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

const maxTold = 20 // findings that a push shows

func (p *push) tellFindings() {
	for i := range p.found[:min(len(p.found), maxTold)] {
		p.answer.say("git-gate: %s", p.found[i].describe())
	}
	if len(p.found) > maxTold {
		p.answer.say("git-gate: and %d more", len(p.found)-maxTold)
	}
	if len(p.found) > 0 {
		p.answer.say("git-gate: take it out of the history that you push (git rebase, git commit --amend), not only of the last commit")
	}
}

// covers says whether what was asked for, or approved, is this push: the same
// refs to the same IDs, and no finding that was not shown.
func covers(shown, ask bottle.PushAsk) bool {
	if shown.Remote != ask.Remote || !slices.Equal(shown.Updates, ask.Updates) {
		return false
	}
	for _, f := range ask.Findings {
		if !slices.Contains(shown.Findings, f) {
			return false
		}
	}
	return true
}
