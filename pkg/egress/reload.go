package egress

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/policy"
	"bottle/pkg/sidecar"
)

// force is the policy in force, and what came of the last attempt to change it.
type force struct {
	mu      sync.Mutex
	out     string // directory of sidecar.AppliedFile; empty: nobody is told
	secrets *sidecar.Secrets
	proxy   *sidecar.Proxy
	applied bottle.Applied
}

// Reload reads the policy again, whole. A bad one is refused, and the old one
// stays in force. What rests on a route that is gone is ended before
// sidecar.AppliedFile says so. An unchanged one is sidecar.ErrUnchanged.
func (s *Server) Reload() error {
	f := &s.force
	f.mu.Lock()
	defer f.mu.Unlock()
	data, err := os.ReadFile(filepath.Join(s.in, PolicyFile))
	if err != nil {
		return s.refusePolicy("", fmt.Errorf("cannot read the policy: %w", err))
	}
	sum := sha256.Sum256(data)
	hash := hex.EncodeToString(sum[:])
	if hash == f.applied.Tried && hash == f.applied.SHA256 {
		return sidecar.ErrUnchanged
	}
	p, err := policy.Parse(data)
	if err == nil {
		err = unknownRule(&p)
	}
	if err != nil {
		return s.refusePolicy(hash, err)
	}
	s.known.Store(joinHeld(&p, f.secrets))
	s.policy.Store(&p)
	s.cut(time.Now())
	defer s.changed.tell() // once egress has said so: the way back is closed then
	f.applied = bottle.Applied{Generation: f.applied.Generation + 1, SHA256: hash, Tried: hash, Routes: len(p.Routes) + len(p.Grants), Silent: f.applied.Silent,
		Time: time.Now().UTC().Truncate(time.Millisecond)}
	return s.tell()
}

func (s *Server) refusePolicy(hash string, err error) error {
	s.force.applied.Tried, s.force.applied.Error = hash, err.Error()
	if s.force.applied.Generation == 0 {
		return err // there is none in force, so there is nothing to tell
	}
	if terr := s.tell(); terr != nil {
		return fmt.Errorf("%w (%w)", err, terr)
	}
	return err
}

// handed takes values that came in into force.
func (s *Server) handed() {
	s.force.mu.Lock()
	defer s.force.mu.Unlock()
	s.known.Store(joinHeld(s.policy.Load(), s.force.secrets))
	if err := s.tell(); err != nil {
		s.record(bottle.Event{Kind: "secrets", Verdict: "error", Detail: err.Error()})
		return
	}
	s.record(bottle.Event{Kind: "secrets", Detail: bottle.Lacking(len(s.force.applied.Needs))})
}

// tell says what is in force. The caller holds the lock.
func (s *Server) tell() error {
	f := &s.force
	p := s.policy.Load()
	f.secrets.Tell(&f.applied, append(p.Credentials(), f.proxy.Needs()...), p.Refreshes())
	if f.out == "" {
		return nil
	}
	return sidecar.WriteApplied(f.out, f.applied)
}

// injects is the name of the credential in a header line of k's own. Of another's,
// whose values were replaced meanwhile, it is empty.
func (k *known) injects(line []byte) string {
	for auth, own := range k.lines {
		if &own[0] == &line[0] {
			return auth.Credential
		}
	}
	return ""
}

// joinHeld is join with the values that are here now.
func joinHeld(p *policy.Policy, held *sidecar.Secrets) *known {
	values, came := held.Now()
	k := join(p, values)
	k.came = came
	return k
}

// answered looks at an answer's status: one that asks for another credential
// (401) than was injected says so of that credential, once for each value. An
// agent can bring it about, so that it is told and nothing follows from it.
func (s *Server) answered(injected []byte, status int) {
	if status != http.StatusUnauthorized || len(injected) == 0 {
		return
	}
	s.force.mu.Lock()
	defer s.force.mu.Unlock()
	k := s.known.Load()
	if name := k.injects(injected); name != "" {
		s.refuse(name, k.came[name], status)
	}
}

// refusedValue notes that the proxy refuses its login.
func (s *Server) refusedValue(name string, came time.Time) {
	s.force.mu.Lock()
	defer s.force.mu.Unlock()
	s.refuse(name, came, http.StatusProxyAuthRequired)
}

