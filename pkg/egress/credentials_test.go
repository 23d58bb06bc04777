package egress

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/sidecar"
)

const credentialRoutes = `routes:
- {host: bearer.example, path_allowlist: [/v1], auth: {scheme: Bearer, credential: "env:TOKEN", refresh: 1h}}
- {host: bearer.example, path_allowlist: [/open]}
- {host: basic.example, auth: {scheme: Basic, credential: "env:PAIR"}}
- {host: key.example, auth: {header: x-api-key, credential: "env:KEY"}}
- {host: own.example, foreign_credentials: refuse}
- host: a.example
given:
- {name: MINE, credential: "env:MINE", hosts: [own.example]}
- {name: NOWHERE, credential: "env:NOWHERE"}
`

const (
	token   = "tok-0123456789abcdef"
	pair    = "ada:correct horse battery"
	keyText = "key-fedcba9876543210"
	mine    = "mine-00112233445566"
	nowhere = "nowhere-778899aabbcc"
)

// echo is an upstream that tells everything it was asked.
func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	for name, values := range r.Header {
		for _, v := range values {
			fmt.Fprintf(w, "%s=%s\n", name, v)
		}
	}
	fmt.Fprintf(w, "uri=%s\nbody=%s\n", r.RequestURI, body)
}

// credentialWorld is a world whose egress has those routes; values says whether
// the host has handed values over.
func credentialWorld(t *testing.T, values bool, answer http.HandlerFunc) (*world, *[]http.Header) {
	t.Helper()
	secrets := &sidecar.Secrets{}
	w := newWorldWith(t, Config{Secrets: secrets, Out: t.TempDir()})
	w.write(credentialRoutes)
	must(t, w.s.Reload())
	if values {
		secrets.Put(bottle.Secrets{Values: map[string]string{"env:TOKEN": token, "env:PAIR": pair, "env:KEY": keyText, "env:MINE": mine, "env:NOWHERE": nowhere}})
	}
	seen := &[]http.Header{}
	for _, host := range []string{"bearer.example", "basic.example", "key.example", "own.example", "a.example"} {
		w.serve(host+":443", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			w.mu.Lock()
			h := r.Header.Clone()
			h.Set("host", r.Host)
			*seen = append(*seen, h)
			w.mu.Unlock()
			answer(rw, r)
		}))
	}
	return w, seen
}

func fetch(t *testing.T, c *http.Client, method, url string, header ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	must(t, err)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	answer, err := c.Do(r)
	must(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	must(t, err)
	return answer.StatusCode, string(body)
}

func basic(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }

func TestTheInjectedCredentialTakesTheAgentsPlace(t *testing.T) {
	w, seen := credentialWorld(t, true, echo)
	c := w.agent()
	for _, r := range []struct{ url, name, want string }{
		{"https://bearer.example/v1/x", "Authorization", "Bearer " + token},
		{"https://basic.example/", "Authorization", basic(pair)},
		{"https://key.example/", "X-Api-Key", keyText},
	} {
		*seen = nil
		code, body := fetch(t, c, "GET", r.url, "Authorization", "Bearer attacker", "authorization", "second", "X-API-Key", "attacker", "Cookie", "session=attacker",
			"Private-Token", "attacker", "Accept-Encoding", "gzip", "X-Plain", "stays")
		if code != 200 || len(*seen) != 1 {
			t.Errorf("%s: %d %s", r.url, code, body)
			continue
		}
		h := (*seen)[0]
		if got := h.Values(r.name); !slices.Equal(got, []string{r.want}) || h.Get("X-Plain") != "stays" || h.Get("Accept-Encoding") != "identity" {
			t.Errorf("%s: upstream saw %v", r.url, h)
		}
		if strings.Contains(fmt.Sprint(h), "attacker") || strings.Contains(fmt.Sprint(h), "second") {
			t.Errorf("%s: a foreign credential went upstream: %v", r.url, h)
		}
		if e := w.event("request"); e.Rule == "" || strings.Contains(fmt.Sprintf("%+v", e), token) {
			t.Errorf("%s: event %+v", r.url, e)
		}
	}
}

// What a client library would clean up: other cases, underscores, nominations.
func TestNoSpellingOfTheHeaderSurvives(t *testing.T) {
	w, seen := credentialWorld(t, true, echo)
	got := say(t, w.inside("bearer.example"), "GET /v1 HTTP/1.1\r\nHost: bearer.example\r\nConnection: close, Authorization\r\nAUTHORIZATION: Bearer attacker\r\n"+
		"authorization: attacker\r\nX_API_KEY: attacker\r\nProxy-Authorization: attacker\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 200") || len(*seen) != 1 {
		t.Fatalf("%q", got)
	}
	if h := (*seen)[0]; h.Get("Authorization") != "Bearer "+token || strings.Contains(fmt.Sprint(h), "attacker") {
		t.Errorf("upstream saw %v", h)
	}
	got = say(t, w.inside("bearer.example"), "POST /v1 HTTP/1.1\r\nHost: bearer.example\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"+
		"1\r\nx\r\n0\r\nX-Api-Key: attacker\r\nX-Plain: fine\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 200") || strings.Contains(fmt.Sprint((*seen)[1]), "attacker") {
		t.Errorf("as a trailer: %q, %v", got, (*seen)[1])
	}
}

func TestCredentialsGoToTheirExactEntryOnly(t *testing.T) {
	w, seen := credentialWorld(t, true, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Location", "https://a.example/caught")
		rw.WriteHeader(307)
	})
	c := w.agent()
	// Another entry of the same host, another host after a redirect: nothing goes along.
	for _, url := range []string{"https://bearer.example/open", "https://a.example/caught"} {
		if code, _ := fetch(t, c, "GET", url); code != 307 {
			t.Errorf("%s: %d", url, code)
		}
	}
	if code, _ := fetch(t, c, "GET", "https://bearer.example/v1"); code != 307 {
		t.Errorf("the redirect was followed: %d", code)
	}
	if n := len(*seen); n != 3 {
		t.Fatalf("%d requests went out", n)
	}
	for _, h := range (*seen)[:2] {
		if strings.Contains(fmt.Sprint(h), token) {
			t.Errorf("%s saw the credential: %v", h.Get("host"), h)
		}
	}
}

