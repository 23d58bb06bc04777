package policy

import (
	"fmt"
	"math/rand"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/quick"
	"time"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func on(host string, change ...func(*Route)) Route {
	r := Route{Host: host, Scheme: HTTPS, Port: 443}
	for _, f := range change {
		f(&r)
	}
	return r
}

func paths(p ...string) func(*Route)   { return func(r *Route) { r.Paths = p } }
func methods(m ...string) func(*Route) { return func(r *Route) { r.Methods = m } }

func ask(method, path string) Request {
	return Request{Scheme: HTTPS, Host: "a.com", Port: 443, Method: method, Path: path, Now: noon}
}

func TestPrefixesEndAtASegment(t *testing.T) {
	p := Policy{Routes: []Route{on("a.com", paths("/v1/ok", "/deep/"))}}
	for path, status := range map[string]int{
		"/v1/ok": 0, "/v1/ok/": 0, "/v1/ok/more": 0, "/v1/ok/%20x": 0, "/v1/ok/a..b": 0, "/v1/ok/.git": 0, "/v1/ok/...": 0, "/deep/": 0, "/deep/x": 0,
		"/v1/okay": 403, "/v1/o": 403, "/v1": 403, "/": 403, "/V1/ok": 403, "/deep": 403, "/v1/ok%20": 403, "/v1/%6fk": 403, "*": 403,
	} {
		if v := Decide(p, ask("GET", path)); v.Allow != (status == 0) || v.Status != status {
			t.Errorf("%s: %+v, want %d", path, v, status)
		}
	}
}

// twoWays are paths that some upstream reads in another way than they stand there.
var twoWays = []string{
	"/v1/ok/../admin", "/v1/ok/..", "/v1/ok/.", "/v1/ok/./x", "/v1/ok/%2e%2e/admin", "/v1/ok/%2E%2e/admin", "/v1/ok/.%2e/admin", "/v1/ok/%252e%252e/admin",
	"/v1/ok/%25252e/x", "/v1/ok/%2525252525252e/x", "/v1/ok%2fadmin", "/v1/ok/..%2fadmin", "/v1/ok/%252fadmin", "/v1/ok%5c..%5cadmin", `/v1/ok\..\admin`,
	"/v1/ok;x/admin", "/v1/ok/..;/admin", "/v1/ok/%3b/admin", "/v1/ok//admin", "//v1/ok", "/v1/ok/..%20/admin", "/v1/ok/%c0%ae%c0%ae/admin", "/v1/ok/%ff",
	"/v1/ok/%uff0e", "/v1/ok/%", "/v1/ok/%2", "/v1/ok/%zz", "/v1/ok/%ef%bc%8e%ef%bc%8e/admin", "/v1/ok/%2500", "/v1/ok/%0d%0aHost:x", "v1/ok", "",
}

func TestAmbiguousPathsAreRefusedUnderAPathAllowlist(t *testing.T) {
	narrow := Policy{Routes: []Route{on("a.com", paths("/v1/ok"))}}
	root := Policy{Routes: []Route{on("a.com", paths("/"))}}
	whole := Policy{Routes: []Route{on("a.com")}}
	for _, path := range twoWays {
		for name, p := range map[string]Policy{"narrow": narrow, "root": root} {
			if v := Decide(p, ask("GET", path)); v.Allow || v.Status != 400 {
				t.Errorf("%s %q: %+v", name, path, v)
			}
		}
		// A host that is open whole gets the bytes as they are: npm needs %2f.
		if v := Decide(whole, ask("GET", path)); !v.Allow {
			t.Errorf("whole %q: %+v", path, v)
		}
	}
}

func TestSomePathsAreRefusedEverywhere(t *testing.T) {
	p := Policy{Routes: []Route{on("a.com")}}
	for _, path := range []string{"/a%00b", "/a#b", "/a\x00b", "/a b", "/a\r\nb", "/a\x7f"} {
		if v := Decide(p, ask("GET", path)); v.Allow || v.Status != 400 {
			t.Errorf("%q: %+v", path, v)
		}
	}
}

func TestEntriesAreNotMerged(t *testing.T) {
	p := Policy{Routes: []Route{on("a.com", paths("/repos"), methods("GET"))},
		Grants: []Grant{{ID: "g1", Route: on("a.com", paths("/admin"), methods("POST"))}}}
	for _, c := range []struct{ method, path, rule, reason string }{
		{"GET", "/repos/x", "route 1", ""},
		{"POST", "/admin", "grant g1", ""},
		{"POST", "/repos", "", "POST is not on this bottle's allowlist for a.com/repos"},
		{"GET", "/admin/x", "", "GET is not on this bottle's allowlist for a.com/admin/x"},
		{"GET", "/other", "", "/other of a.com is not on this bottle's allowlist"},
		{"get", "/repos", "", "get is not on this bottle's allowlist for a.com/repos"},
	} {
		v := Decide(p, ask(c.method, c.path))
		if v.Allow != (c.reason == "") || v.Rule() != c.rule || v.Reason != c.reason {
			t.Errorf("%s %s: %+v (%s)", c.method, c.path, v, v.Rule())
		}
	}
}

func TestTheFirstEntryThatAllowsDecides(t *testing.T) {
	auth := func(r *Route) { r.Auth = Auth{Scheme: "Bearer", Credential: "env:T"} }
	p := Policy{Routes: []Route{on("a.com", paths("/x"), auth), on("a.com")}}
	if v := Decide(p, ask("GET", "/x/y")); v.Rule() != "route 1" || !v.Route.Auth.Set() {
		t.Errorf("%+v", v)
	}
	if v := Decide(p, ask("GET", "/z")); v.Rule() != "route 2" || v.Route.Auth.Set() {
		t.Errorf("%+v", v)
	}
}

func TestGrantsEnd(t *testing.T) {
	p := Policy{Grants: []Grant{{ID: "g", Route: on("a.com"), Expires: noon}}}
	q := ask("GET", "/")
	q.Now = noon.Add(-time.Second)
	if v := Decide(p, q); !v.Allow || !v.Expires.Equal(noon) {
		t.Errorf("a second before its end: %+v", v)
	}
	for _, now := range []time.Time{noon, noon.Add(time.Hour), {}} {
		q.Now = now
		if v := Decide(p, q); v.Allow || !strings.Contains(v.Reason, "ended at 2026-11-24T12:00:00Z") {
			t.Errorf("at %v: %+v", now, v)
		}
		if p.Reaches(HTTPS, "a.com", 443, now) {
			t.Errorf("at %v it is still reached", now)
		}
	}
	q.Host = "b.com"
	if v := Decide(p, q); strings.Contains(v.Reason, "ended") {
		t.Errorf("another host: %+v", v)
	}
}

func TestViewIsARowAHost(t *testing.T) {
	later := noon.Add(time.Hour)
	p := Policy{
		Routes: []Route{on("a.com", paths("/x"), methods("GET"), func(r *Route) { r.Auth = Auth{Scheme: "Bearer", Credential: "env:SECRETNAME"} }),
			on("b.com"), on("*.c.com"), on("a.com", paths("/x", "/y"), methods("POST"))},
		Grants: []Grant{{ID: "1", Route: on("b.com", paths("/z")), Expires: later}, {ID: "2", Route: on("d.com", paths("/d")), Expires: later},
			{ID: "3", Route: on("e.com"), Expires: noon}, {ID: "4", Route: Route{Host: "a.com", Scheme: HTTP, Port: 8080, Paths: []string{"/x"}}}},
	}
	got := View(p, noon)
	want := []Row{
		{Host: "a.com", Origins: []string{"https://a.com", "http://a.com:8080"}, Paths: []string{"/x", "/y"}, Methods: []string{}, Auth: []string{"Bearer"}},
		{Host: "b.com", Origins: []string{"https://b.com"}, EntireHost: true, Paths: []string{}, Methods: []string{}},
		{Host: "d.com", Origins: []string{"https://d.com"}, Paths: []string{"/d"}, Methods: []string{}, Expires: &later},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if rows := View(Policy{Routes: p.Routes[:1]}, noon); !slices.Equal(rows[0].Methods, []string{"GET"}) || !slices.Equal(rows[0].PathText(), []string{"/x"}) {
		t.Errorf("%+v", rows)
	}
	if text := got[1].PathText(); !slices.Equal(text, []string{EntireHost}) {
		t.Errorf("an empty path list is shown as %q", text)
	}
}

func TestAnEntryIsALineForPeople(t *testing.T) {
	auth := func(r *Route) { r.Auth = Auth{Scheme: "Bearer", Credential: "env:SECRETNAME"} }
	for want, r := range map[string]Route{
		"a.com  ENTIRE HOST":                    on("a.com"),
		"a.com  /x /y  GET POST  [auth:Bearer]": on("a.com", paths("/x", "/y"), methods("GET", "POST"), auth),
		"http://a.com  ENTIRE HOST  [private]":  {Host: "a.com", Scheme: HTTP, Port: 80, Private: true},
		"https://a.com:8443  /x":                {Host: "a.com", Scheme: HTTPS, Port: 8443, Paths: []string{"/x"}},
		"a.com  ENTIRE HOST  [unscanned: jwt /login, npm-access-token, behind max_body]": on("a.com", func(r *Route) {
			r.Scan = Scan{Allow: []Exception{{"jwt", "/login"}, {Rule: "npm-access-token"}}, Stream: true}
		}),
		"a.com  ENTIRE HOST  [auth:x-api-key]": on("a.com", func(r *Route) { r.Auth = Auth{Header: "x-api-key", Credential: "env:K"} }),
	} {
		if got := r.Summary(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestCredentialHeadersAreKnown(t *testing.T) {
	for name, want := range map[string]bool{
		"Authorization": true, "authorization": true, "X-Api-Key": true, "x_api_key": true, "api-key": true, "PRIVATE-TOKEN": true, "Cookie": true,
		"X-Amz-Security-Token": true, "X-Auth-Key": true, "x-goog-api-key": true, "Ocp-Apim-Subscription-Key": true, "X-Forwarded-Authorization": true,
		"accept": false, "content-type": false, "anthropic-version": false, "anthropic-beta": false, "x-stainless-arch": false, "idempotency-key": false,
		"x-csrf-token": false, "user-agent": false, "x-claude-code-session-id": false, "": false, "x": false, "-": false, "if-none-match": false,
		strings.Repeat("x", 100) + "-token": true,
	} {
		if got := CarriesCredential([]byte(name)); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
	for query, want := range map[string]string{"": "", "a=b&page=2": "", "a=b&Access_Token=x": "access_token", "%6bey=AIza": "key", "x;token=1": "token", "monkey=1": ""} {
		if got := QueryCredential(query); got != want {
			t.Errorf("%q: %q, want %q", query, got, want)
		}
	}
}

// some picks one of a few values, so that generated entries and requests meet.
func some[T any](r *rand.Rand, from ...T) T { return from[r.Intn(len(from))] }

func several(r *rand.Rand, from ...string) (list []string) {
	for _, s := range from {
		if r.Intn(3) == 0 {
			list = append(list, s)
		}
	}
	return list
}

func (Route) Generate(r *rand.Rand, _ int) reflect.Value { return reflect.ValueOf(someRoute(r)) }

func someRoute(r *rand.Rand) Route {
	x := Route{Host: some(r, "a.com", "a.com", "a.com", "b.com", "null", "*.x.com", "xn--bcher-kva.example", "1e3.x"), Scheme: some(r, HTTPS, HTTPS, HTTP), Port: some(r, 443, 443, 443, 80, 8443),
		Paths: several(r, "/", "/v1", "/v1/ok", "/v1/ok/", "/repos/%40a/b", "/*", "/~x:y,z=@!'()"), Methods: several(r, "GET", "POST", "NULL", "PUT"),
		Private: r.Intn(2) == 0, RefuseForeign: r.Intn(2) == 0, Model: some(r, "", "", "anthropic")}
	x.Scan.Stream = r.Intn(4) == 0
	for range r.Intn(3) {
		x.Scan.Allow = append(x.Scan.Allow, Exception{Rule: some(r, "jwt", "null", "1e3"), Path: some(r, "", "/", "/v1/ok")})
	}
	switch r.Intn(3) {
	case 0:
		x.Auth = Auth{Scheme: some(r, "Bearer", "true", "Basic"), Credential: some(r, "env:A", "docs", "null")}
	case 1:
		x.Auth = Auth{Header: some(r, "x-api-key", "null"), Credential: "cmd:0123abcd", Refresh: some(r, 0, time.Minute, 45*time.Minute, time.Hour+time.Second)}
	}
	return x
}

func (Policy) Generate(r *rand.Rand, _ int) reflect.Value {
	var p Policy
	for range r.Intn(4) {
		p.Routes = append(p.Routes, someRoute(r))
	}
	for i := range r.Intn(4) {
		g := Grant{ID: fmt.Sprintf("g%d", i), Route: someRoute(r)}
		if r.Intn(2) == 0 {
			g.Expires = noon.Add(time.Duration(r.Intn(3)-1) * time.Second)
		}
		g.Uses, g.Rule = some(r, int64(0), 1, MaxUses), some(r, "", "jwt")
		if r.Intn(4) == 0 {
			g.Uses, g.Rule, g.Scanner = 0, "JWT Token", Pipelock
		}
		p.Grants = append(p.Grants, g)
	}
	for range r.Intn(2) {
		p.Silenced = append(p.Silenced, Silence{Host: some(r, "a.com", "yes"), Port: some(r, 0, 8443), Path: some(r, "/", "/v1"), Pattern: some(r, "", "JWT Token"),
			Reason: Why(some(r, "", "use the\n\"mirror\": é # \\ {a}", "\x1b[2J\u202e\x00\ufeff\x7f", strings.Repeat("日 ", 300)))})
	}
	for range r.Intn(2) {
		p.Given = append(p.Given, Given{Name: "KEY", Credential: some(r, "env:KEY", "file:00ff"), Hosts: several(r, "a.com", "no")})
	}
	p.Model = Model{ServerTools: several(r, "web_search", "mcp"), URLSources: r.Intn(2) == 0}
	p.MaxBody = some(r, int64(0), 1<<10, 123456, 1<<30)
	p.AskTimeout = some(r, 0, time.Second, DefaultAskTimeout, 90*time.Second, maxAskTimeout)
	return reflect.ValueOf(p)
}

func (Request) Generate(r *rand.Rand, _ int) reflect.Value {
	words := []string{"/", "v1", "ok", "repos", "..", ".", "%2e", "%2f", ";", "a", "%40a", "b", "x", "//", "%25", "2e"}
	path := "/"
	for range r.Intn(6) {
		path += some(r, words...)
		if r.Intn(2) == 0 {
			path += "/"
		}
	}
	return reflect.ValueOf(Request{Scheme: some(r, HTTPS, HTTPS, HTTP), Host: some(r, "a.com", "a.com", "a.com", "b.com", "null", "*.x.com"),
		Port:   some(r, 443, 443, 443, 80, 8443),
		Method: some(r, "GET", "POST", "PUT", "DELETE"), Path: path, Now: noon})
}

var often = &quick.Config{MaxCount: 20_000}

func TestRenderThenParseIsTheIdentity(t *testing.T) {
	same := func(p Policy) bool {
		q, err := Parse(Render(p))
		return err == nil && reflect.DeepEqual(p, q)
	}
	if err := quick.Check(same, &quick.Config{MaxCount: 2_000}); err != nil {
		t.Error(err)
	}
}

// What is allowed is allowed by one entry that names host, path and method.
func TestWhatIsAllowedIsNamedByOneEntry(t *testing.T) {
	allowed := 0
	named := func(p Policy, q Request) bool {
		v := Decide(p, q)
		if !v.Allow {
			return v.Route == nil && v.Reason != "" && (v.Status == 403 || v.Status == 400) && v.Rule() == ""
		}
		allowed++
		r := v.Route
		if r.Host != q.Host || r.Scheme != q.Scheme || r.Port != q.Port || len(r.Methods) > 0 && !slices.Contains(r.Methods, q.Method) {
			return false
		}
		inside := slices.ContainsFunc(r.Paths, func(prefix string) bool {
			return q.Path == prefix || strings.HasPrefix(q.Path, strings.TrimSuffix(prefix, "/")+"/")
		})
		return len(r.Paths) == 0 || inside && !strings.ContainsAny(q.Path, `;\`) && !strings.Contains(q.Path+"/", "/../")
	}
	if err := quick.Check(named, often); err != nil {
		t.Error(err)
	}
	if allowed < 20 {
		t.Errorf("only %d of the generated requests were allowed: the test tries too little", allowed)
	}
}

// Adding an entry allows what that entry names, and nothing else.
func TestAddingAnEntryAllowsNothingThatNoEntryNames(t *testing.T) {
	gained := 0
	holds := func(p Policy, more Route, q Request, asGrant bool) bool {
		before := Decide(p, q).Allow
		alone := Decide(Policy{Routes: []Route{more}}, q).Allow
		wider := Policy{Routes: slices.Clone(p.Routes), Grants: slices.Clone(p.Grants)}
		if asGrant {
			wider.Grants = append(wider.Grants, Grant{ID: "more", Route: more})
		} else {
			wider.Routes = append(wider.Routes, more)
		}
		after := Decide(wider, q).Allow
		if after && !before {
			gained++
		}
		return after == (before || alone)
	}
	if err := quick.Check(holds, often); err != nil {
		t.Error(err)
	}
	if gained < 20 {
		t.Errorf("only %d additions allowed something: the test tries too little", gained)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("routes:\n- host: a.com\n- {host: b.com, scheme: http, port: 8080}\n"))
	f.Add([]byte("routes: []\n"))
	f.Add([]byte("routes:\n- host: \"*.c.com\"\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add(Render(Policy{Routes: []Route{on("a.com", paths("/x"), methods("GET"), func(r *Route) { r.Auth = Auth{Header: "x-k", Credential: "env:K"}; r.Private = true })},
		Grants: []Grant{{ID: "g", Route: on("b.com"), Expires: noon}}, Silenced: []Silence{{Host: "a.com", Path: "/x"}}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse(data)
		if err != nil {
			return
		}
		if q, err := Parse(Render(p)); err != nil || !reflect.DeepEqual(p, q) {
			if len(p.Routes)+len(q.Routes) == 0 && err == nil {
				return
			}
			t.Fatalf("%q: round trip gave\n%+v, %v, not\n%+v", data, q, err, p)
		}
	})
}

// reading is how a careless upstream reads a path: decoded, with backslashes
// for slashes, without parameters and empty segments, dots resolved.
func reading(path string, decodings int) string {
	for range decodings {
		path, _, _ = decodeAll(path)
	}
	path = strings.ReplaceAll(path, `\`, "/")
	var segments []string
	for s := range strings.SplitSeq(path, "/") {
		s, _, _ = strings.Cut(s, ";")
		switch s = strings.TrimSpace(s); s {
		case "", ".":
		case "..":
			segments = segments[:max(len(segments)-1, 0)]
		default:
			segments = append(segments, s)
		}
	}
	return "/" + strings.Join(segments, "/")
}

func decodeAll(path string) (string, bool, error) {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] == '%' && i+2 < len(path) && unhex(path[i+1]) >= 0 && unhex(path[i+2]) >= 0 {
			b.WriteByte(byte(unhex(path[i+1])<<4 | unhex(path[i+2])))
			i += 2
			continue
		}
		b.WriteByte(path[i])
	}
	return b.String(), true, nil
}

// However an upstream reads a path that was allowed, it is under the prefix.
func FuzzPathJudge(f *testing.F) {
	for _, p := range append(slices.Clone(twoWays), "/v1/ok/x", "/v1/ok/%20%41", "/v1/ok/100%25", "/v1/ok/a%23b%3fc") {
		f.Add(p)
	}
	p := Policy{Routes: []Route{on("a.com", paths("/v1/ok"))}}
	f.Fuzz(func(t *testing.T, path string) {
		if !Decide(p, ask("GET", path)).Allow {
			return
		}
		for n := range 6 {
			if read := reading(path, n); read != "/v1/ok" && !strings.HasPrefix(read, "/v1/ok/") {
				t.Fatalf("%q was allowed, and decoded %d times it is %q", path, n, read)
			}
		}
	})
}
