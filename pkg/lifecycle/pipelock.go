package lifecycle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/ca"
	"bottle/pkg/engine"
	"bottle/pkg/manifest"
	"bottle/pkg/pipelock"
	"bottle/pkg/plan"
	"bottle/pkg/policy"
	"bottle/pkg/spool"
)

// Errors of a pipelock.
var (
	ErrPipelockProxy = errors.New("pipelock cannot go through a proxy, and config.yaml or the environment names one")
	ErrPipelockImage = errors.New("its image is not on this engine")
	ErrPipelockFile  = errors.New("pipelock does not take its file")
)

func hasPipelock(s Spec) bool { return s.Manifest.Pipelock.Image != "" }

// checkWay refuses what pipelock cannot do, before anything is made.
func checkWay(pipelock bool, way Way) error {
	if pipelock && way.Proxy != nil {
		return ErrPipelockProxy
	}
	return nil
}

// pipelockImage makes sure that an image is there, which is somebody else's to
// make.
func (m *Manager) pipelockImage(ctx context.Context, image string) error {
	has, err := m.Engine.HasImage(ctx, image)
	if err == nil && !has {
		err = fmt.Errorf("cannot use pipelock %s: %w; run docker pull %s", image, ErrPipelockImage, image)
	}
	return err
}

// pipelockFiles writes what pipelock reads, and returns the certificate by which it
// vouches for the hosts whose TLS it opens.
func (u *bringUp) pipelockFiles(ctx context.Context, t *tree, p policy.Policy, roots []byte) []byte {
	if t.err != nil {
		return nil
	}
	certificate, key, err := ca.New("pipelock of "+u.bottle.Slug, time.Now())
	if err != nil {
		t.err = err
		return nil
	}
	hosts, left := pipelock.Hosts(p, time.Now())
	if len(left) > 0 {
		u.log.step("note: pipelock's list cannot hold %s: closed there", strings.Join(left, ", "))
	}
	text, err := pipelock.Render(hosts, pipelockOptions(u.spec, p, u.privateAddresses(ctx, p)))
	if err != nil {
		t.err = err
		return nil
	}
	in := plan.PipelockService + "/in/"
	t.put(in+pipelock.File, text, 0o600)
	t.put(in+pipelock.Candidate, text, 0o600)
	t.put(in+pipelock.CertFile, certificate, 0o600)
	t.put(in+pipelock.KeyFile, key, 0o600)
	t.put(in+pipelock.RootsFile, roots, 0o600)
	return certificate
}

// Passthrough are the hosts whose TLS the bottle's pipelock does not open: those that
// the manifest names, or else the agent's model's.
func Passthrough(s Spec, p policy.Policy) []string {
	if s.Manifest.Pipelock.Set {
		return s.Manifest.Pipelock.Passthrough
	}
	var hosts []string
	for _, h := range s.Agent.Hosts() {
		if slices.ContainsFunc(p.Routes, func(r policy.Route) bool { return r.Host == h.Name && r.Model != "" }) {
			hosts = append(hosts, h.Name)
		}
	}
	return hosts
}

func pipelockOptions(s Spec, p policy.Policy, private []netip.Addr) pipelock.Options {
	o := pipelock.Options{Private: private, MaxBody: p.MaxBody, Passthrough: Passthrough(s, p)}
	if o.MaxBody == 0 {
		o.MaxBody = policy.DefaultMaxBody
	}
	var askable []policy.Auth
	for _, c := range s.Manifest.Credentials {
		askable = append(askable, c.Auth)
	}
	o.Headers = pipelock.InjectedHeaders(p, askable)
	return o
}

// lookupTime bounds a question for a private name.
const lookupTime = 3 * time.Second

// privateAddresses are those that the hosts of private routes have now, as this
// machine's resolver says. One that is not found stays closed in pipelock.
func (u *bringUp) privateAddresses(ctx context.Context, p policy.Policy) []netip.Addr {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	var all []netip.Addr
	for _, r := range p.Routes {
		if !r.Private {
			continue
		}
		addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", r.Host+".")
		if err != nil {
			u.log.step("note: %s has no address here, so pipelock will not lead to it where that is private", r.Host)
		}
		for _, a := range addresses {
			if a = a.Unmap(); a.IsPrivate() {
				all = append(all, a)
			}
		}
	}
	return all
}

// wayOf is how a sidecar gets out: egress by the bottle's pipelock, where it has
// one.
func wayOf(p *plan.Plan, service string, given *bottle.Proxy) *bottle.Proxy {
	if at := p.Pipelock(); service == plan.EgressService && at.IsValid() {
		return &bottle.Proxy{Address: netip.AddrPortFrom(at, pipelock.Port).String(), Pipelock: true}
	}
	return given
}

func (m *Manager) pipelockIn(slug string) string {
	return filepath.Join(m.Home.StateDir(slug), plan.PipelockService, "in")
}

