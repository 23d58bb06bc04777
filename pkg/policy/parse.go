package policy

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"gopkg.in/yaml.v3"
)

// Bounds of a policy file; nobody reads more.
const (
	maxEntries = 10_000 // routes, and grants, and silenced ones
	maxPaths   = 1_000  // of one entry
	maxMethods = 40
)

// Parse reads a policy file:
//
//	routes:
//	  - host: api.github.com
//	    path_allowlist: [/repos/ada/engine]  # default: the whole host
//	    methods: [GET, POST]                 # default: all
//	    auth: {scheme: Bearer, credential: env:GITHUB_TOKEN}  # or {header: x-api-key, …}; refresh: 45m
//	  - host: mirror.example.com
//	    scheme: http                         # default https
//	    port: 8080                           # default 443, or 80 for http
//	    private: true                        # it may resolve to private addresses
//	    foreign_credentials: refuse          # default allow
//	    scan: {allow: [{rule: jwt, path: /login}], oversize: stream}  # default: nothing, block
//	    model: anthropic                     # the API of the agent's model; default none
//	grants:                                  # as routes, and:
//	  - id: egress-block-k3zq
//	    host: docs.example.com
//	    expires: 2026-11-24T09:30:00Z        # default: the bottle's life
//	    uses: 1                              # how many requests; default: any number
//	    rule: jwt                            # an exception for this rule of the scanner; it opens nothing
//	    scanner: pipelock                    # whose rule it is; default egress' own
//	silenced:
//	  - {host: telemetry.example.com, path: /v1}         # and a port; default: any. With pattern: what pipelock finds
//	given:                                   # what the agent itself holds
//	  - {name: NPM_TOKEN, credential: env:NPM_TOKEN, hosts: [packages.example.com]}
//	model: {server_tools: [web_search], url_sources: false}  # default: none, false
//	max_body: 33554432                       # bytes that are scanned of a body; this is the default
//	on_deny: ask                             # what is not allowed is held for the operator; default reject
//	ask_timeout: 30s                         # for so long, 1s to 10m; this is the default
//
// It is strict: an unknown, repeated or missing key and a wrong type are errors
// that name the line. What comes out is canonical: Parse(Render(p)) is p.
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

func parsePolicy(n *yaml.Node) (p Policy, err error) {
	found, ask, timeout := false, false, DefaultAskTimeout
	err = eachKey(n, func(key string, v *yaml.Node) (err error) {
		switch key {
		case "routes":
			found = true
			p.Routes, err = list(v, key, maxEntries, parseRoute)
		case "grants":
			p.Grants, err = list(v, key, maxEntries, parseGrant)
		case "silenced":
			p.Silenced, err = list(v, key, maxEntries, parseSilence)
		case "given":
			p.Given, err = list(v, key, maxEntries, parseGiven)
		case "model":
			p.Model, err = parseModel(v)
		case "max_body":
			p.MaxBody, err = parsed(v, key, ParseSize)
		case "on_deny":
			ask, err = parsed(v, key, ParseOnDeny)
		case "ask_timeout":
			timeout, err = parsed(v, key, ParseAskTimeout)
		default:
			err = errUnknownKey
		}
		return err
	})
	if err == nil && !found {
		err = fmt.Errorf("line %d: the key routes is missing", n.Line)
	}
	if ask {
		p.AskTimeout = timeout
	}
	ids := map[string]bool{}
	for _, g := range p.Grants {
		if err == nil && ids[g.ID] {
			err = fmt.Errorf("the grant %s is there twice", g.ID)
		}
		ids[g.ID] = true
	}
	if err != nil {
		return Policy{}, err
	}
	return p, nil
}

func parseRoute(n *yaml.Node) (Route, error) {
	r := Route{Scheme: HTTPS}
	err := eachKey(n, func(key string, v *yaml.Node) error { return r.set(key, v) })
	if err != nil {
		return Route{}, err
	}
	return r, r.complete(n.Line)
}

func parseGrant(n *yaml.Node) (Grant, error) {
	g := Grant{Route: Route{Scheme: HTTPS}}
	err := eachKey(n, func(key string, v *yaml.Node) (err error) {
		switch key {
		case "id":
			if g.ID, err = text(v, key); err == nil {
				err = CheckID(g.ID)
			}
		case "expires":
			g.Expires, err = instant(v, key)
		case "uses":
			g.Uses, err = uses(v)
		case "rule":
			g.Rule, err = text(v, key)
		case "scanner":
			if g.Scanner, err = text(v, key); err == nil && g.Scanner != Pipelock {
				err = fmt.Errorf("scanner %q is not %s", g.Scanner, Pipelock)
			}
		default:
			err = g.set(key, v)
		}
		return err
	})
	if err == nil {
		err = g.checkRule(n.Line)
	}
	switch {
	case err != nil:
		return Grant{}, err
	case g.ID == "":
		return Grant{}, fmt.Errorf("line %d: a grant has no id", n.Line)
	}
	return g, g.complete(n.Line)
}

