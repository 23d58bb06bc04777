package proposal

import (
	"errors"
	"fmt"
	"slices"

	"bottle/pkg/bottle"
	"bottle/pkg/dlp/ruleids"
	"bottle/pkg/policy"
)

// dlpBlock is a finding of the scanner that the agent holds to be harmless.
type dlpBlock struct{}

func (dlpBlock) source() string { return Supervise }

func (dlpBlock) check(p *bottle.Proposal) (err error) {
	if p.Exception == nil {
		return errors.New("it names no finding")
	}
	e := *p.Exception
	if err := policy.CheckRule(e.Rule); err != nil {
		return err
	}
	if !slices.Contains(ruleids.All(), e.Rule) {
		return fmt.Errorf("the scanner has no rule %q", e.Rule)
	}
	if e.Host, err = policy.CanonicalHost(e.Host); err != nil {
		return err
	}
	if err := policy.CheckPrefix(e.Path); err != nil {
		return err
	}
	if p.Justification == "" {
		return errors.New("a justification is needed: why is it no secret?")
	}
	p.Exception = &e
	return nil
}

func (dlpBlock) summary(p *bottle.Proposal) string {
	e := p.Exception
	s := fmt.Sprintf("let findings of %s through to %s  %s", e.Rule, e.Host, e.Path)
	if w := Suspicion(e.Host); w != "" {
		s += "  [" + w + "]"
	}
	return s
}

func (dlpBlock) approve(c *Change, p *bottle.Proposal, in Context) error {
	e := p.Exception
	r := policy.Route{Host: e.Host, Scheme: policy.HTTPS, Port: policy.DefaultPort(policy.HTTPS), Paths: []string{e.Path}}
	c.grant(p, r, e.Rule, 0, in)
	return nil
}

func (dlpBlock) reject(*Change, *bottle.Proposal) {}
