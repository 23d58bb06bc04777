package proposal

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/policy"
)

// egressBlock is an agent's request for a host.
type egressBlock struct{}

func (egressBlock) source(*bottle.Proposal) string { return Supervise }

func (egressBlock) check(p *bottle.Proposal) error {
	if p.Justification == "" {
		return errors.New("a justification is needed: why is this host needed, and for what?")
	}
	return checkEgress(p)
}

// checkEgress brings a request for a host into its one form.
func checkEgress(p *bottle.Proposal) (err error) {
	if p.Egress == nil {
		return errors.New("it asks for no host")
	}
	e := *p.Egress
	if e.Host, err = policy.CanonicalHost(e.Host); err != nil {
		return err
	}
	if e.Scheme == "" {
		e.Scheme = policy.HTTPS
	}
	if _, err = policy.ParseScheme(e.Scheme); err != nil {
		return err
	}
	if e.Port == 0 {
		e.Port = policy.DefaultPort(e.Scheme)
	}
	switch {
	case e.Port < 1 || e.Port > 65535:
		return fmt.Errorf("%d is not a port", e.Port)
	case len(e.Paths) > maxPaths || len(e.Methods) > maxPaths:
		return fmt.Errorf("there are more than %d paths or methods", maxPaths)
	case e.Seconds < 0 || e.Seconds > int64(MaxDuration/time.Second):
		return fmt.Errorf("it asks for longer than %v", MaxDuration)
	}
	for _, path := range e.Paths {
		if err := policy.CheckPrefix(path); err != nil {
			return fmt.Errorf("path_allowlist: %w", err)
		}
	}
	e.Paths = unique(e.Paths)
	methods := make([]string, len(e.Methods))
	for i, m := range e.Methods {
		if methods[i], err = policy.ParseMethod(m); err != nil {
			return err
		}
	}
	e.Methods = unique(methods)
	if e.Credential != "" {
		if err := policy.CheckCredential(e.Credential); err != nil || strings.ContainsRune(e.Credential, ':') {
			return fmt.Errorf("%q is not the name of a credential that the manifest declares", e.Credential)
		}
	}
	p.Egress = &e
	return nil
}

// unique leaves repeated words out; nil for none.
func unique(words []string) []string {
	var out []string
	for _, w := range words {
		if !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return out
}

func (egressBlock) summary(p *bottle.Proposal) string {
	e := p.Egress
	r := policy.Route{Host: e.Host, Scheme: e.Scheme, Port: e.Port, Paths: e.Paths, Methods: e.Methods}
	s := r.Summary()
	if w := Suspicion(e.Host); w != "" {
		s += "  [" + w + "]"
	}
	if e.Credential != "" {
		s += "  [credential:" + e.Credential + "]"
	}
	if e.Seconds > 0 {
		s += "  for " + bottle.Span(time.Duration(e.Seconds)*time.Second)
	}
	return s
}

func (egressBlock) approve(c *Change, p *bottle.Proposal, in Context) error {
	e := p.Egress
	r := policy.Route{Host: e.Host, Scheme: e.Scheme, Port: e.Port, Paths: e.Paths, Methods: e.Methods}
	in.Policy.HostWay(&r)
	if e.Credential != "" && !in.Terms.NoCredential {
		credential, err := in.Rules.For(e.Credential, e.Host)
		if err != nil {
			return fmt.Errorf("it asks for the credential %s: %w", e.Credential, err)
		}
		r.Auth = credential.Auth
	}
	if in.Terms.NoCredential {
		r.Auth = policy.Auth{}
	}
	c.grant(p, policy.Grant{Route: r}, e.Seconds, in)
	if c.Grant == nil && e.Credential != "" && in.Terms.NoCredential {
		c.Note += ", and no credential goes with it"
	}
	return nil
}

func (egressBlock) reject(*Change, *bottle.Proposal) {}

// egressDenied is what egress tells of what it refused.
type egressDenied struct{ egressBlock }

func (egressDenied) source(*bottle.Proposal) string { return Egress }

func (egressDenied) check(p *bottle.Proposal) error {
	if p.Egress != nil && p.Egress.Credential != "" {
		return errors.New("nobody asked for a credential")
	}
	return checkEgress(p)
}

// reject silences the host below what was refused, at its port where that is an
// unusual one.
func (egressDenied) reject(c *Change, p *bottle.Proposal) {
	path := "/"
	if len(p.Egress.Paths) > 0 {
		path = p.Egress.Paths[0]
	}
	c.Silence = &policy.Silence{Host: p.Egress.Host, Path: path}
	if p.Egress.Port != policy.DefaultPort(p.Egress.Scheme) {
		c.Silence.Port = p.Egress.Port
	}
}
