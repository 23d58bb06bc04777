package lifecycle

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/engine"
	"bottle/pkg/manifest"
	"bottle/pkg/plan"
	"bottle/pkg/policy"
	"bottle/pkg/spool"
)

// handTime bounds a handover to a sidecar.
const handTime = 20 * time.Second

// sidecarProgram is what takes secrets in a sidecar's container, by its own
// program: command line below /.
func sidecarProgram(service string) []string { return []string{"/bottle-" + service, "secrets"} }

// handSecrets gives egress the values of its policy, once it can serve.
func (u *bringUp) handSecrets(ctx context.Context) error {
	values := manifest.Values{Env: u.spec.Secrets, Credentials: u.spec.Credentials}
	return u.hand(ctx, u.bottle.Slug, plan.EgressService, values.ByName(u.spec.Manifest))
}

// hand gives a sidecar values over the standard input of an exec: no argv, no
// environment and no file has them.
func (m *Manager) hand(ctx context.Context, slug, service string, values map[string]string) error {
	if len(values) == 0 {
		return nil
	}
	doc, err := json.Marshal(bottle.Secrets{Values: values})
	if err != nil {
		return fmt.Errorf("cannot encode the secrets of %s", service)
	}
	ctx, cancel := context.WithTimeout(ctx, handTime)
	defer cancel()
	var said bytes.Buffer
	code, err := m.Engine.Exec(ctx, plan.ContainerName(slug, service),
		engine.Exec{Cmd: sidecarProgram(service), Stdin: bytes.NewReader(doc), Stdout: &said, Stderr: &said})
	switch {
	case err != nil:
		return fmt.Errorf("cannot hand %s its secrets: %w", service, err)
	case code != 0:
		return fmt.Errorf("cannot hand %s its secrets: %s", service, lastLine(said.String()))
	}
	return nil
}

// sessionEnv is the session's environment beyond the container's: the secrets,
// and a placeholder where egress has the credential for the agent's own host.
func sessionEnv(s Spec) map[string]string {
	env := map[string]string{}
	p, err := Policy(s)
	if err != nil {
		return s.Secrets // it was computed before, and then nothing came this far
	}
	for _, r := range p.Routes {
		if r.Auth.Set() && isOwn(s.Agent, r) {
			maps.Copy(env, s.Agent.Placeholder(r.Auth.Target()))
		}
	}
	own := func(v manifest.EnvVar) bool { return slices.Contains(s.Agent.Keys(), v.Name) }
	if slices.ContainsFunc(s.Manifest.Env, own) {
		clear(env) // the operator gave it one of its own
	}
	maps.Copy(env, s.Secrets)
	return env
}

// ErrGiven is wrapped by Resume's error for a policy that rests on a value which
// the manifest does not name any more.
var ErrGiven = errors.New("the manifest does not name it any more")

// Needed are the names of the values that a bottle's policy rests on, sorted.
func (m *Manager) Needed(slug string) ([]string, error) {
	dir := filepath.Join(m.Home.StateDir(slug), plan.EgressService, "in")
	data, err := spool.ReadFile(dir, policyFile, maxPolicy)
	if err != nil {
		return nil, fmt.Errorf("cannot read the policy of %s: %w", slug, err)
	}
	p, err := policy.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("cannot read the policy of %s: %w", slug, err)
	}
	return p.Credentials(), nil
}

// Resume hands a bottle's sidecars the values of their policies anew, after one
// was restarted. Values that the policy does not name stay where they are.
func (m *Manager) Resume(ctx context.Context, slug string, values map[string]string) error {
	if _, err := m.Home.Bottle(slug); err != nil {
		return err
	}
	lock, err := m.Home.Lock(slug)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	names, err := m.Needed(slug)
	if err != nil {
		return err
	}
	needed := map[string]string{}
	for _, name := range names {
		if values[name] == "" {
			return fmt.Errorf("the policy of %s rests on %s: %w", slug, name, ErrGiven)
		}
		needed[name] = values[name]
	}
	return m.hand(ctx, slug, plan.EgressService, needed)
}

const (
	policyFile  = "routes.yaml"
	appliedFile = "applied.json"
	maxPolicy   = 16 << 20
	maxApplied  = 256 << 10
	maxTold     = 4 // names in a reason
)

// lacking marks a running bottle whose egress says that it lacks values: it was
// restarted. What a sidecar says is its word, and no more than a word.
func lacking(b bottle.Bottle) bottle.Bottle {
	if b.Status != bottle.Running {
		return b
	}
	data, err := spool.ReadFile(filepath.Join(b.StateDir, plan.EgressService, "out"), appliedFile, maxApplied)
	if err != nil {
		return b
	}
	var a bottle.Applied
	if json.Unmarshal(data, &a) != nil || len(a.Needs) == 0 {
		return b
	}
	names := slices.DeleteFunc(a.Needs, func(s string) bool { return policy.CheckCredential(s) != nil })
	told := strings.Join(names[:min(len(names), maxTold)], ", ")
	if len(names) > maxTold || told == "" {
		told += " …"
	}
	b.Status = bottle.Degraded
	b.Reason = fmt.Sprintf("egress was restarted and lacks %s: run bottle-start --resume %s", told, b.Slug)
	return b
}
