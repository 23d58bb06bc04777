package egress

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"bottle/pkg/bottle"
	"bottle/pkg/sidecar"
)

const scanRoutes = `routes:
- host: a.example
- {host: model.example, model: anthropic}
- {host: wide.example, model: anthropic, scan: {oversize: stream}}
- {host: lax.example, scan: {allow: [{rule: github-pat, path: /login}], oversize: stream}}
- {host: own.example, foreign_credentials: refuse}
- {host: keyed.example, auth: {header: x-api-key, credential: "env:KEY"}}
given:
- {name: MINE, credential: "env:MINE", hosts: [own.example]}
max_body: 64KiB
`

// aKey is a key of GitHub's form, and nobody's.
var aKey = "ghp_" + "wWPw5k4aXcaT4fNP0UcnZwJUVFk6LO0pINUx"

// scanWorld is a world with those routes, and what of its upstreams has come
// whole.
func scanWorld(t *testing.T) (w *world, arrived *atomic.Int32) {
	t.Helper()
	secrets := &sidecar.Secrets{}
	w = newWorldWith(t, Config{Secrets: secrets, Out: t.TempDir()})
	w.write(scanRoutes)
	must(t, w.s.Reload())
	secrets.Put(bottle.Secrets{Values: map[string]string{"env:KEY": keyText, "env:MINE": mine}})
	arrived = &atomic.Int32{}
	for _, host := range []string{"a", "model", "wide", "lax", "own", "keyed"} {
		w.serve(host+".example:443", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err == nil {
				arrived.Add(1)
			}
			rw.Write([]byte("fine"))
		}))
	}
	return w, arrived
}

// post sends a body; parts is how it is written: in one piece with a length, or
// chunked in pieces.
func post(t *testing.T, c *http.Client, url string, body []byte, chunked bool, header ...string) (int, http.Header, string) {
	t.Helper()
	var in io.Reader = bytes.NewReader(body)
	if chunked {
		in = io.MultiReader(bytes.NewReader(body[:len(body)/2]), bytes.NewReader(body[len(body)/2:]))
	}
	q, err := http.NewRequest("POST", url, in)
	must(t, err)
	for i := 0; i+1 < len(header); i += 2 {
		q.Header.Add(header[i], header[i+1])
	}
	r, err := c.Do(q)
	if err != nil {
		return 0, nil, err.Error()
	}
	defer r.Body.Close()
	text, _ := io.ReadAll(r.Body)
	return r.StatusCode, r.Header, string(text)
}

func zipped(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(b)
	z.Close()
	return out.Bytes()
}

