// Package policy says what a bottle may ask of the outside: its routes, their
// file form, and the judgement of one request against them. It is pure: no
// I/O, no clock, no lookup. It does not enforce anything; sidecars do.
package policy

import (
	"fmt"
	"strings"
)

// Schemes a route may have.
const (
	HTTPS = "https"
	HTTP  = "http"
)

// Route is one place that a bottle may reach. Its fields are canonical: Host is
// as RouteHost returns it, Scheme is https or http, Port is 1 to 65535.
type Route struct {
	Host   string
	Scheme string
	Port   int
}

// Policy is what a bottle may reach. The zero Policy allows nothing.
type Policy struct {
	Routes []Route
}

// Request is what an agent asks for, as far as a judgement needs it. Host is
// canonical (CanonicalHost); Path is the raw path without the query.
type Request struct {
	Scheme string
	Host   string
	Port   int
	Method string
	Path   string
}

// Verdict is the judgement of one request. Reason is a line for the agent, and
// empty where the request is allowed.
type Verdict struct {
	Allow  bool
	Reason string
}

// NewRoute returns the https route for a host as an operator wrote it.
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
func (r Route) Wildcard() bool { return strings.Contains(r.Host, "*") }

// Decide judges q: a route allows it whose host, scheme and port are those of
// the request. Where no route does, the reason names the nearest miss.
func Decide(p Policy, q Request) Verdict {
	var sameHost, samePort bool
	for _, r := range p.Routes {
		if r.Host != q.Host || r.Wildcard() {
			continue
		}
		if r.Port == q.Port && r.Scheme == q.Scheme {
			return Verdict{Allow: true}
		}
		sameHost = true
		samePort = samePort || r.Port == q.Port
	}
	switch {
	case !sameHost:
		return deny("%s is not on this bottle's allowlist", q.Host)
	case samePort || q.Port == DefaultPort(q.Scheme):
		return deny("%s is not on this bottle's allowlist for %s", q.Host, q.Scheme)
	}
	return deny("port %d of %s is not on this bottle's allowlist", q.Port, q.Host)
}

// NamesPort says whether any route has this port, whatever its host.
func (p Policy) NamesPort(port int) bool {
	for _, r := range p.Routes {
		if r.Port == port {
			return true
		}
	}
	return false
}

func deny(format string, args ...any) Verdict {
	return Verdict{Reason: fmt.Sprintf(format, args...)}
}
