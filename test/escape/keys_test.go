package escape

import (
	"strings"
	"sync"
	"testing"

	"bottle/test/rig"
)

// keys is the bottle whose routes have paths, methods and credentials.
type keys struct {
	sync.Once
	slug string
}

// Values of the operator's.
const (
	injectedValue = "injected-0123456789abcdef"
	givenValue    = "given-fedcba9876543210"
	foreignValue  = "foreign-attackers-own-key"
)

const keysBottle = `---
env:
  GIVEN: {from: OPERATORS_GIVEN, hosts: [owned.test]}
egress:
  routes:
    - {host: allowed.test, private: true}
    - {host: bücher.test, private: true}
    - {host: narrow.test, path_allowlist: [/v1/ok], methods: [GET], private: true}
    - {host: keyed.test, auth: {scheme: Bearer, token_ref: OPERATORS_TOKEN}, private: true}
    - {host: owned.test, foreign_credentials: refuse, private: true}
---
`

// keyed returns that bottle.
func (s *stage) keyed(t *testing.T) string {
	t.Helper()
	s.keys.Do(func() {
		r := s.r
		r.Write("bottles/keys.md", keysBottle)
		r.Write("agents/keys.md", "---\nbottle: keys\nprogram: shell\n---\n")
		withEnv := *r
		withEnv.Env = append(withEnv.Env, "OPERATORS_TOKEN="+injectedValue, "OPERATORS_GIVEN="+givenValue)
		slug := withEnv.Start("keys")
		s.u.Join(slug)
		s.keys.slug = slug
	})
	if s.keys.slug == "" {
		t.Fatal("the bottle with credentials did not come up")
	}
	return s.keys.slug
}

// curl asks from inside the bottle with credentials, without mending the URL.
func (s *stage) curl(t *testing.T, args ...string) string {
	t.Helper()
	out, said, _ := s.r.Inside(s.keyed(t), append([]string{"curl", http11, "-sS", "-i", "--path-as-is", "-g"}, args...)...)
	return out + said
}

// lands is the positive control: the request arrives, and it is what arrived.
func (s *stage) lands(t *testing.T, mark string, args ...string) rig.Entry {
	t.Helper()
	got := s.curl(t, args...)
	heard := s.u.Heard(mark)
	if !strings.Contains(got, " 200 OK") && !strings.Contains(got, " 307 ") || len(heard) == 0 {
		t.Fatalf("%q does not arrive, so that a refusal proves nothing: %s", args, got)
	}
	return heard[len(heard)-1]
}

// stopped wants a refusal of egress' own, and nothing at the upstream.
func (s *stage) stopped(t *testing.T, status, mark string, args ...string) {
	t.Helper()
	got := s.curl(t, args...)
	if !strings.HasPrefix(got, "HTTP/1.1 "+status+" egress: ") && !strings.Contains(got, "\nHTTP/1.1 "+status+" egress: ") || !strings.Contains(got, "X-Bottle-Blocked: egress") {
		t.Errorf("%q: %s", args, got)
	}
	if heard := s.u.Heard(mark); mark != "" && len(heard) > 0 {
		t.Errorf("%q: the internet heard %+v", args, heard[0])
	}
}

func hostSpellings(t *testing.T, s *stage) {
	for _, c := range []struct{ url, host, mark string }{
		{"https://ALLOWED.Test/e9-case", allowed, "/e9-case"},
		{"https://allowed.test./e9-dot", allowed, "/e9-dot"},
		{"https://" + foreign + "/e9-idn", foreign, "/e9-idn"},
	} {
		if e := s.lands(t, c.mark, c.url); e.Host != c.host {
			t.Errorf("%s arrived for %q", c.url, e.Host)
		}
	}
	s.lands(t, "/e9-header", "-H", "Host: Allowed.TEST.", "https://allowed.test/e9-header")
	for _, host := range []string{"allowed%2etest", "allowed.test%00", "allowed..test", "allowed.test,refused.test", "allowed.test:443:80", "[allowed.test]"} {
		s.stopped(t, "400", "/e9-bad", "-H", "Host: "+host, "https://allowed.test/e9-bad")
	}
}