func TestNoSecretLeaves(t *testing.T) {
	w, arrived := scanWorld(t)
	c := w.agent()
	long := strings.Repeat("all is well. ", 3000)
	for name, q := range map[string]struct {
		url, body string
		header    []string
	}{
		"in the body":           {"https://a.example/", "token: " + aKey, nil},
		"in a query":            {"https://a.example/?t=" + aKey, "", nil},
		"in a path":             {"https://a.example/x/" + aKey, "", nil},
		"in a header":           {"https://a.example/", "", []string{"X-Note", aKey}},
		"in a cookie":           {"https://a.example/", "", []string{"Cookie", "a=" + aKey}},
		"in a credential":       {"https://a.example/", "", []string{"Authorization", "Bearer " + aKey}},
		"in JSON":               {"https://a.example/", `{"a":[{"b":"` + aKey + `"}]}`, []string{"Content-Type", "application/json"}},
		"zipped":                {"https://a.example/", string(zipped([]byte(aKey))), []string{"Content-Encoding", "gzip"}},
		"an unknown encoding":   {"https://a.example/", "x", []string{"Content-Encoding", "rot13"}},
		"two encodings":         {"https://a.example/", string(zipped(zipped([]byte(aKey)))), []string{"Content-Encoding", "gzip, gzip"}},
		"no multipart":          {"https://a.example/", "x", []string{"Content-Type", "multipart/form-data"}},
		"two types":             {"https://a.example/", "x", []string{"Content-Type", "text/plain", "Content-Type", "application/json"}},
		"at the end of much":    {"https://a.example/", long + aKey, nil},
		"too much":              {"https://a.example/", strings.Repeat(long, 2), nil},
		"the model's host":      {"https://model.example/v1/messages", `{"messages":[{"content":"` + aKey + `"}]}`, nil},
		"our own":               {"https://a.example/", base64.StdEncoding.EncodeToString([]byte("x" + mine)), nil},
		"our own, where it may": {"https://own.example/", mine, nil},
		"our own, in another":   {"https://own.example/", "", []string{"X-Note", mine}},
		"too much for a model":  {"https://wide.example/v1/messages", `{"a":"` + strings.Repeat(long, 2) + `"}`, nil},
		"our own, injected":     {"https://keyed.example/", keyText, nil},
		"no exception's path":   {"https://lax.example/loginx", aKey, nil},
		"no exception for ours": {"https://lax.example/login", mine, nil},
		"the provider dials":    {"https://model.example/v1/messages", `{"mcp_servers":[]}`, nil},
		"encoded for the model": {"https://model.example/v1/messages", string(zipped([]byte(`{}`))), []string{"Content-Encoding", "gzip"}},
		"encoded to its files":  {"https://model.example/v1/files", string(zipped([]byte(`{}`))), []string{"Content-Encoding", "gzip"}},
		"in another alphabet":   {"https://model.example/v1/messages", `{}`, []string{"Content-Type", "application/json; charset=utf-7"}},
		"a form to the model":   {"https://model.example/v1/messages", `{}`, []string{"Content-Type", "application/x-www-form-urlencoded"}},
		"a path read otherwise": {"https://model.example/zen/%2e%2e/v1/messages", `{}`, nil},
		"a model that searches": {"https://model.example/v1/chat/completions", `{"model":"x-search-preview"}`, nil},
		"protobuf to the model": {"https://model.example/$rpc/x", "[[1]]", []string{"Content-Type", "application/json+protobuf"}},
	} {
		for _, chunked := range []bool{false, true} {
			before := arrived.Load()
			code, header, text := post(t, c, q.url, []byte(q.body), chunked && q.body != "", q.header...)
			if code != 403 || header.Get("X-Bottle-Blocked") != "dlp" || !strings.HasPrefix(text, "egress: ") || !strings.Contains(text, "example") {
				t.Errorf("%s, chunked %t: %d %s %s", name, chunked, code, header, text)
			}
			if arrived.Load() != before {
				t.Errorf("%s, chunked %t: it arrived", name, chunked)
			}
			e := w.event("request")
			doc, _ := json.Marshal(e)
			for _, secret := range []string{aKey, mine, keyText} {
				if strings.Contains(text+fmt.Sprint(header)+string(doc), secret) {
					t.Errorf("%s: the secret is in the answer or in the log: %s %s", name, text, doc)
				}
			}
			if e.Verdict != "deny" || e.Status != 403 || e.Reason == "" {
				t.Errorf("%s: event %s", name, doc)
			}
		}
	}
	for name, q := range map[string]struct {
		url, body string
		header    []string
	}{
		"harmless":               {"https://a.example/?x=1", long, nil},
		"zipped":                 {"https://a.example/", string(zipped([]byte(long))), []string{"Content-Encoding", "gzip"}},
		"our own, where it may":  {"https://own.example/", "x", []string{"X-Api-Key", mine}},
		"an exception":           {"https://lax.example/login/x", aKey, nil},
		"beyond the bound":       {"https://lax.example/", strings.Repeat(long, 4), nil},
		"to the model":           {"https://model.example/v1/messages", `{"messages":[{"content":"` + long + `"}]}`, nil},
		"nothing":                {"https://a.example/", "", nil},
		"behind the bound, ours": {"https://lax.example/", strings.Repeat("x", 64<<10) + " " + aKey, nil}, // what is told of oversize: stream
	} {
		for _, chunked := range []bool{false, true} {
			if code, _, text := post(t, c, q.url, []byte(q.body), chunked && q.body != "", q.header...); code != 200 {
				t.Errorf("%s, chunked %t: %d %s", name, chunked, code, text)
			}
		}
	}
}

