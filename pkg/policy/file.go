package policy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// maxRoutes bounds a policy file; nobody reads more.
const maxRoutes = 10_000

// Parse reads a policy file:
//
//	routes:
//	  - host: api.github.com
//	  - host: mirror.example.com
//	    scheme: http   # default https
//	    port: 8080     # default 443, or 80 for http
//
// It is strict: an unknown, repeated or missing key and a wrong type are errors
// that name the line. Hosts come out canonical.
func Parse(data []byte) (Policy, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return Policy{}, fmt.Errorf("cannot parse the policy: %w", err)
	}
	if len(doc.Content) != 1 {
		return Policy{}, errors.New("cannot parse the policy: it is empty")
	}
	p, err := parsePolicy(doc.Content[0])
	if err != nil {
		return Policy{}, fmt.Errorf("cannot parse the policy: %w", err)
	}
	return p, nil
}

func parsePolicy(n *yaml.Node) (Policy, error) {
	var routes *yaml.Node
	err := eachKey(n, func(key string, v *yaml.Node) error {
		if key != "routes" {
			return errUnknownKey
		}
		routes = v
		return nil
	})
	switch {
	case err != nil:
		return Policy{}, err
	case routes == nil:
		return Policy{}, fmt.Errorf("line %d: the key routes is missing", n.Line)
	case routes.Kind != yaml.SequenceNode:
		return Policy{}, fmt.Errorf("line %d: routes is not a list", routes.Line)
	case len(routes.Content) > maxRoutes:
		return Policy{}, fmt.Errorf("line %d: there are more than %d routes", routes.Line, maxRoutes)
	}
	p := Policy{Routes: make([]Route, 0, len(routes.Content))}
	for _, item := range routes.Content {
		r, err := parseRoute(item)
		if err != nil {
			return Policy{}, err
		}
		p.Routes = append(p.Routes, r)
	}
	return p, nil
}

func parseRoute(n *yaml.Node) (Route, error) {
	r := Route{Scheme: HTTPS}
	err := eachKey(n, func(key string, v *yaml.Node) (err error) {
		switch key {
		case "host":
			if v.Kind != yaml.ScalarNode {
				return errors.New("host is not text")
			}
			r.Host, err = RouteHost(v.Value)
		case "scheme":
			r.Scheme, err = parseScheme(v.Value)
		case "port":
			r.Port, err = ParsePort(v.Value)
		default:
			err = errUnknownKey
		}
		return err
	})
	switch {
	case err != nil:
		return Route{}, err
	case r.Host == "":
		return Route{}, fmt.Errorf("line %d: a route has no host", n.Line)
	case r.Port == 0:
		r.Port = DefaultPort(r.Scheme)
	}
	return r, nil
}

var errUnknownKey = errors.New("unknown key")

// eachKey calls f for each key of a mapping and adds line and key to its error.
func eachKey(n *yaml.Node, f func(key string, v *yaml.Node) error) error {
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: this is not a mapping of keys to values", n.Line)
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if seen[k.Value] {
			return fmt.Errorf("line %d: the key %q stands here twice", k.Line, k.Value)
		}
		seen[k.Value] = true
		if err := f(k.Value, n.Content[i+1]); errors.Is(err, errUnknownKey) {
			return fmt.Errorf("line %d: unknown key %q", k.Line, k.Value)
		} else if err != nil {
			return fmt.Errorf("line %d: %w", k.Line, err)
		}
	}
	return nil
}

func parseScheme(s string) (string, error) {
	if s != HTTPS && s != HTTP {
		return "", fmt.Errorf("scheme %q is neither https nor http", s)
	}
	return s, nil
}

// ParsePort reads a port in its one spelling: 1 to 65535, digits only, no zero
// in front.
func ParsePort(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || s[0] == '0' || s[0] == '+' {
		return 0, fmt.Errorf("%q is not a port", s)
	}
	return int(n), nil
}

// Render writes p in the form that Parse reads, defaults left out.
func Render(p Policy) []byte {
	if len(p.Routes) == 0 {
		return []byte("routes: []\n")
	}
	var b strings.Builder
	b.WriteString("routes:\n")
	for _, r := range p.Routes {
		// Quoted: a host such as "null" or "1e3.x" must stay text, and "*" is no alias.
		fmt.Fprintf(&b, "  - host: %q\n", r.Host)
		if r.Scheme != HTTPS {
			fmt.Fprintf(&b, "    scheme: %s\n", r.Scheme)
		}
		if r.Port != DefaultPort(r.Scheme) {
			fmt.Fprintf(&b, "    port: %d\n", r.Port)
		}
	}
	return []byte(b.String())
}
