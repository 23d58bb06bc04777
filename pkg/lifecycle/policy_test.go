package lifecycle

import (
	"slices"
	"strings"
	"testing"

	"bottle/pkg/agent"
	"bottle/pkg/manifest"
	"bottle/pkg/policy"
)

func claudeSpec(t *testing.T, routes ...manifest.Route) Spec {
	t.Helper()
	claude, err := agent.Lookup(agent.Program{Name: "claude"})
	if err != nil {
		t.Fatal(err)
	}
	return Spec{Agent: claude, Manifest: manifest.Manifest{Routes: routes}}
}

func own(change func(*policy.Route), keys ...string) manifest.Route {
	r := policy.Route{Host: "api.anthropic.com", Scheme: policy.HTTPS, Port: 443}
	change(&r)
	return manifest.Route{Route: r, Keys: append(keys, "host")}
}

// The keys that a manifest writes for the agent's own host win; the others keep
// what the agent needs and no more.
func TestTheAgentsOwnHostIsNarrow(t *testing.T) {
	narrow := policy.Route{Host: "api.anthropic.com", Scheme: policy.HTTPS, Port: 443, Paths: []string{"/v1/messages"}, Methods: []string{"POST"}, RefuseForeign: true, Model: "anthropic"}
	with := func(change func(*policy.Route)) policy.Route {
		r := narrow
		change(&r)
		return r
	}
	other := manifest.Route{Route: policy.Route{Host: "other.example", Scheme: policy.HTTPS, Port: 443}}
	auth := policy.Auth{Header: "x-api-key", Credential: "env:KEY"}
	odd := own(func(r *policy.Route) { r.Port = 8443 })
	seen := odd.Route
	seen.Model = "anthropic"
	for name, c := range map[string]struct{ routes, want []any }{
		"no route":       {nil, []any{narrow}},
		"another host":   {[]any{other}, []any{other.Route, narrow}},
		"host alone":     {[]any{own(func(*policy.Route) {})}, []any{narrow}},
		"auth":           {[]any{own(func(r *policy.Route) { r.Auth = auth }, "auth")}, []any{with(func(r *policy.Route) { r.Auth = auth })}},
		"wider paths":    {[]any{own(func(r *policy.Route) { r.Paths = []string{"/v1"} }, "path_allowlist")}, []any{with(func(r *policy.Route) { r.Paths = []string{"/v1"} })}},
		"the whole host": {[]any{own(func(*policy.Route) {}, "path_allowlist", "methods")}, []any{with(func(r *policy.Route) { r.Paths, r.Methods = nil, nil })}},
		"anybody's key":  {[]any{own(func(*policy.Route) {}, "foreign_credentials")}, []any{with(func(r *policy.Route) { r.RefuseForeign = false })}},
		"another port":   {[]any{odd}, []any{seen, narrow}},
	} {
		var routes []manifest.Route
		for _, r := range c.routes {
			routes = append(routes, r.(manifest.Route))
		}
		p, err := Policy(claudeSpec(t, routes...))
		same := slices.EqualFunc(p.Routes, c.want, func(r policy.Route, w any) bool { return r.Equal(w.(policy.Route)) })
		if err != nil || !same {
			t.Errorf("%s: %+v, %v", name, p.Routes, err)
		}
	}
	p, _ := Policy(claudeSpec(t))
	for path, allowed := range map[string]bool{"/v1/messages": true, "/v1/messages/count_tokens": true, "/v1/files": false, "/v1/messagesx": false, "/": false} {
		q := policy.Request{Scheme: "https", Host: "api.anthropic.com", Port: 443, Method: "POST", Path: path}
		if v := policy.Decide(p, q); v.Allow != allowed {
			t.Errorf("POST %s: %+v", path, v)
		}
		q.Method = "GET"
		if policy.Decide(p, q).Allow {
			t.Errorf("GET %s is allowed", path)
		}
	}
}

// Without a key it would land at its prompt, and tell that nobody is logged in.
func TestAnAgentThatGetsAKeyFromNowhereIsToldOf(t *testing.T) {
	keyed := claudeSpec(t)
	keyed.Manifest.Env = []manifest.EnvVar{{Name: "CLAUDE_CODE_OAUTH_TOKEN", Hosts: []string{"api.anthropic.com"}}}
	for name, c := range map[string]struct {
		spec Spec
		want string
	}{
		"nothing":    {claudeSpec(t), "claude has no key: give it ANTHROPIC_API_KEY under env, or write auth on its route"},
		"a variable": {keyed, ""},
		"auth":       {claudeSpec(t, own(func(r *policy.Route) { r.Auth = policy.Auth{Header: "x-api-key", Credential: "env:KEY"} }, "auth")), ""},
	} {
		if got := strings.Join(Warnings(c.spec), "\n"); got != c.want {
			t.Errorf("%s: it warns %q, not %q", name, got, c.want)
		}
	}
}

// An agent that can do with several providers has the ones that the manifest has a
// route to, as narrow as it allows, and is told of where there is none.
func TestAnAgentWithAChoiceHasWhatTheManifestNames(t *testing.T) {
	a, err := agent.Lookup(agent.Program{Name: "opencode"})
	if err != nil {
		t.Fatal(err)
	}
	s := Spec{Agent: a}
	if p, err := Policy(s); err != nil || len(p.Routes) != 0 {
		t.Errorf("without a route: %+v, %v", p.Routes, err)
	}
	if w := Warnings(s); len(w) != 1 || !strings.Contains(w[0], "opencode has no model to ask: egress.routes needs one of api.anthropic.com, api.openai.com") {
		t.Errorf("without a route it warns %q", w)
	}
	s.Manifest.Routes = []manifest.Route{own(func(r *policy.Route) { r.Host = "api.openai.com" })}
	want := policy.Route{Host: "api.openai.com", Scheme: policy.HTTPS, Port: 443, Paths: []string{"/v1/responses", "/v1/chat/completions"},
		Methods: []string{"POST"}, RefuseForeign: true, Model: "openai"}
	if p, err := Policy(s); err != nil || len(p.Routes) != 1 || !p.Routes[0].Equal(want) {
		t.Errorf("with a route: %+v, %v", p.Routes, err)
	}
	if w := Warnings(s); len(w) != 0 {
		t.Errorf("with a route it warns %q", w)
	}
	if got := agentStart(s).Hosts; !slices.Equal(got, []string{"api.openai.com"}) {
		t.Errorf("it is told of %q", got)
	}
}

// What is asked of a model's provider is looked into, whichever agent asks.
func TestAnotherProvidersHostIsLookedInto(t *testing.T) {
	p, err := Policy(claudeSpec(t, own(func(r *policy.Route) { r.Host = "api.openai.com" }), own(func(r *policy.Route) { r.Host = "docs.example" })))
	if err != nil || p.Routes[0].Model != "openai" || p.Routes[0].Paths != nil || p.Routes[1].Model != "" {
		t.Errorf("%+v, %v", p.Routes, err)
	}
}
