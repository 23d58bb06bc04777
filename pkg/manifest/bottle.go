package manifest

import (
	"fmt"
	"slices"
	"time"

	"gopkg.in/yaml.v3"

	"bottle/pkg/policy"
)

// policyFile is what bottles/NAME.md says.
type policyFile struct {
	env         []EnvVar
	routes      []Route
	credentials []Credential
	git         Git
	model       policy.Model
	maxBody     int64
	askTimeout  time.Duration
	runtime     string
	supervise   bool
	pipelock    Pipelock
	warnings    []string
}

func parseBottle(name string, data []byte) (policyFile, error) {
	p := policyFile{runtime: RuntimeAuto, supervise: true,
		git: Git{Push: Push{Refs: defaultRefs, MaxSize: defaultMaxPush}}}
	f, err := split(name, data)
	if err != nil {
		return p, err
	}
	keys := map[string]key{}
	keys["pipelock"] = key{read: func(n *yaml.Node) error { return p.readPipelock(f, n) }}
	keys["git"] = key{read: func(n *yaml.Node) error { return p.readGit(f, n) }}
	keys["env"] = key{read: func(n *yaml.Node) (err error) { p.env, err = f.env(n); return err }}
	keys["egress"] = key{read: func(n *yaml.Node) error { return p.egress(f, n) }}
	keys["supervise"] = key{read: func(n *yaml.Node) (err error) { p.supervise, err = f.truth(n, `"supervise"`); return err }}
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
	keys := map[string]key{}
	ask, timeout := false, policy.DefaultAskTimeout
	keys["on_deny"] = key{read: func(n *yaml.Node) error { return checked(f, n, `"on_deny"`, &ask, policy.ParseOnDeny) }}
	keys["ask_timeout"] = key{read: func(n *yaml.Node) error { return checked(f, n, `"ask_timeout"`, &timeout, policy.ParseAskTimeout) }}
	keys["model"] = key{read: func(n *yaml.Node) error { return p.readModel(f, n) }}
	keys["max_body"] = key{read: func(n *yaml.Node) error { return checked(f, n, `"max_body"`, &p.maxBody, policy.ParseSize) }}
	keys["routes"] = key{read: func(n *yaml.Node) error { return p.readRoutes(f, n) }}
	keys["credentials"] = key{read: func(n *yaml.Node) error { return p.readCredentials(f, n) }}
	err := f.mapping(n, `"egress"`, keys)
	if ask {
		p.askTimeout = timeout
	}
	return err
}

func (p *policyFile) warn(f *file, line int, format string, args ...any) {
	p.warnings = append(p.warnings, fmt.Sprintf("%s:%d: ", f.name, line)+fmt.Sprintf(format, args...))
}
