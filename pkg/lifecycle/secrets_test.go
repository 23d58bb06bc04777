package lifecycle

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bottle/pkg/agent"
	"bottle/pkg/bottle"
	"bottle/pkg/engine"
	"bottle/pkg/manifest"
	"bottle/pkg/plan"
	"bottle/pkg/policy"
	"bottle/pkg/tokenref"
)

func reference(t *testing.T, text string) tokenref.Ref {
	t.Helper()
	r, err := tokenref.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// handed is what the fake engine's containers were given over standard input.
type handed struct {
	mu   sync.Mutex
	docs []bottle.Secrets
	who  []string
	told []byte // to bottle-inside
	fail bool
}

// Write hears what bottle-inside is told.
func (h *handed) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.told = append(h.told, p...)
	return len(p), nil
}

func (h *handed) exec(name string, x engine.Exec) (int, error) {
	if len(x.Cmd) != 2 || x.Cmd[1] != "secrets" {
		if x.Stdin != nil {
			io.Copy(io.Discard, x.Stdin)
		}
		return 0, nil
	}
	var doc bottle.Secrets
	if err := json.NewDecoder(x.Stdin).Decode(&doc); err != nil {
		return 1, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.docs, h.who = append(h.docs, doc), append(h.who, name)
	if h.fail {
		io.WriteString(x.Stderr, "bottle-egress: cannot hand secrets over: nobody listens\n")
		return 1, nil
	}
	return 0, nil
}

// secretive is a lab whose bottle has a credential of egress' and one of the
// agent's own.
func secretive(t *testing.T) (*lab, *handed) {
	l, h := newLab(t), &handed{}
	l.fake.OnExec = h.exec
	l.play = func(x engine.Exec) (int, error) {
		x.Stdin = io.TeeReader(x.Stdin, h)
		return answer(x, "")
	}
	token, mine := reference(t, "TOKEN"), reference(t, "file:/keys/mine")
	l.spec.Manifest.Routes = append(l.spec.Manifest.Routes, manifest.Route{Ref: token,
		Route: policy.Route{Host: "api.github.com", Scheme: policy.HTTPS, Port: 443, Auth: policy.Auth{Scheme: "Bearer", Credential: token.Name()}}})
	l.spec.Manifest.Env = []manifest.EnvVar{{Name: "MINE", From: mine, Hosts: []string{"npm.example"}}, {Name: "EDITOR", Literal: "vi"}}
	l.spec.Secrets = map[string]string{"MINE": "value-of-mine"}
	l.spec.Credentials = map[string]string{token.Name(): "value-of-the-token"}
	return l, h
}

func TestEgressIsHandedItsValuesBeforeTheBottleRuns(t *testing.T) {
	l, h := secretive(t)
	b := l.bottle(t)
	want := map[string]string{"env:TOKEN": "value-of-the-token", reference(t, "file:/keys/mine").Name(): "value-of-mine"}
	if len(h.docs) != 1 || !maps.Equal(h.docs[0].Values, want) || h.who[0] != "bottle-"+b.Slug+"-egress-1" {
		t.Errorf("it was handed %d documents, to %q", len(h.docs), h.who)
	}
	if told := string(h.told); !strings.Contains(told, `"env":{"MINE":"value-of-mine"}`) || strings.Contains(told, "value-of-the-token") {
		t.Errorf("the session was told %s", told)
	}
	routes, err := os.ReadFile(filepath.Join(b.StateDir, "egress/in/routes.yaml"))
	if err != nil || !strings.Contains(string(routes), `credential: "env:TOKEN"`) || !strings.Contains(string(routes), `hosts: ["npm.example"]`) {
		t.Errorf("%s, %v", routes, err)
	}
	err = filepath.WalkDir(b.StateDir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), "value-of-") {
			t.Errorf("%s holds a value", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestABottleWhoseEgressTakesNoSecretsDoesNotComeUp(t *testing.T) {
	l, h := secretive(t)
	h.fail = true
	_, err := l.Up(t.Context(), l.spec, nil)
	if err == nil || !strings.Contains(err.Error(), "cannot hand egress its secrets: bottle-egress: cannot hand secrets over") || strings.Contains(err.Error(), "value-of") {
		t.Errorf("%v", err)
	}
	if left := l.fake.Left(); len(left) > 0 {
		t.Errorf("the engine still holds %q", left)
	}
}

func TestARestartedEgressIsShownAndResumed(t *testing.T) {
	l, h := secretive(t)
	b := l.bottle(t)
	status := func() bottle.Bottle {
		t.Helper()
		list, err := List(t.Context(), l.Home, l.fake)
		if err != nil || len(list) != 1 {
			t.Fatalf("%v, %v", list, err)
		}
		return list[0]
	}
	applied := filepath.Join(b.StateDir, "egress/out", appliedFile)
	say := func(text string) {
		t.Helper()
		if err := os.WriteFile(applied, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	say(`{"generation":1,"needs":["env:TOKEN","\u001b[31mred"]}`)
	if s := status(); s.Status != bottle.Degraded || s.Reason != "egress was restarted and lacks env:TOKEN: run bottle-start --resume "+b.Slug {
		t.Errorf("%s: %s", s.Status, s.Reason)
	}
	for _, hostile := range []string{"", "{", `{"needs":7}`, `[]`, strings.Repeat("x", maxApplied+1), `{"generation":2,"needs":[]}`} {
		say(hostile)
		if s := status(); s.Status != bottle.Running {
			t.Errorf("%.20q: %s: %s", hostile, s.Status, s.Reason)
		}
	}
	say(`{"generation":2,"renew_at":"` + time.Now().Add(-time.Hour).Format(time.RFC3339) + `"}`)
	if s := status(); s.Status != bottle.Degraded || !strings.Contains(s.Reason, "were to be renewed") || l.RenewAt(b.Slug).IsZero() {
		t.Errorf("aged: %s: %s", s.Status, s.Reason)
	}
	say(`{"generation":2,"silent":true}`)
	if s := status(); s.Status != bottle.Degraded || s.Reason != "pipelock does not answer: run bottle-start --resume "+b.Slug {
		t.Errorf("silent: %s: %s", s.Status, s.Reason)
	}
	say(`{"generation":2,"stale":["env:TOKEN","\u001b[31mred"]}`)
	if s := status(); s.Status != bottle.Running || !slices.Equal(s.Stale, []string{"env:TOKEN"}) || !strings.Contains(s.Note(), "refuses env:TOKEN (401)") {
		t.Errorf("refused: %+v", s)
	}
	if err := os.Remove(applied); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", applied); err != nil {
		t.Fatal(err)
	}
	if s := status(); s.Status != bottle.Running {
		t.Errorf("behind a link: %s", s.Status)
	}
	needed, err := l.Needed(b.Slug)
	mine := reference(t, "file:/keys/mine").Name()
	if err != nil || !slices.Equal(needed, []string{"env:TOKEN", mine}) {
		t.Errorf("it needs %q, %v", needed, err)
	}
	if given, err := l.Given(b.Slug); err != nil || !slices.Equal(given, []string{mine}) {
		t.Errorf("its session has %q, %v", given, err)
	}
	if err := l.Renew(t.Context(), b.Slug, needed, map[string]string{"env:TOKEN": "a-new-token"}); !errors.Is(err, ErrGiven) || !strings.Contains(err.Error(), mine) {
		t.Errorf("with a value missing: %v", err)
	}
	err = l.Renew(t.Context(), b.Slug, needed, map[string]string{"env:TOKEN": "a-new-token", mine: "mine-again", "env:OTHER": "not for it"})
	l.fake.Stop(t.Context(), plan.ContainerName(b.Slug, plan.EgressService))
	if err := l.Renew(t.Context(), b.Slug, nil, nil); !errors.Is(err, ErrNotUp) {
		t.Errorf("with egress down: %v", err)
	}
	if last := h.docs[len(h.docs)-1]; err != nil || !maps.Equal(last.Values, map[string]string{"env:TOKEN": "a-new-token", mine: "mine-again"}) {
		t.Errorf("%v", err)
	}
}

func TestAnAgentWhoseKeyEgressHasHoldsAPlaceholder(t *testing.T) {
	auth := func(a policy.Auth) manifest.Route { return own(func(r *policy.Route) { r.Auth = a }, "auth") }
	key, bearer := policy.Auth{Header: "x-api-key", Credential: "env:K"}, policy.Auth{Scheme: "Bearer", Credential: "env:K"}
	for name, c := range map[string]struct {
		spec Spec
		want string
	}{
		"a key":    {claudeSpec(t, auth(key)), "ANTHROPIC_API_KEY"},
		"a bearer": {claudeSpec(t, auth(bearer)), "ANTHROPIC_AUTH_TOKEN"},
		"no auth":  {claudeSpec(t), ""},
	} {
		env := placeholders(c.spec)
		if _, there := env[c.want]; there != (c.want != "") || len(env) > 1 {
			t.Errorf("%s: %v", name, env)
		}
	}
	s := claudeSpec(t, auth(key))
	s.Manifest.Env = []manifest.EnvVar{{Name: "ANTHROPIC_API_KEY", Literal: "mine"}}
	if env := placeholders(s); len(env) != 0 {
		t.Errorf("over the operator's own: %v", env)
	}
}

func TestAKeyThatMayTravelNowhereIsWarnedAbout(t *testing.T) {
	s := claudeSpec(t)
	s.Manifest.Env = []manifest.EnvVar{{Name: "ANTHROPIC_API_KEY", From: reference(t, "KEY"), Where: "bottles/dev.md:3"}, {Name: "OTHER", From: reference(t, "O")}}
	if w := Warnings(s); len(w) != 1 || !strings.HasPrefix(w[0], "bottles/dev.md:3: ANTHROPIC_API_KEY is refused by egress") {
		t.Errorf("%q", w)
	}
	s.Manifest.Env[0].Hosts = []string{"api.anthropic.com"}
	if w := Warnings(s); len(w) != 0 {
		t.Errorf("%q", w)
	}
	s.Agent, _ = agent.Lookup(agent.Program{Name: "shell"})
	s.Manifest.Env[0].Hosts = nil
	if w := Warnings(s); len(w) != 0 {
		t.Errorf("%q", w)
	}
}
