// Package policy says what a bottle may ask of the outside: its routes and
// grants, their file form, and the judgement of one request against them. It is
// pure: no I/O, no clock, no lookup. It does not enforce anything; sidecars do.
//
// Each entry is judged on its own. Nothing is merged, since the union of two
// entries' paths and methods allows pairs that nobody approved; View shows a
// union to people, and decides nothing.
package policy

import (
	"slices"
	"strings"
	"time"
)

// Schemes a route may have.
const (
	HTTPS = "https"
	HTTP  = "http"
)

// Route is one entry: a place that a bottle may reach, and in which way. Its
// fields are canonical, as Parse and Route.Canonical leave them.
type Route struct {
	Host   string // as RouteHost returns it
	Scheme string // HTTPS or HTTP
	Port   int    // 1 to 65535
	// Paths are prefixes that end at a segment (CheckPrefix); none: the whole host.
	Paths []string
	// Methods are in upper case; none: all of them.
	Methods []string
	// Auth is the credential that is injected; the zero Auth injects nothing.
	Auth Auth
	// Private: the host may resolve to private addresses.
	Private bool
	// RefuseForeign: a credential that the bottle was not given for this host is
	// refused. Where Auth is set, all but the injected one are dropped anyway.
	RefuseForeign bool
	Scan          Scan
	// Model is the API that the agent's model is asked by at this host, a name of
	// ModelAPIs; empty: it is no model's.
	Model string
}

// Auth says how a credential is injected. It holds the credential's name, never
// its value. Exactly one of Scheme and Header is set, or all is empty.
type Auth struct {
	Scheme     string // of an Authorization header: Bearer, Basic, token, …
	Header     string // the header that carries the bare value; lower case
	Credential string // the name of the value
	// Refresh is how old the value may become before the host resolves it anew,
	// in whole seconds; zero: it does not age.
	Refresh time.Duration
}

// Grant is an entry that somebody approved after the start. It is judged on its
// own: who makes one for a host copies what the host's routes say of foreign
// credentials and private addresses.
type Grant struct {
	ID string // CheckID
	Route
	Expires time.Time // UTC, whole seconds; zero: the bottle's life
	Uses    int64     // how many requests it is good for; 0: any number
	// Rule makes it an exception: what this rule of the scanner finds below Paths
	// is let through. Such a grant allows no request. CheckRule
	Rule string
	// Scanner is whose rule it is: empty for egress' own, or Pipelock, whose file the
	// exception stands in: egress goes by it in nothing. Then CheckPattern holds.
	Scanner string
}

// Pipelock is the scanner behind egress.
const Pipelock = "pipelock"

// Silence is what the operator does not want to be asked about again: refused
// requests for Host and Port below Path, a prefix like those of routes.
type Silence struct {
	Host string
	Port int // 0: any
	Path string
	// Pattern makes it silence what pipelock refuses by this pattern instead.
	// CheckPattern
	Pattern string
	// Reason is why, as Why returns it; who is refused is told. Empty: nobody said.
	Reason string
}

// Given is a value that the agent itself holds: the name of its variable, the
// name of its value, and the hosts it may travel to in a credential header.
type Given struct {
	Name       string
	Credential string
	Hosts      []string // canonical; none: it may travel nowhere
}

// Policy is what a bottle may reach. The zero Policy allows nothing.
type Policy struct {
	Routes   []Route
	Grants   []Grant
	Silenced []Silence
	Given    []Given
	Model    Model // what a model's provider may do for the agent
	// MaxBody is how many bytes of a body are scanned; 0: DefaultMaxBody.
	MaxBody int64
	// AskTimeout is how long a request that no entry allows is held for the
	// operator's answer, in whole seconds; 0: it is refused at once.
	AskTimeout time.Duration
}

// NewRoute returns the https route for a whole host as an operator wrote it.
func NewRoute(host string) (Route, error) {
	h, err := RouteHost(host)
	if err != nil {
		return Route{}, err
	}
	return Route{Host: h, Scheme: HTTPS, Port: DefaultPort(HTTPS)}, nil
}

// DefaultPort is the port of a scheme: 443 or 80.
func DefaultPort(scheme string) int {
	if scheme == HTTP {
		return 80
	}
	return 443
}

// Wildcard says whether the route's host holds a "*". Hosts are matched
// exactly, so such a route matches nothing.
func (r *Route) Wildcard() bool { return strings.Contains(r.Host, "*") }

