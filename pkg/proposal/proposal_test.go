package proposal

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/policy"
)

var now = time.Date(2026, 11, 24, 9, 0, 0, 123456789, time.UTC)

var rules = Rules{Credentials: []Credential{
	{Name: "docs", Hosts: []string{"docs.example.com"}, Auth: policy.Auth{Scheme: "Bearer", Credential: "docs"}},
	{Name: "other", Hosts: []string{"other.example.com"}, Auth: policy.Auth{Scheme: "Bearer", Credential: "other"}},
}}

func ask(e bottle.EgressAsk) bottle.Proposal {
	return bottle.Proposal{Kind: bottle.EgressBlock, Justification: "for the docs", Egress: &e}
}

func made(t *testing.T, p bottle.Proposal) bottle.Proposal {
	t.Helper()
	p, err := Make(p, rules, now)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// every is one proposal of each kind that can be made.
func every(t *testing.T) []bottle.Proposal {
	a, b := strings.Repeat("a", 40), strings.Repeat("b", 40)
	return []bottle.Proposal{
		made(t, ask(bottle.EgressAsk{Host: "Docs.Example.com.", Paths: []string{"/a", "/a", "/b"}, Methods: []string{"get"}, Credential: "docs", Seconds: 60})),
		made(t, bottle.Proposal{Kind: bottle.EgressDenied, Egress: &bottle.EgressAsk{Host: "telemetry.example.com", Paths: []string{"/v1"}, Methods: []string{"POST"}}}),
		made(t, bottle.Proposal{Kind: bottle.DLPBlock, Justification: "a test key", Exception: &bottle.ExceptionAsk{Rule: "jwt", Host: "docs.example.com", Path: "/login"}}),
		made(t, bottle.Proposal{Kind: bottle.DLPBlock, Exception: &bottle.ExceptionAsk{Rule: "JWT Token", Host: "docs.example.com", Path: "/login", Scanner: "pipelock"}}),
		made(t, bottle.Proposal{Kind: bottle.CapabilityBlock, Justification: "jq", Capability: &bottle.CapabilityAsk{Dockerfile: "FROM bottle\nRUN apt-get install -y jq\n"}}),
		made(t, bottle.Proposal{Kind: bottle.GitPush, Push: &bottle.PushAsk{Remote: "origin", Updates: []bottle.PushUpdate{{Ref: "refs/heads/x", Old: a, New: b}}}}),
	}
}

func TestWhatIsMadeIsReadAgain(t *testing.T) {
	for _, p := range every(t) {
		got, err := Parse(Encode(p), p.Source, p.ID)
		if err != nil || ID(got) != p.ID || CheckID(p.ID) != nil {
			t.Errorf("%s: %v", p.ID, err)
		}
		if s := Summary(got); s == "" || strings.Contains(s, "\n") {
			t.Errorf("%s: summary %q", p.ID, s)
		}
	}
}

// S5: what was shown is what an ID means.
func TestAProposalThatWasChangedIsNotRead(t *testing.T) {
	for _, p := range every(t) {
		whole := string(Encode(p))
		for name, changed := range map[string]string{
			"text":    strings.Replace(whole, `"created_at":"2026`, `"created_at":"2027`, 1),
			"field":   strings.Replace(whole, `{"id"`, `{"more":1,"id"`, 1),
			"payload": strings.NewReplacer("/a", "/c", "/v1", "/v2", "/login", "/logout", "jq", "nc", "refs/heads/x", "refs/heads/y").Replace(whole),
			"slug":    strings.Replace(whole, `{"id"`, `{"slug":"dev-aaaa","id"`, 1),
			"long":    whole + strings.Repeat(" ", MaxSize),
		} {
			if _, err := Parse([]byte(changed), p.Source, p.ID); err == nil {
				t.Errorf("%s with another %s was read", p.Kind, name)
			}
		}
		if _, err := Parse([]byte(whole), "agent", p.ID); err == nil {
			t.Errorf("%s was taken from another sidecar", p.Kind)
		}
	}
}

// A sidecar that somebody took over has the right hash, and no more.
func TestWhatMakeWouldNotMakeIsNotRead(t *testing.T) {
	for name, p := range map[string]bottle.Proposal{
		"another form": {Kind: bottle.EgressDenied, Source: Egress, Egress: &bottle.EgressAsk{Host: "A.example", Scheme: "https", Port: 443}},
		"an address":   {Kind: bottle.EgressDenied, Source: Egress, Egress: &bottle.EgressAsk{Host: "10.0.0.1", Scheme: "https", Port: 443}},
		"a wrong kind": {Kind: bottle.DLPBlock, Source: Egress, Egress: &bottle.EgressAsk{Host: "a.example", Scheme: "https", Port: 443}},
		"two payloads": {Kind: bottle.EgressDenied, Source: Egress, Egress: &bottle.EgressAsk{Host: "a.example", Scheme: "https", Port: 443}, Push: &bottle.PushAsk{}},
		"another's":    {Kind: bottle.EgressBlock, Source: Egress, Justification: "x", Egress: &bottle.EgressAsk{Host: "a.example", Scheme: "https", Port: 443}},
	} {
		p.CreatedAt = now.Truncate(time.Millisecond)
		p.ID = ID(p)
		if _, err := Parse(Encode(p), p.Source, p.ID); err == nil {
			t.Errorf("%s was read", name)
		}
	}
}

// S13: names that the manifest declares for that host, and nothing else.
func TestCredentialsAreAskedForByTheNamesOfTheirHost(t *testing.T) {
	for _, name := range []string{"other", "nonsuch", "env:HOME", "cmd:cat /etc/passwd", "file:/etc/shadow", "DOCS"} {
		_, err := Make(ask(bottle.EgressAsk{Host: "docs.example.com", Credential: name}), rules, now)
		if err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if _, err := Make(ask(bottle.EgressAsk{Host: "docs.example.com", Credential: "other"}), rules, now); !strings.Contains(err.Error(), "there is docs") {
		t.Errorf("the names that exist are not told: %v", err)
	}
}

func TestWhatCannotBeAskedForIsRefused(t *testing.T) {
	for name, p := range map[string]bottle.Proposal{
		"an address":         ask(bottle.EgressAsk{Host: "0x7f.1"}),
		"a path with dots":   ask(bottle.EgressAsk{Host: "a.example", Paths: []string{"/a/../b"}}),
		"a relative path":    ask(bottle.EgressAsk{Host: "a.example", Paths: []string{"a"}}),
		"CONNECT":            ask(bottle.EgressAsk{Host: "a.example", Methods: []string{"CONNECT"}}),
		"no justification":   {Kind: bottle.EgressBlock, Egress: &bottle.EgressAsk{Host: "a.example"}},
		"a book":             {Kind: bottle.EgressBlock, Justification: strings.Repeat("x", MaxJustification+1), Egress: &bottle.EgressAsk{Host: "a.example"}},
		"for ever":           ask(bottle.EgressAsk{Host: "a.example", Seconds: 1 << 40}),
		"ADD":                {Kind: bottle.CapabilityBlock, Justification: "x", Capability: &bottle.CapabilityAsk{Dockerfile: "FROM bottle\nADD https://a.example /x\n"}},
		"a foreign FROM":     {Kind: bottle.CapabilityBlock, Justification: "x", Capability: &bottle.CapabilityAsk{Dockerfile: "FROM debian\n"}},
		"pipelock, no host":  {Kind: bottle.PipelockBlock, Justification: "x"},
		"no pipelock":        {Kind: bottle.PipelockBlock, Justification: "x", Pipelock: &bottle.PipelockAsk{Host: "a.example"}},
		"no kind":            {Kind: "x"},
		"another scanner":    {Kind: bottle.DLPBlock, Justification: "x", Exception: &bottle.ExceptionAsk{Rule: "jwt", Host: "a.example", Path: "/", Scanner: "x"}},
		"a pattern of signs": {Kind: bottle.DLPBlock, Exception: &bottle.ExceptionAsk{Rule: "a*", Host: "a.example", Path: "/", Scanner: "pipelock"}},
		"a glob":             {Kind: bottle.DLPBlock, Exception: &bottle.ExceptionAsk{Rule: "a", Host: "a.example", Path: "/*", Scanner: "pipelock"}},
		"a rule with spaces": {Kind: bottle.DLPBlock, Justification: "x", Exception: &bottle.ExceptionAsk{Rule: "a b", Host: "a.example", Path: "/"}},
	} {
		if _, err := Make(p, rules, now); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestTheSameIsKnownAgain(t *testing.T) {
	a := made(t, ask(bottle.EgressAsk{Host: "a.example", Paths: []string{"/x"}}))
	b := ask(bottle.EgressAsk{Host: "A.example", Paths: []string{"/x"}})
	b.Justification = "in other words"
	b, err := Make(b, rules, now.Add(time.Hour))
	if err != nil || !Same(a, b) || a.ID == b.ID {
		t.Errorf("%v, %s, %s", err, a.ID, b.ID)
	}
	if Same(a, made(t, ask(bottle.EgressAsk{Host: "a.example", Paths: []string{"/y"}}))) {
		t.Error("another path is the same")
	}
}

// S12: the diff is what the policy gets, and what it gets allows what was shown.
func TestTheDiffIsWhatIsEnforced(t *testing.T) {
	base, err := policy.Parse([]byte("routes:\n- {host: a.example, path_allowlist: [/repos], methods: [GET], auth: {scheme: Bearer, credential: \"env:A\"}, private: true, foreign_credentials: refuse}\n"))
	if err != nil {
		t.Fatal(err)
	}
	p := made(t, ask(bottle.EgressAsk{Host: "a.example", Paths: []string{"/admin"}, Methods: []string{"POST"}}))
	c, err := Approve(p, Context{Policy: base, Rules: rules, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	after := c.Apply(base)
	got := string(policy.Render(after))
	want := string(policy.Render(base)) + "grants:\n" + strings.ReplaceAll("\n"+c.Diff, "\n+", "\n")[1:]
	if got != want {
		t.Errorf("the policy is\n%s, shown was\n%s", got, c.Diff)
	}
	if g := after.Grants[0]; g.Auth.Credential != "env:A" || !g.Private || !g.RefuseForeign {
		t.Errorf("the grant is handled otherwise than its host: %+v", g)
	}
	for request, allow := range map[string]bool{"GET /repos/x": true, "POST /admin": true, "POST /repos/x": false, "GET /admin": false} {
		method, path, _ := strings.Cut(request, " ")
		v := policy.Decide(after, policy.Request{Scheme: "https", Host: "a.example", Port: 443, Method: method, Path: path, Now: now})
		if v.Allow != allow {
			t.Errorf("%s: %v", request, v.Allow)
		}
	}
	if again := c.Apply(after); len(again.Grants) != 1 {
		t.Error("a change that is carried out twice adds twice")
	}
	without, err := Approve(p, Context{Policy: base, Rules: rules, Now: now, Terms: Terms{NoCredential: true}})
	if err != nil || without.Grant.Auth.Set() {
		t.Errorf("the credential goes all the same: %v", err)
	}
}

func TestWhatIsAllowedAlreadyIsNotAdded(t *testing.T) {
	base, err := policy.Parse([]byte("routes:\n- {host: a.example, path_allowlist: [/a]}\n- {host: a.example, path_allowlist: [/b], methods: [GET]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		paths, methods []string
		already        string
	}{
		{[]string{"/a/x"}, nil, "route 1"},
		{[]string{"/a/x", "/b"}, []string{"GET"}, "route 1 route 2"},
		{[]string{"/a/x", "/b"}, nil, ""},
		{nil, []string{"GET"}, ""},
		{[]string{"/ab"}, nil, ""},
	} {
		got, err := Approve(made(t, ask(bottle.EgressAsk{Host: "a.example", Paths: c.paths, Methods: c.methods})), Context{Policy: base, Now: now})
		if err != nil || strings.Join(got.Already, " ") != c.already || (got.Grant == nil) != (c.already != "") || (got.Diff == "") != (c.already != "") {
			t.Errorf("%v %v: %q, %v", c.paths, c.methods, got.Already, err)
		}
	}
}

func TestTermsSayHowLong(t *testing.T) {
	minute, life := time.Minute, time.Duration(0)
	p := made(t, ask(bottle.EgressAsk{Host: "a.example", Seconds: 3600}))
	for _, c := range []struct {
		terms Terms
		end   time.Duration // after now, rounded up; 0: none
	}{{Terms{}, time.Hour}, {Terms{For: &minute}, time.Minute}, {Terms{For: &life, Uses: 3}, 0}} {
		got, err := Approve(p, Context{Now: now, Terms: c.terms})
		if err != nil || got.Grant.Uses != c.terms.Uses || got.Grant.Expires.IsZero() != (c.end == 0) {
			t.Fatalf("%+v: %+v, %v", c.terms, got.Grant, err)
		}
		if d := got.Grant.Expires.Sub(now); c.end > 0 && (d < c.end || d > c.end+time.Second) {
			t.Errorf("%v instead of %v", d, c.end)
		}
	}
}

func TestNarrowingNeverWidens(t *testing.T) {
	p := made(t, ask(bottle.EgressAsk{Host: "a.example", Paths: []string{"/a"}, Methods: []string{"GET", "POST"}}))
	n, err := Narrow(p, []string{"/a/b"}, []string{"get"})
	if err != nil || !slices.Equal(n.Egress.Paths, []string{"/a/b"}) || !slices.Equal(n.Egress.Methods, []string{"GET"}) || n.ID == p.ID {
		t.Errorf("%+v, %v", n.Egress, err)
	}
	for _, c := range [][2][]string{{{"/"}, nil}, {{"/ab"}, nil}, {nil, {"PUT"}}, {{"/a/../b"}, nil}} {
		if _, err := Narrow(p, c[0], c[1]); err == nil {
			t.Errorf("%v is narrower", c)
		}
	}
	if p.Egress.Paths[0] != "/a" {
		t.Error("the first one was changed")
	}
}

func TestARejectedRefusalIsSilenced(t *testing.T) {
	for _, p := range every(t) {
		c := Reject(p, "")
		if (p.Source == Egress) != (c.Silence != nil) { // what nobody asked for
			t.Errorf("%s: %+v", p.Kind, c.Silence)
		}
		switch {
		case p.Kind == bottle.DLPBlock && c.Silence != nil:
			if after := c.Apply(policy.Policy{}); !after.SilencesPattern("JWT Token", "docs.example.com", "/login") || c.Diff == "" {
				t.Errorf("%+v", after)
			}
		case c.Silence != nil:
			after := c.Apply(policy.Policy{})
			if !after.Silences("telemetry.example.com", 443, "/v1/x") || after.Silences("telemetry.example.com", 443, "/v2") || c.Diff == "" {
				t.Errorf("%+v", after)
			}
		}
	}
}

func TestARejectedPortSilencesThatPort(t *testing.T) {
	c := Reject(made(t, bottle.Proposal{Kind: bottle.EgressDenied, Egress: &bottle.EgressAsk{Host: "a.example", Port: 8443}}), "use the\nmirror")
	after := c.Apply(policy.Policy{})
	if !after.Silences("a.example", 8443, "/") || after.Silences("a.example", 443, "/") || !strings.Contains(c.Diff, "8443") || after.Silenced[0].Reason != "use the mirror" {
		t.Errorf("%+v\n%s", after.Silenced, c.Diff)
	}
}

// S4
func TestHostsThatLookLikeOthersAreFlagged(t *testing.T) {
	for host, want := range map[string]string{"github.com": "", "gіthub.com": "MIXES SCRIPTS", "раураӏ.com": "international name", "münchen.example": "international name", "日本の.example": "international name"} {
		p := made(t, ask(bottle.EgressAsk{Host: host}))
		if got := Suspicion(p.Egress.Host); got != want {
			t.Errorf("%s: %q", host, got)
		}
		if s := Summary(p); !strings.Contains(s, want) || strings.IndexFunc(s, func(r rune) bool { return r > 0x7f }) >= 0 {
			t.Errorf("%s is shown as %q", host, s)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, p := range []bottle.Proposal{ask(bottle.EgressAsk{Host: "a.example"}), {Kind: bottle.EgressDenied, Egress: &bottle.EgressAsk{Host: "a.example"}},
		{Kind: bottle.DLPBlock, Justification: "x", Exception: &bottle.ExceptionAsk{Rule: "jwt", Host: "a.example", Path: "/"}},
		{Kind: bottle.DLPBlock, Exception: &bottle.ExceptionAsk{Rule: "JWT Token", Host: "a.example", Path: "/", Scanner: "pipelock"}}} {
		p, err := Make(p, rules, now)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(Encode(p))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var p bottle.Proposal
		if json.Unmarshal(data, &p) != nil {
			return
		}
		p.ID = ID(p)
		got, err := Parse(Encode(p), p.Source, p.ID) // the hash is right: all else must hold
		if err != nil {
			return
		}
		again, err := Parse(Encode(got), got.Source, got.ID)
		if err != nil || Summary(again) != Summary(got) {
			t.Fatalf("%v", err)
		}
		c, err := Approve(got, Context{Rules: rules, Now: now})
		if err != nil {
			return
		}
		after := c.Apply(policy.Policy{})
		back, err := policy.Parse(policy.Render(after))
		if err != nil || string(policy.Render(back)) != string(policy.Render(after)) {
			t.Fatalf("what approval makes cannot be read: %v", err)
		}
	})
}

// What is narrowed allows nothing that was not asked for.
func FuzzNarrow(f *testing.F) {
	f.Add("/a /b/c", "GET POST", "/a/x", "get", "/a/x/y", "GET")
	f.Add("", "", "/x/", "", "/x/", "PUT")
	f.Add("/login", "", "/log", "", "/login", "GET")
	f.Fuzz(func(t *testing.T, paths, methods, narrower, fewer, path, method string) {
		p, err := Make(ask(bottle.EgressAsk{Host: "a.example", Paths: strings.Fields(paths), Methods: strings.Fields(methods)}), rules, now)
		if err != nil {
			return
		}
		n, err := Narrow(p, strings.Fields(narrower), strings.Fields(fewer))
		if err != nil {
			return
		}
		allows := func(p bottle.Proposal) bool {
			c, err := Approve(p, Context{Now: now})
			if err != nil {
				t.Fatal(err)
			}
			return policy.Decide(c.Apply(policy.Policy{}), policy.Request{Scheme: "https", Host: "a.example", Port: 443, Method: method, Path: path, Now: now}).Allow
		}
		if allows(n) && !allows(p) {
			t.Errorf("%+v allows %s %s, and %+v does not", n.Egress, method, path, p.Egress)
		}
	})
}

// Where there is a pipelock, a host can be asked for on its list, for the bottle's
// life and in its one form.
func TestAHostForPipelocksList(t *testing.T) {
	with := Rules{Pipelock: true}
	for name, host := range map[string]string{"an address": "10.0.0.1", "a wildcard": "*.example", "nothing": ""} {
		if _, err := Make(bottle.Proposal{Kind: bottle.PipelockBlock, Justification: "x", Pipelock: &bottle.PipelockAsk{Host: host}}, with, now); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	p, err := Make(bottle.Proposal{Kind: bottle.PipelockBlock, Justification: "x", Pipelock: &bottle.PipelockAsk{Host: "A.Example"}}, with, now)
	if err != nil || p.Pipelock.Host != "a.example" || Summary(p) != "pipelock's list: a.example" {
		t.Fatalf("%+v, %v", p, err)
	}
	if _, err := Parse(Encode(p), p.Source, p.ID); err != nil {
		t.Error(err)
	}
	c, err := Approve(p, Context{Now: now})
	if err != nil || c.Listed != "a.example" || c.Grant != nil || c.Diff != "+a.example\n" {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := Approve(p, Context{Now: now, Terms: Terms{Uses: 1}}); err == nil {
		t.Error("it was approved for one use, which pipelock does not count")
	}
}

// What pipelock finds is egress' to ask for: what faces the agent must not.
func TestPipelocksFindingsAreAskedForByEgressAlone(t *testing.T) {
	p := made(t, bottle.Proposal{Kind: bottle.DLPBlock, Exception: &bottle.ExceptionAsk{Rule: "JWT Token", Host: "a.example", Path: "/", Scanner: "pipelock"}})
	if p.Source != Egress {
		t.Errorf("%s asks", p.Source)
	}
	p.Source = Supervise
	p.ID = ID(p)
	if _, err := Parse(Encode(p), Supervise, p.ID); err == nil {
		t.Error("supervise asks too")
	}
}
