package egress

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"bottle/pkg/bottle"
	"bottle/pkg/policy"
)

func hello(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s %s %d", r.Method, r.Host, r.URL.RequestURI(), len(body))
}

func get(t testing.TB, c *http.Client, url string) (*http.Response, string) {
	t.Helper()
	r, err := c.Get(url)
	must(t, err)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	must(t, err)
	return r, string(body)
}

func TestAllowedRequestsArriveByEveryWay(t *testing.T) {
	w := newWorld(t)
	w.serve("a.example:443", http.HandlerFunc(hello))
	w.serve("odd.example:8443", http.HandlerFunc(hello))
	w.serve("plain.example:80", http.HandlerFunc(hello))
	c := w.agent()
	for url, want := range map[string]string{
		"https://a.example/x/y?z=%2f":    "GET a.example /x/y?z=%2f 0",
		"https://A.Example/":             "GET a.example / 0",
		"https://odd.example:8443/":      "GET odd.example:8443 / 0",
		"http://plain.example/p?q":       "GET plain.example /p?q 0",
		"http://plain.example:80/p%2f/.": "GET plain.example /p%2f/. 0",
	} {
		if r, body := get(t, c, url); r.StatusCode != 200 || body != want {
			t.Errorf("%s: %s %q", url, r.Status, body)
		}
	}
	got := say(t, w.inside("a.example"), "GET /sni HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
	if !strings.HasSuffix(got, "GET a.example /sni 0") {
		t.Errorf("by SNI: %q", got)
	}
	got = say(t, w.open(w.s.Ports().HTTP), "GET /host HTTP/1.0\r\nHost: plain.example\r\n\r\n")
	if !strings.HasSuffix(got, "GET plain.example /host 0") {
		t.Errorf("by Host: %q", got)
	}
	tunnel := w.open(w.s.Ports().Proxy)
	got = say(t, tunnel, "CONNECT plain.example:80 HTTP/1.0\r\n\r\nGET /t HTTP/1.1\r\nHost: plain.example\r\nConnection: close\r\n\r\n")
	if !strings.HasSuffix(got, "GET plain.example /t 0") {
		t.Errorf("plain HTTP inside CONNECT: %q", got)
	}
	for range 8 {
		e := w.event("request")
		if e.Verdict != "allow" || e.Status != 200 || e.Host == "" || e.Path == "" || strings.Contains(e.Path, "?") {
			t.Errorf("event %+v", e)
		}
		if e.Path == "/host" {
			break
		}
	}
}

func TestRefusalIsReadInsideTheTunnelWithoutALookup(t *testing.T) {
	w := newWorld(t)
	c := w.agent()
	const want = "egress: secret.evil.example is not on this bottle's allowlist"
	r, body := get(t, c, "https://secret.evil.example/a?b")
	if r.StatusCode != 403 || r.Status != "403 "+want || body != want+"\n" || r.Header.Get("X-Bottle-Blocked") != "egress" || r.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("%s %v %q", r.Status, r.Header, body)
	}
	e := w.event("request")
	if e.Verdict != "deny" || e.Host != "secret.evil.example" || e.Path != "/a" || e.Status != 403 || "egress: "+e.Reason != want {
		t.Errorf("event %+v", e)
	}
	for url, reason := range map[string]string{
		"http://a.example/":                           "a.example is not on this bottle's allowlist for http",
		"http://egress/":                              "egress is not on this bottle's allowlist",
		"http://127.0.0.1/":                           "127.0.0.1 is an address, and only names can be on this bottle's allowlist",
		"http://2130706433/":                          "2130706433 is an address, and only names can be on this bottle's allowlist",
		"http://[::ffff:127.0.0.1]/":                  "?::ffff:127.0.0.1? is an address, and only names can be on this bottle's allowlist",
		"http://a.example.evil.example/":              "a.example.evil.example is not on this bottle's allowlist",
		"https://" + strings.Repeat("a.", 100) + "b/": strings.Repeat("a.", 100) + "b is not on this bottle's allowlist",
	} {
		r, body := get(t, c, url)
		if r.StatusCode != 403 || body != "egress: "+reason+"\n" {
			t.Errorf("%s: %s %q", url, r.Status, body)
		}
	}
	req, _ := http.NewRequest("HEAD", "https://secret.evil.example/", nil)
	if r, err := c.Do(req); err != nil || r.StatusCode != 403 {
		t.Errorf("HEAD: %v %v", r, err)
	}
	r, err := c.Post("https://secret.evil.example/", "text/plain", strings.NewReader(strings.Repeat("x", 3<<20)))
	must(t, err)
	r.Body.Close()
	if r.StatusCode != 403 {
		t.Errorf("a large POST: %s", r.Status)
	}
	if d := w.dialled(); len(d) > 0 {
		t.Errorf("dialled %v", d)
	}
}

