package manifest

import (
	"fmt"
	"regexp"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"

	"bottle/pkg/tokenref"
)

var (
	envName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`) })
	envFrom = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\$\{([A-Za-z_][A-Za-z0-9_]*)\}$`) })
)

// Variables that bottle itself sets. An agent may change them for itself, which
// opens nothing; a manifest that sets them would only break the bottle.
var reserved = map[string]string{}

func reserve(why string, names ...string) {
	for _, n := range names {
		reserved[n] = why
	}
}

func init() {
	reserve("it leads programs to egress, the only way out",
		"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "FTP_PROXY")
	reserve("it names the bottle's own CA, the only one that egress answers with",
		"SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "REQUESTS_CA_BUNDLE", "PIP_CERT",
		"NODE_EXTRA_CA_CERTS", "NPM_CONFIG_CAFILE", "CARGO_HTTP_CAINFO", "AWS_CA_BUNDLE", "DENO_CERT")
	reserve("it is the session's own", "HOME", "USER", "LOGNAME", "TMUX", "TMUX_PANE")
}

// reason says why a manifest may not set a variable; empty: it may.
func reason(name string) string {
	upper := strings.ToUpper(name) // programs read proxies in either case
	if upper == "BOTTLE" || strings.HasPrefix(upper, "BOTTLE_") {
		return "names of this kind are bottle's own"
	}
	return reserved[upper]
}

// env reads the variables of a bottle.
func (f *file) env(n *yaml.Node) ([]EnvVar, error) {
	var vars []EnvVar
	err := f.pairs(n, `"env"`, func(k, value *yaml.Node) error {
		name := k.Value
		if !envName().MatchString(name) {
			return f.err(k.Line, "%q is not a variable's name: letters, digits and _, no digit first", name)
		}
		if why := reason(name); why != "" {
			return f.err(k.Line, "bottle sets %s itself: %s", name, why)
		}
		v, err := f.envValue(name, value)
		if err != nil {
			return err
		}
		v.Name, v.Where = name, fmt.Sprintf("%s:%d", f.name, k.Line)
		vars = append(vars, v)
		return nil
	})
	return vars, err
}

func (f *file) envValue(name string, n *yaml.Node) (v EnvVar, err error) {
	if n.Kind == yaml.MappingNode {
		keys := map[string]key{
			"from":  {read: func(n *yaml.Node) (err error) { v.From, err = f.ref(n, `"from"`); return err }},
			"hosts": {read: func(n *yaml.Node) (err error) { v.Hosts, err = f.hosts(n); return err }},
		}
		if err := f.mapping(n, "the value of "+name, keys); err != nil {
			return v, err
		}
		if !v.From.Set() {
			return v, f.err(n.Line, `the value of %s needs "from": a variable's name, file:PATH or cmd:COMMAND`, name)
		}
		return v, nil
	}
	value, err := f.scalar(n, name)
	if err != nil {
		return v, err
	}
	if m := envFrom().FindStringSubmatch(value); m != nil {
		v.From, err = tokenref.Parse(m[1])
		return v, err
	}
	if strings.Contains(value, "${") {
		return v, f.err(n.Line, "the value of %s: ${NAME} must be the whole value", name)
	}
	v.Literal = value
	return v, nil
}