// checkPipelock has pipelock look through its candidate, in a container of its own
// without a network.
func (m *Manager) checkPipelock(ctx context.Context, p *plan.Plan) error {
	c := p.PipelockCheck(pipelock.Candidate)
	ctx, cancel := context.WithTimeout(ctx, pipelockTime)
	defer cancel()
	err := whole(ctx, func(ctx context.Context) error {
		if err := m.Engine.Remove(ctx, c.Name); err != nil { // of one that was killed
			return err
		}
		return m.Engine.Create(ctx, c)
	})
	if err != nil {
		return err
	}
	defer func() {
		clearing, stop := context.WithTimeout(context.WithoutCancel(ctx), clearTime)
		defer stop()
		m.Engine.Remove(clearing, c.Name) // the next check, or the stop, takes what stays
	}()
	var said bytes.Buffer
	out := &capped{w: &said, left: maxPipelockSaid}
	ended, err := m.Engine.StartAttached(ctx, c.Name, engine.Streams{Stdin: strings.NewReader(""), Stdout: out, Stderr: out})
	if err != nil {
		return err
	}
	switch end := <-ended; {
	case ctx.Err() != nil:
		return ctx.Err()
	case end.Err != nil:
		return end.Err
	case end.Code != 0:
		return fmt.Errorf("%w: %s", ErrPipelockFile, lastLine(said.String()))
	}
	return nil
}

const (
	pipelockTime    = 30 * time.Second // a check, a start
	maxPipelockSaid = 64 << 10         // bytes
)

// awaitPipelock waits until egress is ready, which it is when pipelock leads
// somewhere, and asks it to be sure: that may have been another pipelock, or
// another egress, which is about to be started again.
func (u *bringUp) awaitPipelock(ctx context.Context, c plan.Container) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	gone := make(chan struct{})
	go func() {
		if _, err := u.Engine.Wait(ctx, c.Name); err == nil {
			close(gone)
		}
	}()
	err := awaitFile(ctx, filepath.Join(u.bottle.StateDir, plan.EgressService, "out", readyFile), gone)
	for err == nil {
		if _, err = u.askPipelock(ctx, u.bottle.Slug, nil); err == nil {
			return nil
		}
		select {
		case <-time.After(listPause):
			err = nil
		case <-gone:
		case <-ctx.Done():
		}
	}
	var said bytes.Buffer
	telling, stop := context.WithTimeout(context.WithoutCancel(ctx), clearTime)
	defer stop()
	u.Engine.Logs(telling, c.Name, &capped{w: &said, left: maxPipelockSaid})
	return fmt.Errorf("pipelock did not get ready: %w: %s", err, lastLine(said.String()))
}

// askPipelock asks a bottle's pipelock, from where egress stands, which of these
// hosts it lists right now.
func (m *Manager) askPipelock(ctx context.Context, slug string, hosts []string) (map[string]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, pipelockTime)
	defer cancel()
	var out, said bytes.Buffer
	code, err := m.Engine.Exec(ctx, plan.ContainerName(slug, plan.EgressService), engine.Exec{
		Cmd: []string{"/bottle-egress", "pipelock", strings.Join(hosts, ",")}, Stdout: &bounded{w: &out, left: maxLine}, Stderr: &bounded{w: &said, left: maxLine}})
	switch {
	case err != nil:
		return nil, err
	case code != 0:
		return nil, fmt.Errorf("egress does not reach pipelock: %s", lastLine(said.String()))
	}
	listed := map[string]bool{}
	for line := range strings.Lines(out.String()) {
		if host, is := strings.CutPrefix(strings.TrimSpace(line), "listed "); is {
			listed[host] = true
		}
	}
	return listed, nil
}

// pipelockRoots are whom egress trusts: where there is a pipelock, its CA too.
func (m *Manager) pipelockRoots(slug string, roots []byte) ([]byte, error) {
	if !exists(m.pipelockIn(slug)) {
		return roots, nil
	}
	own, err := spool.ReadFile(m.pipelockIn(slug), pipelock.CertFile, maxHostFile)
	if err != nil {
		return nil, fmt.Errorf("cannot read pipelock's CA: %w", err)
	}
	return trusting(roots, own), nil
}

func trusting(roots, own []byte) []byte { return append(append(bytes.Clone(roots), '\n'), own...) }

// warnPipelock is what of a manifest a pipelock cannot give.
func warnPipelock(m manifest.Manifest, p policy.Policy) (warnings []string) {
	if m.Pipelock.Image == "" {
		return nil
	}
	if _, left := pipelock.Hosts(p, time.Time{}); len(left) > 0 {
		warnings = append(warnings, "pipelock's list cannot hold "+strings.Join(left, ", ")+": closed there")
	}
	if headers := pipelock.InjectedHeaders(p, nil); len(headers) > 0 {
		warnings = append(warnings, "pipelock does not scan the headers that egress injects into, to whatever host: "+strings.Join(headers, ", "))
	}
	return warnings
}