// paths tries paths under the allowed prefix, which each must be refused so.
func (s *stage) paths(t *testing.T, row, status string, paths ...string) {
	t.Helper()
	if e := s.lands(t, "/v1/ok/"+row, "https://narrow.test/v1/ok/"+row); e.Path != "/v1/ok/"+row {
		t.Errorf("the path arrived as %s", e.Path)
	}
	for _, p := range paths {
		s.stopped(t, status, "", "https://narrow.test"+p)
	}
	for _, e := range s.u.Heard(narrow) {
		if e.Kind == "https" && !strings.HasPrefix(e.Path, "/v1/ok/") {
			t.Errorf("the internet heard %s", e.Path)
		}
	}
}

func dottedPaths(t *testing.T, s *stage) {
	s.paths(t, "e10", "400", "/v1/ok/../admin", "/v1/ok/..", "/v1/ok/./x", "/v1/ok/%2e%2e/admin", "/v1/ok/.%2E/admin", "/v1/ok/%252e%252e/admin", "/v1/ok/%25252e/x")
}

func slashedPaths(t *testing.T, s *stage) {
	s.paths(t, "e11", "400", "/v1/ok%2fadmin", "/v1/ok/..%2fadmin", "/v1/ok%5cadmin", `/v1/ok\..\admin`, "/v1/ok;x/admin", "/v1/ok/..;/admin", "/v1/ok//admin", "//v1/ok",
		"/v1/ok/%00")
	// Without a path allowlist the bytes pass as they are; NUL and # never do.
	for _, p := range []string{"/e11/@scope%2fname", "/e11//twice", "/e11;a=b", "/e11/..%2fup"} {
		if e := s.lands(t, p, "https://allowed.test"+p); e.Path != p {
			t.Errorf("%s arrived as %s", p, e.Path)
		}
	}
	s.stopped(t, "400", "/e11-nul", "https://allowed.test/e11-nul%00")
	s.stopped(t, "400", "/e11-hash", "--request-target", "/e11-hash#x", "https://allowed.test/")
}

func longerPath(t *testing.T, s *stage) {
	s.paths(t, "e12", "403", "/v1/okay", "/v1/ok-more", "/v1/o", "/V1/ok", "/v1/%6fk", "/")
	s.stopped(t, "403", "", "-X", "POST", "https://narrow.test/v1/ok/e12")
}

func redirect(t *testing.T, s *stage) {
	s.lands(t, "/redirect?to=https://refused.test/e13", "https://allowed.test/redirect?to=https://refused.test/e13")
	s.stopped(t, "403", "refused.test\n/e13", "-L", "https://allowed.test/redirect?to=https://refused.test/e13")
	for _, e := range s.u.Heard("/e13") {
		if e.Host == refused {
			t.Errorf("the internet heard %+v", e)
		}
	}
}

func redirectedCredential(t *testing.T, s *stage) {
	if e := s.lands(t, "to=https://allowed.test/e14", "https://keyed.test/redirect?to=https://allowed.test/e14"); !strings.Contains(strings.Join(e.Header, "\n"), injectedValue) {
		t.Fatalf("nothing is injected: %q", e.Header)
	}
	s.lands(t, "/e14", "-L", "https://keyed.test/redirect?to=https://allowed.test/e14")
	for _, e := range s.u.Heard("/e14") {
		if e.Host != keyed && strings.Contains(strings.Join(e.Header, "\n"), injectedValue) {
			t.Errorf("%s got the credential: %q", e.Host, e.Header)
		}
	}
}

func trace(t *testing.T, s *stage) {
	s.lands(t, "/e15-get", "https://keyed.test/e15-get")
	s.stopped(t, "405", "/e15-trace", "-X", "TRACE", "https://keyed.test/e15-trace")
}