// checkRule says what is wrong with the rule of a grant.
func (g *Grant) checkRule(line int) error {
	err := error(nil)
	switch {
	case g.Scanner == "" && g.Rule != "":
		err = CheckRule(g.Rule)
	case g.Scanner != "" && g.Uses > 0:
		err = errors.New("pipelock counts no uses")
	case g.Scanner != "":
		err = CheckPattern(g.Rule)
	}
	if err != nil {
		return fmt.Errorf("line %d: %w", line, err)
	}
	return nil
}

func parseSilence(n *yaml.Node) (s Silence, err error) {
	err = eachKey(n, func(key string, v *yaml.Node) (err error) {
		var word string
		if word, err = text(v, key); err != nil {
			return err
		}
		switch key {
		case "host":
			s.Host, err = RouteHost(word)
		case "port":
			s.Port, err = ParsePort(word)
		case "path":
			s.Path, err = word, CheckPrefix(word)
		case "pattern":
			s.Pattern, err = word, CheckPattern(word)
		case "reason":
			if s.Reason = Why(word); s.Reason != word {
				err = fmt.Errorf("line %d: the reason is not one line of at most %d bytes with single blanks", v.Line, maxWhy)
			}
		default:
			err = errUnknownKey
		}
		return err
	})
	if err == nil && (s.Host == "" || s.Path == "") {
		err = fmt.Errorf("line %d: what is silenced needs a host and a path", n.Line)
	}
	return s, err
}

func parseGiven(n *yaml.Node) (g Given, err error) {
	err = eachKey(n, func(key string, v *yaml.Node) (err error) {
		switch key {
		case "name":
			if g.Name, err = text(v, key); err == nil {
				err = CheckCredential(g.Name)
			}
		case "credential":
			if g.Credential, err = text(v, key); err == nil {
				err = CheckCredential(g.Credential)
			}
		case "hosts":
			g.Hosts, err = list(v, key, maxPaths, func(n *yaml.Node) (string, error) {
				h, err := text(n, "a host")
				if err != nil {
					return "", err
				}
				return RouteHost(h)
			})
		default:
			err = errUnknownKey
		}
		return err
	})
	if err == nil && (g.Name == "" || g.Credential == "") {
		err = fmt.Errorf("line %d: what is given needs a name and a credential", n.Line)
	}
	return g, err
}

// set reads one key of an entry.
func (r *Route) set(key string, v *yaml.Node) (err error) {
	var word string
	switch key {
	case "path_allowlist":
		r.Paths, err = list(v, key, maxPaths, func(n *yaml.Node) (string, error) {
			p, err := text(n, "a path")
			if err == nil {
				err = CheckPrefix(p)
			}
			return p, err
		})
	case "methods":
		r.Methods, err = list(v, key, maxMethods, func(n *yaml.Node) (string, error) {
			m, err := text(n, "a method")
			if err != nil {
				return "", err
			}
			return ParseMethod(m)
		})
	case "auth":
		r.Auth, err = parseAuth(v)
	case "private":
		r.Private, err = truth(v, key)
	case "foreign_credentials":
		r.RefuseForeign, err = parsed(v, key, ParseForeign)
	case "scan":
		r.Scan, err = parseScan(v)
	case "model":
		if r.Model, err = text(v, key); err == nil {
			err = CheckModelAPI(r.Model)
		}
	case "host", "scheme", "port":
		if word, err = text(v, key); err != nil {
			return err
		}
		switch key {
		case "host":
			r.Host, err = RouteHost(word)
		case "scheme":
			r.Scheme, err = ParseScheme(word)
		case "port":
			r.Port, err = ParsePort(word)
		}
	default:
		err = errUnknownKey
	}
	return err
}

// complete fills in the defaults.
func (r *Route) complete(line int) error {
	if r.Host == "" {
		return fmt.Errorf("line %d: a route has no host", line)
	}
	if r.Port == 0 {
		r.Port = DefaultPort(r.Scheme)
	}
	if r.Model == "" { // it is looked into whoever wrote the entry
		r.Model = ModelAt(r)
	}
	return nil
}

