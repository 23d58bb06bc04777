package proposal

import (
	"errors"

	"bottle/pkg/bottle"
	"bottle/pkg/policy"
)

// pipelockBlock is an agent's request for a host on pipelock's list, where its
// routes have it already.
type pipelockBlock struct{}

var errNoPipelock = errors.New("this bottle runs no pipelock")

func (pipelockBlock) source(*bottle.Proposal) string { return Supervise }

func (pipelockBlock) check(p *bottle.Proposal) error {
	if p.Pipelock == nil {
		return errors.New("it asks for no host")
	}
	host, err := policy.CanonicalHost(p.Pipelock.Host)
	if err != nil {
		return err
	}
	if p.Justification == "" {
		return errors.New("a justification is needed: why is this host needed, and for what?")
	}
	p.Pipelock = &bottle.PipelockAsk{Host: host}
	return nil
}

func (pipelockBlock) summary(p *bottle.Proposal) string {
	s := "pipelock's list: " + p.Pipelock.Host
	if w := Suspicion(p.Pipelock.Host); w != "" {
		s += "  [" + w + "]"
	}
	return s
}

func (pipelockBlock) approve(c *Change, p *bottle.Proposal, in Context) error {
	if in.Terms.Uses > 0 || in.Terms.For != nil {
		return errors.New("a host is on pipelock's list for the bottle's life: it has neither uses nor an end")
	}
	c.Listed, c.Diff = p.Pipelock.Host, plus(p.Pipelock.Host)
	return nil
}

func (pipelockBlock) reject(*Change, *bottle.Proposal) {}
