package gitgate

import (
	"context"
	"fmt"
	"time"

	"bottle/pkg/bottle"
)

// pass forwards the push and takes it in: one at a time for a repository.
func (p *push) pass(ctx context.Context) error {
	p.repo.mu.Lock()
	defer p.repo.mu.Unlock()
	if p.remote.Upstream == "" {
		if err := p.current(ctx); err != nil {
			return err
		}
		if err := p.takeIn(ctx); err != nil {
			return err
		}
		if err := p.bundle(ctx); err != nil {
			p.answer.say("git-gate: it is taken, and cannot be bundled for the operator: %s", inert(err.Error()))
		}
		return nil
	}
	if err := p.forward(ctx); err != nil {
		return err
	}
	// Upstream has taken it, and so it is: what is lacking here comes with the next
	// refresh.
	if err := p.takeIn(ctx); err != nil {
		p.service.conf.Record(bottle.Event{Kind: "refresh", Verdict: "error", Path: p.repo.name, Detail: "upstream has taken a push, and the gate " + inert(err.Error())})
	}
	return nil
}

// takeIn has objects and refs join the repository, whoever hangs up.
func (p *push) takeIn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if p.quarantine != "" {
		err := <-p.kept
		if err == nil {
			err = p.repo.admit(p.quarantine)
		}
		if err != nil {
			return fmt.Errorf("cannot take the objects in: %w", err)
		}
	}
	if err := p.repo.update(ctx, p.commands, p.remote.Upstream != ""); err != nil {
		return fmt.Errorf("cannot set the refs: %w", err)
	}
	return nil
}

// current checks that the refs still are what the agent saw: where there is an
// upstream, it is asked.
func (p *push) current(ctx context.Context) error {
	now, err := p.repo.refs(ctx)
	if err != nil {
		return err
	}
	failed := false
	for _, c := range p.commands {
		if have := now[c.Ref]; have != c.Old && !(have == "" && isZero(c.Old)) {
			c.reason, failed = "fetch first", true
		}
	}
	if failed {
		p.told = true
		return refuse(wordTogether, "a ref has moved")
	}
	return nil
}