func TestWithoutItsValueARouteAnswers503(t *testing.T) {
	w, seen := credentialWorld(t, false, echo)
	c := w.agent()
	for url, want := range map[string]int{"https://bearer.example/v1": 503, "https://basic.example/": 503, "https://key.example/": 503,
		"https://bearer.example/open": 200, "https://a.example/": 200, "https://own.example/": 200} {
		if code, body := fetch(t, c, "GET", url); code != want || code == 503 && !strings.Contains(body, "bottle-start --resume") {
			t.Errorf("%s: %d %s", url, code, body)
		}
	}
	// What it may have been given cannot be told from what it was not.
	if code, body := fetch(t, c, "GET", "https://own.example/", "X-Api-Key", mine); code != 503 {
		t.Errorf("%d %s", code, body)
	}
	if len(*seen) != 3 {
		t.Errorf("%d requests went out", len(*seen))
	}
	a := w.applied()
	if a.RenewAt != nil {
		t.Errorf("values that are not there are to be renewed at %v", a.RenewAt)
	}
	if want := []string{"env:KEY", "env:MINE", "env:NOWHERE", "env:PAIR", "env:TOKEN"}; !slices.Equal(a.Needs, want) {
		t.Errorf("it says that it needs %q", a.Needs)
	}
	w.s.force.secrets.Put(bottle.Secrets{Values: map[string]string{"env:TOKEN": token}})
	if code, _ := fetch(t, c, "GET", "https://bearer.example/v1"); code != 200 {
		t.Errorf("with its value: %d", code)
	}
	if a = w.applied(); a.RenewAt == nil || time.Until(*a.RenewAt) > time.Hour || time.Until(*a.RenewAt) < 59*time.Minute {
		t.Errorf("its value is to be renewed at %v", a.RenewAt)
	}
	if slices.Contains(a.Needs, "env:TOKEN") || len(a.Needs) != 4 {
		t.Errorf("it says that it needs %q", a.Needs)
	}
}

