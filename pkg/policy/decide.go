package policy

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Request is what an agent asks for, as far as a judgement needs it.
type Request struct {
	Scheme string
	Host   string // canonical (CanonicalHost)
	Port   int
	Method string
	Path   string // raw, as it stands on the wire, without the query
	// Now is the time of the judgement. The zero time finds every grant that has
	// an end to be over.
	Now time.Time
	// Spent says whether a grant has no use left; nil: none has.
	Spent func(*Grant) bool
}

// Verdict is the judgement of one request.
type Verdict struct {
	Allow  bool
	Status int    // of the refusal: 403, 400 for a path that can be read in two ways, 404 for one that an agent does without
	Reason string // of the refusal, a line for the agent
	// Route is the entry that allows it, nil where none does. It is the policy's
	// own: read it only.
	Route *Route
	// Expires is when the permission ends; zero: it does not.
	Expires time.Time

	Grant string // ID of the grant that allows it; empty: a route does
	Uses  int64  // how many requests that grant is good for; 0: any number

	index int
}

// Rule names the entry that allowed the request, for events: "route 2" is the
// second in the file, "grant ID" a grant. It is empty where none did.
func (v *Verdict) Rule() string {
	switch {
	case v.Route == nil:
		return ""
	case v.Grant != "":
		return "grant " + v.Grant
	case v.index < len(routeNames):
		return routeNames[v.index]
	}
	return routeName(v.index)
}

func routeName(i int) string { return "route " + strconv.Itoa(i+1) }

// routeNames saves an allocation a request.
var routeNames = func() (names [64]string) {
	for i := range names {
		names[i] = routeName(i)
	}
	return names
}()

// Decide judges q. The first entry that allows it, routes before grants, is the
// one it rests on; but a grant that injects a credential goes before an entry that
// injects none, since somebody approved it for that, and one whose uses are
// counted goes last. Where none allows it, the reason names the nearest miss.
func Decide(p Policy, q Request) Verdict {
	if fault := pathFault(q.Path); fault != "" {
		return deny(400, "%s", fault)
	}
	m := miss{q: &q}
	var best Verdict
	for i := range p.Routes {
		if r := &p.Routes[i]; m.allows(r) {
			best = Verdict{Allow: true, Route: r, index: i}
			break
		}
	}
	for i := range p.Grants {
		g := &p.Grants[i]
		switch {
		case !g.Opens() || best.Allow && !g.before(&best):
		case !g.Live(q.Now):
			m.expired(g)
		case g.Uses > 0 && q.Spent != nil && q.Spent(g):
			m.spent = m.spent || (&miss{q: m.q}).allows(&g.Route)
		case m.allows(&g.Route):
			best = Verdict{Allow: true, Route: &g.Route, Expires: g.Expires, Grant: g.ID, Uses: g.Uses}
		}
	}
	if best.Allow {
		return best
	}
	return m.verdict()
}

// before says whether a request would rather rest on the grant than on what
// allows it already.
func (g *Grant) before(v *Verdict) bool {
	if g.Auth.Set() != v.Route.Auth.Set() {
		return g.Auth.Set()
	}
	return v.Uses > 0 && g.Uses == 0
}

// miss is how near entries came to allowing a request.
type miss struct {
	q                        *Request
	host, port, origin, path bool
	model                    string    // the API of a model at this origin
	ended                    time.Time // of the grant that allowed it last
	spent                    bool      // a grant that would allow it has no use left
	ambiguity                string
	looked                   bool // ambiguity is known
}

// allows judges one entry on its own.
func (m *miss) allows(r *Route) bool {
	q := m.q
	if r.Host != q.Host || r.Wildcard() {
		return false
	}
	m.host = true
	if r.Port != q.Port || r.Scheme != q.Scheme {
		m.port = m.port || r.Port == q.Port
		return false
	}
	m.origin = true
	if r.Model != "" {
		m.model = r.Model
	}
	if len(r.Paths) > 0 {
		// What can be read in two ways is under no prefix, however it looks.
		if !m.looked {
			m.looked, m.ambiguity = true, ambiguity(q.Path)
		}
		if m.ambiguity != "" || !r.covers(q.Path) {
			return false
		}
	}
	m.path = true
	return r.takes(q.Method)
}

func (m *miss) expired(g *Grant) {
	if (&miss{q: m.q}).allows(&g.Route) && g.Expires.After(m.ended) {
		m.ended = g.Expires
	}
}

// covers says whether the path is under one of the entry's prefixes.
func (r *Route) covers(path string) bool {
	for _, p := range r.Paths {
		if below(path, p) {
			return true
		}
	}
	return false
}

func (r *Route) takes(method string) bool {
	if len(r.Methods) == 0 {
		return true
	}
	for _, m := range r.Methods {
		if m == method {
			return true
		}
	}
	return false
}

func (m *miss) verdict() Verdict {
	q := m.q
	switch {
	case !m.ended.IsZero():
		return deny(403, "the grant for this on %s ended at %s", q.Host, m.ended.Format(time.RFC3339))
	case m.spent:
		return deny(403, "the grant for this on %s is used up", q.Host)
	case !m.host:
		return deny(403, "%s is not on this bottle's allowlist", q.Host)
	case !m.origin && (m.port || q.Port == DefaultPort(q.Scheme)):
		return deny(403, "%s is not on this bottle's allowlist for %s", q.Host, q.Scheme)
	case !m.origin:
		return deny(403, "port %d of %s is not on this bottle's allowlist", q.Port, q.Host)
	case m.ambiguity != "":
		return deny(400, "%s, and %s has a path allowlist", m.ambiguity, q.Host)
	case slices.Contains(modelAPIs[m.model].absent, q.Path):
		return deny(404, "%s of %s is nothing that an agent in a bottle has", q.Path, q.Host)
	case !m.path:
		return deny(403, "%s of %s is not on this bottle's allowlist", clip(q.Path), q.Host)
	}
	return deny(403, "%s is not on this bottle's allowlist for %s%s", q.Method, q.Host, clip(q.Path))
}

// clip bounds a path in a reason.
func clip(path string) string {
	const most = 120
	if len(path) <= most {
		return path
	}
	return path[:most] + "..."
}

func deny(status int, format string, args ...any) Verdict {
	return Verdict{Status: status, Reason: fmt.Sprintf(format, args...)}
}
