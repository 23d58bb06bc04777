package manifest

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"bottle/pkg/policy"
)

func (p *policyFile) readRoutes(f *file, n *yaml.Node) error {
	var lines []int
	return f.list(n, `"routes"`, func(item *yaml.Node) error {
		r, err := f.route(item)
		if err != nil {
			return err
		}
		twice := slices.IndexFunc(p.routes, func(o Route) bool { return o.Route.Equal(r.Route) })
		if twice >= 0 {
			return f.err(item.Line, "host %s is there already in this way, in line %d", r.Host, lines[twice])
		}
		lines = append(lines, item.Line)
		p.question(f, item.Line, r)
		p.routes = append(p.routes, r)
		return nil
	})
}

// question warns about what is allowed, but hardly meant.
func (p *policyFile) question(f *file, line int, r Route) {
	if r.Wildcard() {
		p.warn(f, line, "%s matches no host: hosts are matched exactly", r.Host)
	}
	for _, path := range r.Paths {
		if strings.Contains(path, "*") {
			p.warn(f, line, "the * in %s is an ordinary character: paths are prefixes", path)
		}
	}
	if r.Auth.Set() && r.Scheme == policy.HTTP {
		p.warn(f, line, "the credential for %s goes over the network in clear: its scheme is http", r.Host)
	}
}

// route reads one route.
func (f *file) route(n *yaml.Node) (Route, error) {
	r := Route{Route: policy.Route{Scheme: policy.HTTPS}, Where: fmt.Sprintf("%s:%d", f.name, n.Line)}
	if n.Kind != yaml.MappingNode {
		return r, f.wrong(n, "a route", "keys and values (- host: NAME)")
	}
	keys := map[string]key{}
	put := func(name string, read func(*yaml.Node) error) {
		keys[name] = key{read: func(n *yaml.Node) error {
			r.Keys = append(r.Keys, name)
			return read(n)
		}}
	}
	put("host", func(n *yaml.Node) (err error) { r.Host, err = f.host(n); return err })
	put("path_allowlist", func(n *yaml.Node) (err error) {
		r.Paths, err = f.words(n, `"path_allowlist"`, "a path", prefix)
		return err
	})
	put("methods", func(n *yaml.Node) (err error) {
		r.Methods, err = f.words(n, `"methods"`, "a method", policy.ParseMethod)
		return err
	})
	put("auth", func(n *yaml.Node) (err error) {
		r.Auth, r.Ref, err = f.auth(n, `"auth"`, nil)
		r.Auth.Credential = r.Ref.Name()
		return err
	})
	put("private", func(n *yaml.Node) (err error) { r.Private, err = f.truth(n, `"private"`); return err })
	put("scheme", func(n *yaml.Node) error { return checked(f, n, `"scheme"`, &r.Scheme, policy.ParseScheme) })
	put("port", func(n *yaml.Node) error { return checked(f, n, `"port"`, &r.Port, policy.ParsePort) })
	put("foreign_credentials", func(n *yaml.Node) error {
		return checked(f, n, `"foreign_credentials"`, &r.RefuseForeign, policy.ParseForeign)
	})
	put("scan", func(n *yaml.Node) (err error) { r.Scan, err = f.scan(n); return err })
	if err := f.mapping(n, "a route", keys); err != nil {
		return r, err
	}
	if r.Host == "" {
		return r, f.err(n.Line, `a route needs a "host"`)
	}
	if r.Port == 0 {
		r.Port = policy.DefaultPort(r.Scheme)
	}
	return r, nil
}

func prefix(s string) (string, error) { return s, policy.CheckPrefix(s) }

// host reads a host of the operator's.
func (f *file) host(n *yaml.Node) (string, error) {
	host, err := f.text(n, `"host"`)
	if err != nil {
		return "", err
	}
	canonical, err := policy.RouteHost(host)
	if err != nil {
		return "", f.err(n.Line, "%q cannot be a route's host: %v", host, err)
	}
	return canonical, nil
}

// checked reads a scalar through check.
func checked[T any](f *file, n *yaml.Node, what string, into *T, check func(string) (T, error)) error {
	word, err := f.scalar(n, what)
	if err != nil {
		return err
	}
	if *into, err = check(word); err != nil {
		return f.err(n.Line, "%s: %v", what, err)
	}
	return nil
}