func TestForeignCredentialsAreRefusedOnTheAgentsOwnHost(t *testing.T) {
	w, seen := credentialWorld(t, true, echo)
	c := w.agent()
	for _, r := range []struct {
		code   int
		header []string
	}{
		{200, nil},
		{200, []string{"X-Api-Key", mine}},
		{200, []string{"Authorization", "Bearer " + mine}},
		{200, []string{"Authorization", basic("user:" + mine)}},
		{200, []string{"Authorization", basic(mine + ":")}},
		{200, []string{"X-Api-Key", ""}},
		{403, []string{"X-Api-Key", "attacker"}},
		{403, []string{"X-Api-Key", nowhere}},
		{403, []string{"X-Api-Key", mine, "X-Api-Key", "attacker"}},
		{403, []string{"Authorization", "Bearer attacker"}},
		{403, []string{"Authorization", "Bearer " + mine + "x"}},
		{403, []string{"Authorization", basic(mine + ":attacker")}},
		{403, []string{"Authorization", basic("attacker:pass")}},
		{403, []string{"Authorization", "Basic ???"}},
		{403, []string{"Cookie", "sid=attacker"}},
		{403, []string{"X-Auth-Token", "attacker"}},
	} {
		before := len(*seen)
		if code, body := fetch(t, c, "GET", "https://own.example/", r.header...); code != r.code || (len(*seen) > before) != (code == 200) {
			t.Errorf("%q: %d %s", r.header, code, body)
		}
	}
	for url, want := range map[string]int{"https://own.example/?api_key=attacker": 403, "https://own.example/?access_token=" + mine: 403, // in a header and nowhere else
		"https://own.example/?page=1":                 200,
		"https://key.example/?private_token=attacker": 403, "https://a.example/?api_key=attacker": 200, "https://own.example/?%6bey=attacker": 403,
		"https://own.example/?key=" + mine + "&key=attacker": 403} {
		if code, body := fetch(t, c, "GET", url); code != want {
			t.Errorf("%s: %d %s", url, code, body)
		}
	}
	// Elsewhere it is the operator's choice.
	if code, _ := fetch(t, c, "GET", "https://a.example/", "X-Api-Key", "attacker"); code != 200 {
		t.Errorf("a host without a rule: %d", code)
	}
	got := say(t, w.open(w.s.Ports().Proxy), "GET http://ada:pass@own.example/ HTTP/1.1\r\nHost: own.example\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 400") {
		t.Errorf("userinfo: %q", got)
	}
}

func TestAnEchoOfTheCredentialIsMasked(t *testing.T) {
	stars := strings.Repeat("*", len(token))
	w, _ := credentialWorld(t, true, func(rw http.ResponseWriter, r *http.Request) {
		auth := r.Header.Get("Authorization")
		rw.Header().Set("X-Echo", auth)
		flush := http.NewResponseController(rw)
		switch r.URL.Path {
		case "/v1/length":
			rw.Header().Set("Content-Length", fmt.Sprint(2*len(auth)))
			io.WriteString(rw, auth+auth)
		case "/v1/end":
			rw.Header().Set("Connection", "close")
			io.WriteString(rw, auth)
		case "/v1/pieces": // a chunk a byte: it is found across chunks and reads
			for _, b := range []byte("<" + auth + ">" + token[:8]) {
				rw.Write([]byte{b})
				flush.Flush()
			}
		default:
			fmt.Fprintf(rw, "%q %s", auth, base64.StdEncoding.EncodeToString([]byte(token)))
		}
	})
	c := w.agent()
	for path, want := range map[string]string{
		"/v1/length": "Bearer " + stars + "Bearer " + stars, "/v1/end": "Bearer " + stars, "/v1/pieces": "<Bearer " + stars + ">" + token[:8],
		"/v1/all": `"Bearer ` + stars + `" ` + strings.Repeat("*", len(base64.StdEncoding.EncodeToString([]byte(token)))),
	} {
		r, err := c.Get("https://bearer.example" + path)
		must(t, err)
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || string(body) != want || r.Header.Get("X-Echo") != "Bearer "+stars {
			t.Errorf("%s: %q, %v, header %q", path, body, err, r.Header.Get("X-Echo"))
		}
	}
	r, err := c.Get("https://basic.example/")
	must(t, err)
	body, _ := io.ReadAll(r.Body)
	r.Body.Close()
	if strings.Contains(string(body), basic(pair)[6:]) || !strings.Contains(string(body), "Basic ***") {
		t.Errorf("%q", body)
	}
}

