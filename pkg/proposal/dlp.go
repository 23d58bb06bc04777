package proposal

import (
	"errors"
	"fmt"
	"slices"

	"bottle/pkg/bottle"
	"bottle/pkg/dlp/ruleids"
	"bottle/pkg/pipelock"
	"bottle/pkg/policy"
)

// dlpBlock is a finding that may be harmless: one of egress' scanner, which the
// agent holds to be so, or one of pipelock's, which egress' scanner did not have.
type dlpBlock struct{}

func (dlpBlock) source(p *bottle.Proposal) string {
	if p.Exception != nil && p.Exception.Scanner != "" {
		return Egress
	}
	return Supervise
}

func (dlpBlock) check(p *bottle.Proposal) (err error) {
	if p.Exception == nil {
		return errors.New("it names no finding")
	}
	e := *p.Exception
	if e.Host, err = policy.CanonicalHost(e.Host); err != nil {
		return err
	}
	if err := policy.CheckPrefix(e.Path); err != nil {
		return err
	}
	switch e.Scanner {
	case "":
		err = checkOwn(p, &e)
	case policy.Pipelock:
		err = checkPipelocks(&e)
	default:
		err = fmt.Errorf("there is no scanner %q", e.Scanner)
	}
	p.Exception = &e
	return err
}

func checkOwn(p *bottle.Proposal, e *bottle.ExceptionAsk) error {
	if err := policy.CheckRule(e.Rule); err != nil {
		return err
	}
	if !slices.Contains(ruleids.All(), e.Rule) {
		return fmt.Errorf("the scanner has no rule %q", e.Rule)
	}
	if p.Justification == "" {
		return errors.New("a justification is needed: why is it no secret?")
	}
	return nil
}

func checkPipelocks(e *bottle.ExceptionAsk) error {
	if err := policy.CheckPattern(e.Rule); err != nil {
		return err
	}
	if !pipelock.Holds(e.Host) {
		return fmt.Errorf("pipelock has no exception for the host %q", e.Host)
	}
	return pipelock.CheckPath(e.Path)
}

func (dlpBlock) summary(p *bottle.Proposal) string {
	e := p.Exception
	whose := ""
	if e.Scanner != "" {
		whose = e.Scanner + "'s "
	}
	s := fmt.Sprintf("let findings of %s%s through to %s  %s", whose, e.Rule, e.Host, e.Path)
	if w := Suspicion(e.Host); w != "" {
		s += "  [" + w + "]"
	}
	return s
}

func (dlpBlock) approve(c *Change, p *bottle.Proposal, in Context) error {
	e := p.Exception
	if e.Scanner != "" && in.Terms.Uses > 0 {
		return errors.New("pipelock counts no uses: approve it for a time, or for the bottle's life")
	}
	r := policy.Route{Host: e.Host, Scheme: policy.HTTPS, Port: policy.DefaultPort(policy.HTTPS), Paths: []string{e.Path}}
	c.grant(p, policy.Grant{Route: r, Rule: e.Rule, Scanner: e.Scanner}, 0, in)
	return nil
}

// reject silences what pipelock finds there: nobody asked for it in so many words,
// and the next request would ask again.
func (dlpBlock) reject(c *Change, p *bottle.Proposal) {
	if e := p.Exception; e.Scanner != "" {
		c.Silence = &policy.Silence{Host: e.Host, Path: e.Path, Pattern: e.Rule}
	}
}