// Who hears of a refusal finds it in the log.
func TestARefusalIsOnRecordBeforeItIsAnswered(t *testing.T) {
	w := newWorld(t)
	c := w.open(w.s.Ports().HTTP).(*net.TCPConn)
	control, err := c.SyscallConn()
	must(t, err)
	there := -1
	w.mu.Lock()
	w.as = func(bottle.Event) {
		control.Control(func(fd uintptr) { there, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	}
	w.mu.Unlock()
	got := say(t, c, "GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
	if e := w.event("request"); !strings.HasPrefix(got, "HTTP/1.1 403 ") || e.Verdict != "deny" || there != 0 {
		t.Errorf("when %+v was recorded, %d bytes of its answer had come: %q", e, there, got)
	}
}

func TestConnectIsStrict(t *testing.T) {
	w := newWorld(t)
	for line, status := range map[string]int{
		"a.example:443:80": 400, "u@a.example:443": 400, "u:p@a.example:443": 400, "a.example:0443": 400, "a.example": 400,
		"a.example:": 400, ":443": 400, "a.example:443/": 400, "a%2eexample:443": 400, "a.example:+443": 400, "a.example:0": 400,
		"a.example:65536": 400, "http://a.example:443": 400, "::1:443": 400, "[::1:443": 400, "/": 400, "*": 400,
		"[::1]:443": 403, "127.0.0.1:443": 403, "2130706433:443": 403, "0x7f.1:443": 403, "0177.0.0.1:443": 403, "[::ffff:7f00:1]:443": 403, "[64:ff9b::7f00:1]:443": 403,
		"a.example:22": 403, "a.example:444": 403, "evil.example:25": 403,
	} {
		for _, host := range []string{"", "Host: " + line + "\r\n"} {
			version := "1.0"
			if host != "" {
				version = "1.1"
			}
			got := say(t, w.open(w.s.Ports().Proxy), "CONNECT "+line+" HTTP/"+version+"\r\n"+host+"\r\n")
			if !strings.HasPrefix(got, fmt.Sprintf("HTTP/1.1 %d egress: ", status)) || !strings.Contains(got, "\r\nX-Bottle-Blocked: egress\r\n") {
				t.Errorf("CONNECT %s: %q, want %d", line, got, status)
			}
		}
	}
	for _, host := range []string{"evil.example:443", "a.example:80", "b.example"} {
		if got := say(t, w.open(w.s.Ports().Proxy), "CONNECT a.example:443 HTTP/1.1\r\nHost: "+host+"\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 400 ") {
			t.Errorf("Host %s: %q", host, got)
		}
	}
	if d := w.dialled(); len(d) > 0 {
		t.Errorf("dialled %v", d)
	}
}

// connect opens a tunnel and returns the connection behind it.
func (w *world) connect(authority string) net.Conn {
	w.t.Helper()
	c := w.open(w.s.Ports().Proxy)
	fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", authority, authority)
	answer := make([]byte, len("HTTP/1.1 200 Connection established\r\n\r\n"))
	_, err := io.ReadFull(c, answer)
	must(w.t, err)
	if !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
		w.t.Fatalf("CONNECT %s: %q", authority, answer)
	}
	return c
}

func TestFrontingIsRefused(t *testing.T) {
	w := newWorld(t)
	reached := atomic.Int32{}
	count := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	w.serve("a.example:443", count)
	w.serve("b.example:443", count)
	for _, c := range []struct{ connect, sni, host, want string }{
		{"a.example:443", "evil.example", "a.example", "403 egress: CONNECT names a.example, but TLS names evil.example"},
		{"evil.example:443", "a.example", "evil.example", "403 egress: CONNECT names evil.example, but TLS names a.example"},
		{"a.example:443", "b.example", "a.example", "403 egress: CONNECT names a.example, but TLS names b.example"},
		{"a.example:443", "a.example", "b.example", "403 egress: the request is for b.example, but its connection is for a.example"},
		{"a.example:443", "a.example", "a.example:80", "403 egress: the request is for a.example, but its connection is for a.example"},
		{"a.example:443", "a.example", "evil.example", "403 egress: the request is for evil.example"},
		{"a.example:443", "a.example", "a.example:443:80", "400 egress: bad Host header"},
		{"a.example:443", "a.example", "u@a.example", "400 egress: bad Host header"},
	} {
		conn := tls.Client(w.connect(c.connect), &tls.Config{ServerName: c.sni, RootCAs: w.trust})
		got := say(t, conn, "GET / HTTP/1.1\r\nHost: "+c.host+"\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 "+c.want) {
			t.Errorf("%v: %q", c, got)
		}
	}
	got := say(t, w.open(w.s.Ports().Proxy), "GET http://plain.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 400 egress: the Host header differs") {
		t.Errorf("absolute form: %q", got)
	}
	if n := reached.Load(); n > 0 || len(w.dialled()) > 0 {
		t.Errorf("%d requests arrived, dialled %v", n, w.dialled())
	}
}

func TestUnreachableUpstreamsAreNamedWithoutAddresses(t *testing.T) {
	w := newWorld(t)
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	w.setHost("dead.example:443", l.Addr().String())
	l.Close()
	s := w.serve("untrusted.example:443", http.HandlerFunc(hello))
	w.setHost("b.example:443", s.Listener.Addr().String()) // a certificate of another host
	w.raw("odd.example:8443", func(c net.Conn, r *bufio.Reader) { http.ReadRequest(r) })
	for url, want := range map[string]string{
		"https://a.example/":        "cannot reach a.example: the name does not resolve",
		"https://dead.example/":     "cannot reach dead.example: connection refused",
		"https://b.example/":        "cannot reach b.example: its certificate is for another host",
		"https://odd.example:8443/": "cannot reach odd.example: it closed the connection",
	} {
		r, body := get(t, w.agent(), url)
		if r.StatusCode != 502 || body != "egress: "+want+"\n" || r.Header.Get("X-Bottle-Blocked") != "" {
			t.Errorf("%s: %s %q", url, r.Status, body)
		}
	}
	other := newWorld(t)
	other.setHost("untrusted.example:443", s.Listener.Addr().String())
	if r, body := get(t, other.agent(), "https://untrusted.example/"); r.StatusCode != 502 || !strings.Contains(body, "not trusted") {
		t.Errorf("%s %q", r.Status, body)
	}
}

func TestReloadSwapsTheWholePolicyOrNothing(t *testing.T) {
	w := newWorld(t)
	w.serve("a.example:443", http.HandlerFunc(hello))
	c := w.agent()
	if r, _ := get(t, c, "https://a.example/"); r.StatusCode != 200 {
		t.Fatal(r.Status)
	}
	must(t, os.WriteFile(filepath.Join(w.in, PolicyFile), []byte("routes:\n- host: evil.example\n- hots: x\n"), 0o600))
	if err := w.s.Reload(); err == nil {
		t.Error("a bad policy was taken")
	}
	if r, _ := get(t, c, "https://a.example/"); r.StatusCode != 200 {
		t.Error("a bad policy replaced the old one")
	}
	w.setPolicy(policy.Policy{})
	if r, _ := get(t, c, "https://a.example/"); r.StatusCode != 403 { // on the connection that was open
		t.Errorf("after the route is gone: %s", r.Status)
	}
}

func TestPipelinedRequestsAreEachJudged(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	var seen []string
	w.serve("plain.example:80", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen = append(seen, r.URL.Path)
		mu.Unlock()
		io.Copy(io.Discard, r.Body)
	}))
	got := say(t, w.open(w.s.Ports().Proxy),
		"POST http://plain.example/1 HTTP/1.1\r\nHost: plain.example\r\nContent-Length: 3\r\n\r\nabc"+
			"GET http://evil.example/2 HTTP/1.1\r\nHost: evil.example\r\n\r\n"+
			"POST http://plain.example/3 HTTP/1.1\r\nHost: plain.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"+
			"GET http://plain.example/4 HTTP/1.1\r\nHost: plain.example\r\nConnection: close\r\n\r\n")
	if n := strings.Count(got, "HTTP/1.1 200 OK"); n != 3 || strings.Count(got, "HTTP/1.1 403 egress: evil.example") != 1 {
		t.Errorf("%q", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if fmt.Sprint(seen) != "[/1 /3 /4]" {
		t.Errorf("the upstream saw %v", seen)
	}
}