func echoedCredential(t *testing.T, s *stage) {
	e := s.lands(t, "/e16", "https://keyed.test/e16")
	if !strings.Contains(strings.Join(e.Header, "\n"), injectedValue) {
		t.Fatalf("nothing is injected: %q", e.Header)
	}
	// The upstream answers with all headers that it got.
	got := s.curl(t, "https://keyed.test/e16")
	if strings.Contains(got, injectedValue) || !strings.Contains(got, "Bearer "+strings.Repeat("*", len(injectedValue))) {
		t.Errorf("the agent sees %s", got)
	}
	if got := s.curl(t, "-H", "Accept-Encoding: gzip, br", "https://keyed.test/e16-packed"); !strings.Contains(got, "Bearer ***") {
		t.Errorf("asked for it packed, the agent sees %s", got)
	}
}

func ownAuthorization(t *testing.T, s *stage) {
	e := s.lands(t, "/e17-curl", "-H", "Authorization: Bearer "+foreignValue, "-H", "authorization: Basic "+foreignValue, "-H", "X-Api-Key: "+foreignValue,
		"-b", "session="+foreignValue, "-H", "X-Plain: stays", "https://keyed.test/e17-curl")
	s.onlyInjected(t, e)
	if !strings.Contains(strings.Join(e.Header, "\n"), "X-Plain: stays") {
		t.Errorf("a header that is no credential is gone: %q", e.Header)
	}
	e = s.lands(t, "/e17-raw", "-H", "Connection: close, Authorization, X-Api-Key", "-H", "AUTHORIZATION: Bearer "+foreignValue, "-H", "aUthorization: "+foreignValue,
		"-H", "X_Api_Key: "+foreignValue, "-H", "Proxy-Authorization: "+foreignValue, "https://keyed.test/e17-raw")
	s.onlyInjected(t, e)
	// Where nothing is injected, the same headers arrive.
	if e := s.lands(t, "/e17-plain", "-H", "X-Api-Key: "+foreignValue, "https://allowed.test/e17-plain"); !strings.Contains(strings.Join(e.Header, "\n"), foreignValue) {
		t.Errorf("the control lost its header: %q", e.Header)
	}
}

func (s *stage) onlyInjected(t *testing.T, e rig.Entry) {
	t.Helper()
	all := strings.Join(e.Header, "\n")
	if strings.Contains(all, foreignValue) || strings.Count(all, "Authorization: ") != 1 || !strings.Contains(all, "Authorization: Bearer "+injectedValue) {
		t.Errorf("the upstream got %q", e.Header)
	}
}

func foreignCredential(t *testing.T, s *stage) {
	for mark, header := range map[string]string{"/e28-key": "X-Api-Key: " + givenValue, "/e28-bearer": "Authorization: Bearer " + givenValue} {
		if e := s.lands(t, mark, "-H", header, "https://owned.test"+mark); !strings.Contains(strings.Join(e.Header, "\n"), givenValue) {
			t.Errorf("what was given does not arrive: %q", e.Header)
		}
	}
	s.lands(t, "/e28-none", "https://owned.test/e28-none")
	for _, args := range [][]string{{"-H", "X-Api-Key: " + foreignValue}, {"-H", "Authorization: Bearer " + foreignValue}, {"-u", "ada:" + foreignValue},
		{"-b", "session=" + foreignValue}, {"-H", "x_api_key: " + foreignValue}, {"-H", "X-Api-Key: " + givenValue, "-H", "X-Api-Key: " + foreignValue}} {
		s.stopped(t, "403", "/e28-foreign", append(args, "https://owned.test/e28-foreign")...)
	}
	s.stopped(t, "403", "/e28-query", "https://owned.test/e28-query?api_key="+foreignValue)
	// Given for another host, it is foreign here.
	s.stopped(t, "403", "/e28-elsewhere", "-H", "X-Api-Key: "+injectedValue, "https://owned.test/e28-elsewhere")
	// Claude's own host is open for its messages alone.
	s.r.Write("bottles/model.md", "---\n---\n")
	s.r.Write("agents/model.md", "---\nbottle: model\nprogram: claude\n---\n")
	if out, said, code := s.r.Run("bottle-start", "--dry-run", "--workspace", "none", "model"); code != 0 || !strings.Contains(out, "api.anthropic.com  /v1/messages  POST") {
		t.Errorf("the preflight of Claude ended with %d: %s%s", code, out, said)
	}
}
