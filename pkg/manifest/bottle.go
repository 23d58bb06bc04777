package manifest

import (
	"fmt"
	"slices"

	"gopkg.in/yaml.v3"

	"bottle/pkg/policy"
)

// policyFile is what bottles/NAME.md says.
type policyFile struct {
	env      []EnvVar
	routes   []policy.Route
	runtime  string
	warnings []string
}

func parseBottle(name string, data []byte) (policyFile, error) {
	p := policyFile{runtime: RuntimeAuto}
	f, err := split(name, data)
	if err != nil {
		return p, err
	}
	keys := later("git", "supervise", "pipelock")
	keys["env"] = key{read: func(n *yaml.Node) (err error) { p.env, err = f.env(n); return err }}
	keys["egress"] = key{read: func(n *yaml.Node) error { return p.egress(f, n) }}
	keys["runtime"] = key{read: func(n *yaml.Node) (err error) { p.runtime, err = f.runtime(n); return err }}
	return p, f.mapping(f.root, "the front matter", keys)
}

func (f *file) runtime(n *yaml.Node) (string, error) {
	known := []string{RuntimeAuto, RuntimeRunc, RuntimeRunsc}
	r, err := f.text(n, `"runtime"`)
	if err == nil && !slices.Contains(known, r) {
		return "", f.err(n.Line, "unknown runtime %q%s", r, suggest(r, known))
	}
	return r, err
}

func (p *policyFile) egress(f *file, n *yaml.Node) error {
	keys := later("credentials", "model", "on_deny", "ask_timeout", "max_body")
	keys["routes"] = key{read: func(n *yaml.Node) error { return p.readRoutes(f, n) }}
	return f.mapping(n, `"egress"`, keys)
}

func (p *policyFile) readRoutes(f *file, n *yaml.Node) error {
	var lines []int
	return f.list(n, `"routes"`, func(item *yaml.Node) error {
		r, err := f.route(item)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(p.routes, r.Equal); i >= 0 {
			return f.err(item.Line, "host %s is there already, in line %d", r.Host, lines[i])
		}
		lines = append(lines, item.Line)
		if r.Wildcard() {
			p.warnings = append(p.warnings, fmt.Sprintf("%s:%d: %s matches no host: hosts are matched exactly", f.name, item.Line, r.Host))
		}
		p.routes = append(p.routes, r)
		return nil
	})
}

func (f *file) route(n *yaml.Node) (r policy.Route, err error) {
	if n.Kind != yaml.MappingNode {
		return r, f.wrong(n, "a route", "keys and values (- host: NAME)")
	}
	keys := later("path_allowlist", "methods", "auth", "private", "scheme", "port", "scan", "foreign_credentials")
	keys["host"] = key{read: func(n *yaml.Node) error {
		host, err := f.text(n, `"host"`)
		if err != nil {
			return err
		}
		if r, err = policy.NewRoute(host); err != nil {
			return f.err(n.Line, "%q cannot be a route's host: %v", host, err)
		}
		return nil
	}}
	if err := f.mapping(n, "a route", keys); err != nil {
		return r, err
	}
	if r.Host == "" {
		return r, f.err(n.Line, `a route needs a "host"`)
	}
	return r, nil
}
