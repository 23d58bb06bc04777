package manifest

import (
	"fmt"
	"regexp"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"

	"bottle/pkg/policy"
	"bottle/pkg/tokenref"
)

// credentialName is what an agent may ask for by. It has no colon, so that it
// is never the name of a route's own reference.
var credentialName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,47}$`) })

func (p *policyFile) readCredentials(f *file, n *yaml.Node) error {
	return f.pairs(n, `"credentials"`, func(k, value *yaml.Node) error {
		c := Credential{Where: fmt.Sprintf("%s:%d", f.name, k.Line)}
		if !credentialName().MatchString(k.Value) {
			return f.err(k.Line, "%q is not a credential's name: [a-z0-9][a-z0-9-]*, at most 48 characters", k.Value)
		}
		more := map[string]key{"hosts": {read: func(n *yaml.Node) (err error) { c.Hosts, err = f.hosts(n); return err }}}
		var err error
		if c.Auth, c.Ref, err = f.auth(value, "credential "+k.Value, more); err != nil {
			return err
		}
		if len(c.Hosts) == 0 {
			return f.err(k.Line, `credential %s needs "hosts": where it may go`, k.Value)
		}
		c.Auth.Credential = k.Value
		p.credentials = append(p.credentials, c)
		return nil
	})
}

// auth reads how a credential is injected, and what is behind it; more are
// further keys that the mapping may have.
func (f *file) auth(n *yaml.Node, what string, more map[string]key) (a policy.Auth, ref tokenref.Ref, err error) {
	if n.Kind != yaml.MappingNode {
		return a, ref, f.wrong(n, what, "keys and values ({scheme: Bearer, token_ref: NAME})")
	}
	keys := map[string]key{}
	for name, k := range more {
		keys[name] = k
	}
	keys["scheme"] = key{read: func(n *yaml.Node) error {
		return checked(f, n, `"scheme"`, &a.Scheme, func(s string) (string, error) { return s, policy.CheckAuthScheme(s) })
	}}
	keys["header"] = key{read: func(n *yaml.Node) error { return checked(f, n, `"header"`, &a.Header, policy.ParseHeader) }}
	keys["refresh"] = key{read: func(n *yaml.Node) error { return checked(f, n, `"refresh"`, &a.Refresh, policy.ParseRefresh) }}
	keys["token_ref"] = key{read: func(n *yaml.Node) (err error) { ref, err = f.ref(n, `"token_ref"`); return err }}
	if err := f.mapping(n, what, keys); err != nil {
		return a, ref, err
	}
	switch {
	case !ref.Set():
		return a, ref, f.err(n.Line, `%s needs a "token_ref": a variable's name, file:PATH or cmd:COMMAND`, what)
	case a.Scheme == "" && a.Header == "":
		return a, ref, f.err(n.Line, `%s needs a "scheme", such as Bearer, or a "header"`, what)
	case a.Scheme != "" && a.Header != "":
		return a, ref, f.err(n.Line, `%s has a "scheme" and a "header": write one of them`, what)
	}
	return a, ref, nil
}

func (f *file) ref(n *yaml.Node, what string) (tokenref.Ref, error) {
	word, err := f.text(n, what)
	if err != nil {
		return tokenref.Ref{}, err
	}
	r, err := tokenref.Parse(word)
	if err != nil {
		return r, f.err(n.Line, "%s: %v", what, err)
	}
	return r, nil
}

func (f *file) hosts(n *yaml.Node) ([]string, error) {
	return f.words(n, `"hosts"`, "a host", func(s string) (string, error) {
		h, err := policy.RouteHost(s)
		if err == nil && strings.Contains(h, "*") {
			err = fmt.Errorf("%s matches no host: hosts are matched exactly", h)
		}
		return h, err
	})
}
