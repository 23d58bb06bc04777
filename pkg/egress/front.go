package egress

import (
	"time"

	"bottle/pkg/policy"
)

// front is what a connection's requests may be for: it comes from the port the
// client dialled, and from CONNECT and SNI.
type front struct {
	proxy  bool    // it takes URLs and CONNECT
	scheme string  // of requests that name a path only
	port   int     // where Host names none
	bound  *origin // CONNECT or SNI said whom the connection is for
	fault  string  // every request is refused for this reason
	// streams: the connection is HTTP/2, over which clients may try to reach other
	// hosts as well. They are told to open another.
	streams bool
}

// refusal is an answer of our own.
type refusal struct {
	status int
	reason string
	// What follows is of a request that the scan refused.
	by      string // X-Bottle-Blocked; empty: egress
	form    string // Content-Type of body; empty: text
	body    []byte // empty: the reason
	finding *explanation
}

func (r *refusal) Error() string { return r.reason }

func refuse(status int, reason string) *refusal { return &refusal{status: status, reason: reason} }

// route says whom a request is for, and the target that goes upstream. All that
// names a host must name the same one; it compares what stands on the wire.
func (f front) route(q *request) (origin, []byte, *refusal) {
	if q.target[0] != '/' && string(q.target) != "*" {
		return f.absolute(q)
	}
	if q.target[0] == '*' && q.method != "OPTIONS" {
		return origin{}, nil, refuse(400, "the target * is for OPTIONS only")
	}
	if q.hosts == 0 {
		if f.bound == nil {
			return origin{}, nil, refuse(400, "there is no Host header")
		}
		return *f.bound, q.target, nil
	}
	if f.bound != nil && f.bound.scheme == f.scheme && f.bound.spelled(q.host, f.port) {
		return *f.bound, q.target, nil
	}
	o, err := parseAuthority(q.host, f.scheme, f.port)
	if err != nil {
		return origin{}, nil, refuse(400, "bad Host header: "+err.Error())
	}
	if f.bound != nil && o != *f.bound {
		status := 403
		if f.streams {
			status = 421
		}
		return o, q.target, refuse(status, "the request is for "+showHost(o.host)+", but its connection is for "+showHost(f.bound.host))
	}
	return o, q.target, nil
}

// absolute is route for a URL as the target.
func (f front) absolute(q *request) (origin, []byte, *refusal) {
	if !f.proxy {
		return origin{}, nil, refuse(400, "a URL as the target is for the proxy port only")
	}
	o, target, err := splitAbsolute(q.target)
	if err != nil {
		return origin{}, nil, refuse(400, "bad target: "+err.Error())
	}
	return o, target, sameHost(q, o)
}

// tunnel says whom a CONNECT is for.
func (f front) tunnel(q *request) (origin, *refusal) {
	if !f.proxy {
		return origin{}, refuse(400, "CONNECT is for the proxy port only")
	}
	o, err := parseAuthority(q.target, policy.HTTPS, 0)
	if err != nil {
		return origin{}, refuse(400, "bad CONNECT: "+err.Error())
	}
	return o, sameHost(q, o)
}

// sameHost refuses a Host header that differs from the target. Old clients send
// none with HTTP/1.0, and some leave CONNECT's port out.
func sameHost(q *request, o origin) *refusal {
	if q.hosts == 0 {
		return nil
	}
	port := policy.DefaultPort(o.scheme)
	if q.method == "CONNECT" {
		port = o.port
	}
	h, err := parseAuthority(q.host, o.scheme, port)
	if err != nil || h != o {
		return refuse(400, "the Host header differs from the target")
	}
	return nil
}

// judge is the policy's word on a request, before anything is looked up. What
// is allowed rests on the verdict's entry. path is raw, without the query.
func judge(p *policy.Policy, u *uses, q *request, o origin, path string) (policy.Verdict, *refusal) {
	switch {
	case q.method == "TRACE":
		return policy.Verdict{}, refuse(405, "TRACE is not allowed")
	case o.address:
		return policy.Verdict{}, refuse(403, showHost(o.host)+" is an address, and only names can be on this bottle's allowlist")
	case q.upgrade && !q.wantsSocket():
		return policy.Verdict{}, refuse(403, "a change of protocol (Upgrade) other than to WebSocket is not allowed")
	case q.expect != nil && !equalFold(q.expect, "100-continue"):
		return policy.Verdict{}, refuse(417, "an expectation other than 100-continue")
	}
	v := policy.Decide(*p, policy.Request{Scheme: o.scheme, Host: o.host, Port: o.port, Method: q.method, Path: path, Now: time.Now(), Spent: u.isSpent})
	switch {
	case !v.Allow:
		return v, refuse(v.Status, v.Reason)
	case q.override != nil && (len(v.Route.Paths) > 0 || len(v.Route.Methods) > 0 || v.Route.Model != ""):
		return v, refuse(403, "the header "+printable(string(q.override))+" asks for another method or path than was judged")
	}
	return v, nil
}