// Equal says whether two entries allow the same in the same way.
func (r Route) Equal(o Route) bool {
	return r.Host == o.Host && r.Scheme == o.Scheme && r.Port == o.Port && r.Auth == o.Auth && r.Private == o.Private &&
		r.RefuseForeign == o.RefuseForeign && slices.Equal(r.Paths, o.Paths) && slices.Equal(r.Methods, o.Methods) &&
		r.Scan.Equal(o.Scan) && r.Model == o.Model
}

// Set says whether a credential is injected.
func (a Auth) Set() bool { return a.Credential != "" }

// Target is the header that carries the credential, in lower case.
func (a Auth) Target() string {
	if a.Header != "" {
		return a.Header
	}
	return "authorization"
}

// String is how people are shown what is injected: the scheme or the header.
func (a Auth) String() string {
	if a.Scheme != "" {
		return a.Scheme
	}
	return a.Header
}

// Live says whether the grant is in force. Without knowing the time, only one
// that has no end is.
func (g *Grant) Live(now time.Time) bool {
	return g.Expires.IsZero() || !now.IsZero() && now.Before(g.Expires)
}

// Opens says whether the grant allows requests at all: an exception does not.
func (g *Grant) Opens() bool { return g.Rule == "" }

// NamesPort says whether any entry has this port, whatever its host.
func (p *Policy) NamesPort(port int) bool {
	return slices.ContainsFunc(p.Routes, func(r Route) bool { return r.Port == port }) ||
		slices.ContainsFunc(p.Grants, func(g Grant) bool { return g.Port == port && g.Opens() })
}

// Reaches says whether any entry that is in force names this origin, whatever
// it allows there.
func (p *Policy) Reaches(scheme, host string, port int, now time.Time) bool {
	for i := range p.Routes {
		if p.Routes[i].origin(scheme, host, port) {
			return true
		}
	}
	for i := range p.Grants {
		if g := &p.Grants[i]; g.Opens() && g.origin(scheme, host, port) && g.Live(now) {
			return true
		}
	}
	return false
}

func (r *Route) origin(scheme, host string, port int) bool {
	return r.Host == host && r.Scheme == scheme && r.Port == port && !r.Wildcard()
}

// Credentials returns the names of all values that the policy rests on, sorted,
// each once.
func (p *Policy) Credentials() []string {
	var names []string
	for i := range p.Routes {
		names = append(names, p.Routes[i].Auth.Credential)
	}
	for i := range p.Grants {
		names = append(names, p.Grants[i].Auth.Credential)
	}
	for i := range p.Given {
		names = append(names, p.Given[i].Credential)
	}
	names = slices.DeleteFunc(names, func(s string) bool { return s == "" })
	slices.Sort(names)
	return slices.Compact(names)
}

// Refreshes returns how old values may become: the shortest time for each name.
func (p *Policy) Refreshes() map[string]time.Duration {
	shortest := map[string]time.Duration{}
	add := func(a Auth) {
		if d, known := shortest[a.Credential]; a.Refresh > 0 && (!known || a.Refresh < d) {
			shortest[a.Credential] = a.Refresh
		}
	}
	for i := range p.Routes {
		add(p.Routes[i].Auth)
	}
	for i := range p.Grants {
		add(p.Grants[i].Auth)
	}
	return shortest
}

// Silences says whether the operator does not want to be asked about a refused
// request.
func (p *Policy) Silences(host string, port int, path string) bool {
	_, yes := p.SilencedBy(host, port, path)
	return yes
}

// SilencedBy returns the last entry for which Silences is true.
func (p *Policy) SilencedBy(host string, port int, path string) (Silence, bool) {
	for _, s := range slices.Backward(p.Silenced) {
		if s.Pattern == "" && s.Host == host && (s.Port == 0 || s.Port == port) && below(path, s.Path) {
			return s, true
		}
	}
	return Silence{}, false
}

// maxWhy bounds the reason of a Silence, in bytes: there may be many of them.
const maxWhy = 400

// Why returns a reason as one line of a Silence, cut short where it is long.
func Why(reason string) string {
	line := strings.Join(strings.Fields(strings.ToValidUTF8(reason, "")), " ")
	if len(line) > maxWhy {
		line = strings.ToValidUTF8(line[:maxWhy-3], "") + "..."
	}
	return line
}

// SilencesPattern says whether the operator does not want to be asked about what
// one of pipelock's patterns finds.
func (p *Policy) SilencesPattern(pattern, host, path string) bool {
	return slices.ContainsFunc(p.Silenced, func(s Silence) bool {
		return s.Pattern == pattern && s.Host == host && below(path, s.Path)
	})
}