func parseAuth(n *yaml.Node) (a Auth, err error) {
	err = eachKey(n, func(key string, v *yaml.Node) error {
		word, err := text(v, key)
		if err != nil {
			return err
		}
		switch key {
		case "scheme":
			a.Scheme, err = word, CheckAuthScheme(word)
		case "header":
			a.Header, err = ParseHeader(word)
		case "credential":
			a.Credential, err = word, CheckCredential(word)
		case "refresh":
			a.Refresh, err = ParseRefresh(word)
		default:
			err = errUnknownKey
		}
		return err
	})
	switch {
	case err != nil:
		return Auth{}, err
	case (a.Scheme == "") == (a.Header == ""):
		return Auth{}, errors.New("auth needs a scheme or a header, one of them")
	case a.Credential == "":
		return Auth{}, errors.New("auth needs a credential")
	}
	return a, nil
}

// ParseForeign reads the word that says what becomes of credentials which the
// bottle was not given: allow or refuse. It returns whether they are refused.
func ParseForeign(word string) (refuse bool, err error) {
	if word != "allow" && word != "refuse" {
		return false, fmt.Errorf("foreign_credentials %q is neither allow nor refuse", word)
	}
	return word == "refuse", nil
}

func instant(v *yaml.Node, what string) (time.Time, error) {
	word, err := text(v, what)
	if err != nil {
		return time.Time{}, err
	}
	t, err := time.Parse(time.RFC3339, word)
	if t = t.UTC().Truncate(time.Second); err != nil || t.Year() < 1 || t.Year() > 9999 || t.IsZero() {
		return time.Time{}, fmt.Errorf("%s %q is no time as 2026-01-02T15:04:05Z is", what, word)
	}
	return t, nil
}

func uses(v *yaml.Node) (int64, error) {
	word, err := text(v, "uses")
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil || n < 1 || n > MaxUses || strconv.FormatInt(n, 10) != word {
		return 0, fmt.Errorf("uses %q is not a number from 1 to %d", word, MaxUses)
	}
	return n, nil
}

func truth(v *yaml.Node, what string) (bool, error) {
	if v.Kind != yaml.ScalarNode || v.Value != "true" && v.Value != "false" {
		return false, fmt.Errorf("%s is neither true nor false", what)
	}
	return v.Value == "true", nil
}

// text reads one word as it was written: YAML's numbers are text here.
func text(v *yaml.Node, what string) (string, error) {
	if v.Kind != yaml.ScalarNode || v.Tag == "!!null" || v.Value == "" {
		return "", fmt.Errorf("%s is not text", what)
	}
	return v.Value, nil
}

// parsed reads one word and takes it apart.
func parsed[T any](v *yaml.Node, what string, parse func(string) (T, error)) (t T, err error) {
	word, err := text(v, what)
	if err != nil {
		return t, err
	}
	return parse(word)
}

// list reads the items of a list.
func list[T any](v *yaml.Node, what string, most int, read func(*yaml.Node) (T, error)) ([]T, error) {
	switch {
	case v.Kind != yaml.SequenceNode:
		return nil, fmt.Errorf("%s is not a list", what)
	case len(v.Content) > most:
		return nil, fmt.Errorf("%s: there are more than %d", what, most)
	case len(v.Content) == 0:
		return nil, nil
	}
	items := make([]T, 0, len(v.Content))
	for _, n := range v.Content {
		item, err := read(n)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

var errUnknownKey = errors.New("unknown key")

// lineError is an error that names its line already.
type lineError struct{ error }

// eachKey calls f for each key of a mapping and adds line and key to its error.
func eachKey(n *yaml.Node, f func(key string, v *yaml.Node) error) error {
	if n.Kind != yaml.MappingNode {
		return lineError{fmt.Errorf("line %d: this is not a mapping of keys to values", n.Line)}
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if seen[k.Value] {
			return lineError{fmt.Errorf("line %d: the key %q stands here twice", k.Line, k.Value)}
		}
		seen[k.Value] = true
		err := f(k.Value, n.Content[i+1])
		switch {
		case err == nil:
		case errors.As(err, new(lineError)):
			return err
		case errors.Is(err, errUnknownKey):
			return lineError{fmt.Errorf("line %d: unknown key %q", k.Line, k.Value)}
		default:
			return lineError{fmt.Errorf("line %d: %w", n.Content[i+1].Line, err)}
		}
	}
	return nil
}
