package policy

import (
	"slices"
	"testing"
	"time"
)

const granted = `routes:
- {host: a.example, path_allowlist: [/open]}
grants:
- {id: once, host: a.example, path_allowlist: [/x], uses: 1}
- {id: more, host: a.example, path_allowlist: [/x], methods: [GET]}
- {id: keyed, host: a.example, path_allowlist: [/open/keyed], auth: {scheme: Bearer, credential: docs}}
- {id: harmless, host: a.example, path_allowlist: [/login], rule: jwt, expires: "2026-11-24T10:00:00Z"}
`

func TestAGrantIsTakenInTheOrderOfItsCost(t *testing.T) {
	p, err := Parse([]byte(granted))
	if err != nil {
		t.Fatal(err)
	}
	if back, err := Parse(Render(p)); err != nil || string(Render(back)) != string(Render(p)) {
		t.Errorf("%v\n%s", err, Render(p))
	}
	spent := func(*Grant) bool { return true }
	for _, c := range []struct {
		method, path, rule string
		spent              func(*Grant) bool
	}{
		{"GET", "/x", "grant more", nil}, // none that is counted is used up where another allows it
		{"POST", "/x", "grant once", nil},
		{"POST", "/x", "", spent},
		{"GET", "/open/x", "route 1", nil},
		{"GET", "/open/keyed", "grant keyed", nil},
		{"GET", "/login", "", nil}, // an exception opens nothing
	} {
		v := Decide(p, Request{Scheme: HTTPS, Host: "a.example", Port: 443, Method: c.method, Path: c.path, Now: time.Unix(1, 0), Spent: c.spent})
		if v.Rule() != c.rule || (v.Uses > 0) != (c.rule == "grant once") {
			t.Errorf("%s %s: %q, %q", c.method, c.path, v.Rule(), v.Reason)
		}
	}
}

func TestAnExceptionIsForItsRuleHostPathAndTime(t *testing.T) {
	p, err := Parse([]byte(granted))
	if err != nil {
		t.Fatal(err)
	}
	before, after := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC), time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		host string
		now  time.Time
		want int
	}{{"a.example", before, 1}, {"a.example", after, 0}, {"a.example", time.Time{}, 0}, {"b.example", before, 0}} {
		got := p.Exceptions(&Route{Host: c.host}, c.now, func(*Grant) bool { return false })
		if len(got) != c.want || c.want > 0 && got[0].Exception != (Exception{"jwt", "/login"}) {
			t.Errorf("%+v: %+v", c, got)
		}
	}
}

func TestAnExceptionThatIsCountedIsTakenLastAndWhileItLasts(t *testing.T) {
	p := Policy{Grants: []Grant{
		{ID: "counted", Route: Route{Host: "a.example", Paths: []string{"/a", "/b"}}, Rule: "jwt", Uses: 2},
		{ID: "spent", Route: Route{Host: "a.example"}, Rule: "jwt", Uses: 1},
		{ID: "free", Route: Route{Host: "a.example"}, Rule: "jwt"},
		{ID: "pipelock's", Route: Route{Host: "a.example"}, Rule: "jwt", Scanner: Pipelock},
	}}
	r := Route{Host: "a.example", Scan: Scan{Allow: []Exception{{Rule: "github-pat"}}}}
	var got []string
	for _, e := range p.Exceptions(&r, time.Now(), func(g *Grant) bool { return g.ID == "spent" }) {
		if e.Grant == nil {
			e.Grant = &Grant{ID: "route"}
		}
		got = append(got, e.Grant.ID+" "+e.Rule+" "+e.Path)
	}
	if want := []string{"route github-pat ", "free jwt ", "counted jwt /a", "counted jwt /b"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestUsesAndRulesAreReadStrictly(t *testing.T) {
	for _, key := range []string{"uses: 0", "uses: -1", "uses: 01", "uses: 1e3", "uses: 1000001", "uses: all", "rule: 'a b'", "rule: ''", "rule: A"} {
		if _, err := Parse([]byte("routes: []\ngrants:\n- {id: x, host: a.example, " + key + "}\n")); err == nil {
			t.Errorf("%s was read", key)
		}
	}
}

// What is silenced of pipelock's patterns is no refused request, and the other way
// round; an exception for one scanner covers none for the other.
func TestPipelocksPatternsAreApart(t *testing.T) {
	p := Policy{Silenced: []Silence{{Host: "a.example", Path: "/x", Pattern: "JWT Token"}, {Host: "b.example", Path: "/"}}}
	if !p.SilencesPattern("JWT Token", "a.example", "/x/y") || p.SilencesPattern("Other", "a.example", "/x") || p.SilencesPattern("JWT Token", "b.example", "/") ||
		p.Silences("a.example", 443, "/x") || !p.Silences("b.example", 443, "/x") {
		t.Error("one is taken for the other")
	}
	own := Grant{ID: "own", Route: Route{Host: "a.example", Scheme: HTTPS, Port: 443}, Rule: "jwt"}
	theirs := own
	theirs.ID, theirs.Scanner = "theirs", Pipelock
	if p := (Policy{Grants: []Grant{own}}); p.Covers(&theirs, time.Now()) != nil || theirs.Opens() {
		t.Error("an exception of egress' covers pipelock's")
	}
}
