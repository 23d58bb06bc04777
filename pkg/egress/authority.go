package egress

import (
	"bytes"
	"errors"
	"strings"

	"bottle/pkg/policy"
)

// origin is whom a request is for: what the judgement, the lookup, the
// connection, the upstream's certificate and the Host header all go by. Nothing
// else decides where bytes go.
type origin struct {
	scheme string
	host   string // canonical, or as written where address is set
	port   int
	// address: the host is an IP address in some spelling; never on a list.
	address bool
}

// parseAuthority reads HOST or HOST:PORT; port is the default, or 0 where one
// must be written. User information, an empty port, two ports and ports in
// another spelling are refused.
func parseAuthority(raw []byte, scheme string, port int) (origin, error) {
	s := string(raw)
	host, digits, found := s, "", false
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
		host, digits, found = s[:i], s[i+1:], true
	}
	switch {
	case found:
		n, err := policy.ParsePort(digits)
		if err != nil {
			return origin{}, malformed("the port is no port")
		}
		port = n
	case port == 0:
		return origin{}, malformed("there is no port")
	}
	if strings.IndexByte(host, ':') >= 0 && host[0] != '[' {
		return origin{}, malformed("the host has a colon")
	}
	canonical, err := policy.CanonicalHost(host)
	if errors.Is(err, policy.ErrAddress) {
		return origin{scheme: scheme, host: strings.ToLower(host), port: port, address: true}, nil
	}
	if err != nil {
		return origin{}, malformed("the host is no host name")
	}
	return origin{scheme: scheme, host: canonical, port: port}, nil
}

// spelled says whether raw is the origin's own spelling: parseAuthority, with the
// same default port, would return the origin.
func (o *origin) spelled(raw []byte, port int) bool {
	if o.address || len(raw) < len(o.host) || string(raw[:len(o.host)]) != o.host {
		return false
	}
	rest := raw[len(o.host):]
	if len(rest) == 0 {
		return o.port == port
	}
	n, ok := decimal(rest[1:])
	return ok && rest[0] == ':' && rest[1] != '0' && n == int64(o.port)
}

// splitAbsolute splits an absolute-form target into its origin and the
// origin-form that goes upstream.
func splitAbsolute(target []byte) (origin, []byte, error) {
	i := bytes.Index(target, []byte("://"))
	if i < 0 {
		return origin{}, nil, malformed("the target is neither a path nor a URL")
	}
	var scheme string
	switch {
	case equalFold(target[:i], policy.HTTP):
		scheme = policy.HTTP
	case equalFold(target[:i], policy.HTTPS):
		scheme = policy.HTTPS
	default:
		return origin{}, nil, malformed("the scheme is neither http nor https")
	}
	rest := target[i+3:]
	end := bytes.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	o, err := parseAuthority(rest[:end], scheme, policy.DefaultPort(scheme))
	if err != nil {
		return origin{}, nil, err
	}
	path := rest[end:]
	if len(path) == 0 || path[0] == '?' {
		path = append([]byte("/"), path...)
	}
	return o, path, nil
}

// path returns a target in origin-form without its query.
func path(target []byte) []byte {
	p, _, _ := bytes.Cut(target, []byte("?"))
	return p
}