// However a body is cut into pieces, what comes out is as long, and no secret
// is in it.
func TestMaskingDoesNotDependOnThePieces(t *testing.T) {
	secrets := [][]byte{[]byte("aabaabaabaac"), []byte("abababababab")}
	random := rand.New(rand.NewSource(1))
	for range 2000 {
		text := make([]byte, random.Intn(200))
		for i := range text {
			text[i] = "abc"[random.Intn(3)]
		}
		if len(text) > 50 {
			copy(text[random.Intn(30):], secrets[random.Intn(2)])
		}
		whole := newMasker(secrets)
		want := slices.Clone(whole.next(text, true))
		m := newMasker(secrets)
		var got []byte
		for rest := text; ; {
			n := min(len(rest), 1+random.Intn(20))
			got = append(got, m.next(rest[:n], len(rest) == n)...)
			if rest = rest[n:]; len(rest) == 0 {
				break
			}
		}
		for _, s := range secrets {
			if bytes.Contains(got, s) {
				t.Fatalf("%q is in %q", s, got)
			}
		}
		if len(got) != len(text) || len(want) != len(text) {
			t.Fatalf("%d bytes became %d", len(text), len(got))
		}
		for i := range got {
			if got[i] != text[i] && got[i] != '*' {
				t.Fatalf("%q became %q", text, got)
			}
		}
	}
}

// Whatever a header says, it passes as given only if what was given is in it.
func FuzzForeignCredential(f *testing.F) {
	for _, s := range []string{mine, "Bearer " + mine, basic("u:" + mine), basic(mine + ":"), basic(mine + ":x-oauth-basic"), "Basic", "Bearer  x", "basic " + mine} {
		f.Add(s, "a=b&key="+s)
	}
	k := &known{given: map[string][]string{"own.example": {mine}}, lacking: map[string]bool{}}
	f.Fuzz(func(t *testing.T, value, query string) {
		if k.may("other.example", value) {
			t.Fatalf("%q passes where nothing was given", value)
		}
		if !k.may("own.example", value) {
			return
		}
		holds := strings.Contains(value, mine)
		if _, rest, ok := strings.Cut(value, " "); ok {
			pair, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(rest))
			holds = holds || strings.Contains(string(pair), mine)
		}
		if !holds {
			t.Fatalf("%q passes", value)
		}
		k.queryGiven("own.example", query) // whatever it holds, it is read
	})
}

// However an answer is cut, nothing of a secret's length that is one gets through.
func FuzzMask(f *testing.F) {
	f.Add([]byte("xxsecretsecretxx"), []byte("secretsecret"), 3)
	f.Add([]byte("aaaaaaaaaaaaaaaaaaaaaaab"), []byte("aaaaaaaaaaaab"), 1)
	f.Fuzz(func(t *testing.T, text, secret []byte, step int) {
		if len(secret) < shortSecret || bytes.ContainsAny(secret, "*") {
			return
		}
		m := newMasker([][]byte{secret})
		var got []byte
		for step = 1 + max(step, 0)%40; ; {
			n := min(step, len(text))
			got = append(got, m.next(text[:n], n == len(text))...)
			if text = text[n:]; len(text) == 0 {
				break
			}
		}
		if bytes.Contains(got, secret) {
			t.Fatalf("%q is in %q", secret, got)
		}
	})
}

// A token that its upstream does not take is told of, once for each value.
func TestACredentialThatItsUpstreamRefusesIsStaleUntilANewOneComes(t *testing.T) {
	good := token
	w, _ := credentialWorld(t, true, func(rw http.ResponseWriter, r *http.Request) {
		if r.Host == "bearer.example" && r.Header.Get("Authorization") != "Bearer "+good {
			rw.WriteHeader(http.StatusUnauthorized)
		}
	})
	stale := func(want ...string) {
		t.Helper()
		if a := w.applied(); !slices.Equal(a.Stale, want) || len(a.Due) != 1 || a.Due["env:TOKEN"].IsZero() {
			t.Errorf("%+v, want %q stale", a, want)
		}
	}
	fetch(t, w.agent(), "GET", "https://bearer.example/v1/x")
	stale()
	good = "tok-of-tomorrow-42"
	fetch(t, w.agent(), "GET", "https://bearer.example/open") // no credential goes there
	stale()
	for range 3 {
		if code, _ := fetch(t, w.agent(), "GET", "https://bearer.example/v1/x"); code != 401 {
			t.Fatal(code)
		}
		stale("env:TOKEN")
	}
	w.mu.Lock()
	told := slices.DeleteFunc(slices.Clone(w.events), func(e bottle.Event) bool { return e.Kind != "secrets" || e.Status != 401 })
	w.mu.Unlock()
	if len(told) != 1 {
		t.Errorf("told %d times", len(told))
	}
	w.s.force.secrets.Put(bottle.Secrets{Values: map[string]string{"env:TOKEN": good}})
	stale()
	if code, _ := fetch(t, w.agent(), "GET", "https://bearer.example/v1/x"); code != 200 {
		t.Error(code)
	}
	stale()
}