// refuse tells of a value that is refused. The caller holds the lock.
func (s *Server) refuse(name string, came time.Time, status int) {
	if !s.force.secrets.Refuse(name, came) {
		return
	}
	ev := bottle.Event{Kind: "secrets", Verdict: "error", Status: status, Detail: name + " is refused"}
	if err := s.tell(); err != nil {
		ev.Detail += ": " + err.Error()
	}
	s.record(ev)
}

// rest is what a request under way rests on.
type rest struct {
	mu      sync.Mutex
	active  bool
	request policy.Request
	route   *policy.Route
	grant   string // whose route it is
	expires time.Time
	cut     bool
}

// judgeOn judges a request and notes what it rests on, so that a change of the
// policy finds it.
func (c *client) judgeOn(o origin, path string) (policy.Verdict, *refusal) {
	for {
		p := c.s.policy.Load()
		v, refused := judge(p, c.s.uses, &c.q, o, path)
		if refused != nil {
			return v, refused
		}
		c.rest.mu.Lock()
		c.rest.active, c.rest.cut, c.rest.route, c.rest.grant, c.rest.expires = true, false, v.Route, v.Grant, v.Expires
		c.rest.request = policy.Request{Scheme: o.scheme, Host: o.host, Port: o.port, Method: c.q.method, Path: path}
		c.rest.mu.Unlock()
		if c.s.policy.Load() == p { // a new one that came meanwhile may have missed us
			return v, nil
		}
	}
}

// rested ends what judgeOn began, and says whether it was cut.
func (c *client) rested() bool {
	c.rest.mu.Lock()
	defer c.rest.mu.Unlock()
	c.rest.active = false
	return c.rest.cut
}

func (c *client) wasCut() bool {
	c.rest.mu.Lock()
	defer c.rest.mu.Unlock()
	return c.rest.cut
}

// reasonCut is what is told of a request that its permission did not outlive.
const reasonCut = "the route or grant that it rested on is gone"

// cutTime is how long a client that does not read has, to take what is there.
const cutTime = 5 * time.Second

// cut ends the requests under way that the policy in force does not allow in
// the same way, and the connections that wait for such requests.
func (s *Server) cut(now time.Time) {
	p := s.policy.Load()
	s.clients.each(func(c *client) { c.cutUnless(p, now) })
	kept := func(o origin) bool { return p.Reaches(o.scheme, o.host, o.port, now) }
	s.pool.keep(kept)
	s.lines.keep(kept)
}

// cutEnded ends the requests whose grant is over.
func (s *Server) cutEnded(now time.Time) {
	p := s.policy.Load()
	// Wall-clock time: a machine that slept is past the end when it wakes.
	before := s.looked
	s.looked = now.Round(0)
	for i := range p.Grants {
		if g := &p.Grants[i]; !before.IsZero() && g.Live(before) && !g.Live(s.looked) {
			s.record(bottle.Event{Kind: "grant", Verdict: "ended", Rule: "grant " + g.ID, Host: g.Host, Port: g.Port, Detail: "it ended at " + g.Expires.Format(time.RFC3339)})
		}
	}
	s.clients.each(func(c *client) {
		c.rest.mu.Lock()
		over := c.rest.active && !c.rest.expires.IsZero() && !now.Before(c.rest.expires)
		c.rest.mu.Unlock()
		if over {
			c.cutUnless(p, now)
		}
	})
}

// cutUnless ends the client's request unless the policy still allows it, by an
// entry that handles it alike.
func (c *client) cutUnless(p *policy.Policy, now time.Time) {
	c.rest.mu.Lock()
	defer c.rest.mu.Unlock()
	if !c.rest.active || c.rest.cut {
		return
	}
	q := c.rest.request
	q.Now = now
	own := c.rest.grant // it took a use of that one, and takes none of another
	q.Spent = func(g *policy.Grant) bool { return g.ID != own }
	v := policy.Decide(*p, q)
	if old := c.rest.route; v.Allow && v.Route.Auth == old.Auth && v.Route.Private == old.Private && v.Route.RefuseForeign == old.RefuseForeign {
		c.rest.route, c.rest.grant, c.rest.expires = v.Route, v.Grant, v.Expires
		return
	}
	c.rest.cut = true
	if up := c.up.Load(); up != nil && c.up.CompareAndSwap(up, nil) {
		up.reset()
		c.link.SetWriteDeadline(now.Add(cutTime))
	}
}