func TestARefusalTellsProgramsToo(t *testing.T) {
	w, _ := scanWorld(t)
	code, header, text := post(t, w.agent(), "https://a.example/", []byte(`{"messages":[{},{"content":"`+aKey+`"}]}`), false,
		"Content-Type", "application/json", "Accept", "application/json")
	var e explanation
	if err := json.Unmarshal([]byte(text), &e); err != nil || code != 403 || header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %s %s %v", code, header, text, err)
	}
	if e.Rule != "github-pat" || e.Where != "body.messages[1].content" || e.Host != "a.example" || len(e.Fingerprint) != 12 || e.Help == "" {
		t.Errorf("%+v", e)
	}
	if ev := w.event("request"); ev.Finding != e.Rule || ev.Where != e.Where || ev.Fingerprint != e.Fingerprint {
		t.Errorf("event %+v", ev)
	}
}

// What went out before a finding must be of no use: the upstream sees the
// connection break before the body's end, however the body is framed.
func TestWhatWentOutBeforeAFindingHasNoEnd(t *testing.T) {
	w, _ := scanWorld(t)
	got := make(chan error, 1)
	w.raw("a.example:443", func(c net.Conn, r *bufio.Reader) {
		q, err := http.ReadRequest(r)
		if err == nil {
			_, err = io.Copy(io.Discard, q.Body)
		}
		got <- err
	})
	filler := strings.Repeat("x", 40<<10)
	for _, body := range []string{
		fmt.Sprintf("Content-Length: %d\r\n\r\n%s%s", len(filler)+1+len(aKey), filler, " "+aKey),
		fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", len(filler), filler, len(aKey)+1, " "+aKey),
		fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\nX-Note: %s\r\n\r\n", len(filler), filler, aKey),
	} {
		conn := w.inside("a.example")
		answer := say(t, conn, "POST / HTTP/1.1\r\nHost: a.example\r\n"+body)
		if !strings.HasPrefix(answer, "HTTP/1.1 403 ") {
			t.Errorf("%.100s: %.100q", body, answer)
		}
		if err := <-got; err == nil {
			t.Errorf("%.100s: a whole request arrived", body)
		}
	}
}

func TestAPolicyWithAnUnknownRuleIsRefused(t *testing.T) {
	w, _ := scanWorld(t)
	w.write(strings.Replace(scanRoutes, "github-pat", "github-pet", 1))
	if err := w.s.Reload(); err == nil || !strings.Contains(err.Error(), "github-pet") {
		t.Errorf("%v", err)
	}
	if a := w.applied(); !strings.Contains(a.Error, "github-pet") {
		t.Errorf("%+v", a)
	}
}

// What a request to a model is read as goes by its method and path.
func TestNoOtherMethodIsAskedOfAModel(t *testing.T) {
	w, arrived := scanWorld(t)
	for _, name := range []string{"X-HTTP-Method-Override", "X-Original-URL"} {
		status, header, got := post(t, w.agent(), "https://model.example/x", []byte("{}"), false, name, "/v1/messages")
		if status != 403 || header.Get("X-Bottle-Blocked") != "egress" || arrived.Load() != 0 {
			t.Errorf("%s: %d %s", name, status, got)
		}
	}
}

// TestTheSameHeadIsJudgedByTheSecretsOfNow sends one head again and again over one
// connection, and a secret's value comes in meanwhile.
func TestTheSameHeadIsJudgedByTheSecretsOfNow(t *testing.T) {
	w, _ := scanWorld(t)
	conn := w.inside("a.example")
	in := bufio.NewReader(conn)
	ask := func(body string) int {
		t.Helper()
		_, err := fmt.Fprintf(conn, "POST /x HTTP/1.1\r\nHost: a.example\r\nX-Note: renewed-99887766554433\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		must(t, err)
		r, err := http.ReadResponse(in, nil)
		must(t, err)
		_, err = io.Copy(io.Discard, r.Body)
		must(t, err)
		return r.StatusCode
	}
	for _, body := range []string{"hello", "hello", "again"} {
		if code := ask(body); code != 200 {
			t.Fatalf("%s: %d", body, code)
		}
	}
	if code := ask(aKey); code != 403 {
		t.Errorf("a key in the body: %d", code)
	}
	w.s.force.secrets.Put(bottle.Secrets{Values: map[string]string{"env:KEY": keyText, "env:MINE": "renewed-99887766554433"}})
	if code := ask("hello"); code != 403 {
		t.Errorf("with the new value: %d", code)
	}
}
