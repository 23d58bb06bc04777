package egress

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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
		"http://plain.example:80/p%00/.": "GET plain.example /p%00/. 0",
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

func TestResumedSessionIsJudgedByItsOwnName(t *testing.T) {
	w := newWorld(t)
	w.serve("a.example:443", http.HandlerFunc(hello))
	cache := tls.NewLRUClientSessionCache(4)
	for round := range 2 {
		c := tls.Client(w.connect("a.example:443"), &tls.Config{ServerName: "a.example", RootCAs: w.trust, ClientSessionCache: sameKey{cache}})
		got := say(t, c, "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 200 ") || c.ConnectionState().DidResume != (round == 1) {
			t.Fatalf("round %d, resumed %v: %q", round, c.ConnectionState().DidResume, got)
		}
	}
	c := tls.Client(w.connect("a.example:443"), &tls.Config{ServerName: "evil.example", InsecureSkipVerify: true, ClientSessionCache: sameKey{cache}})
	got := say(t, c, "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 403 ") {
		t.Errorf("a session resumed under another name: %q", got)
	}
}

// sameKey is a session cache that offers one host's session to every host.
type sameKey struct{ tls.ClientSessionCache }

func (s sameKey) Get(string) (*tls.ClientSessionState, bool) { return s.ClientSessionCache.Get("k") }
func (s sameKey) Put(_ string, v *tls.ClientSessionState)    { s.ClientSessionCache.Put("k", v) }

func TestWhatIsNotTLSWithANameIsClosed(t *testing.T) {
	w := newWorld(t)
	if got := say(t, w.connect("a.example:443"), "SSH-2.0-x\r\n"); got != "" {
		t.Errorf("ssh inside CONNECT got %q", got)
	}
	if e := w.event("connect"); e.Verdict != "deny" || e.Host != "a.example" {
		t.Errorf("event %+v", e)
	}
	for _, raw := range []net.Conn{w.connect("a.example:443"), w.open(w.s.Ports().TLS)} {
		c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
		if err := c.Handshake(); err == nil {
			t.Error("a handshake without a name went through")
		}
		if e := w.event("tls"); e.Verdict != "deny" {
			t.Errorf("event %+v", e)
		}
	}
	c := tls.Client(w.open(w.s.Ports().TLS), &tls.Config{ServerName: "a.example", RootCAs: w.trust, NextProtos: []string{"h2"}})
	if err := c.Handshake(); err == nil {
		t.Error("h2 alone was accepted")
	}
	c = tls.Client(w.open(w.s.Ports().TLS), &tls.Config{ServerName: "a.example", RootCAs: w.trust, NextProtos: []string{"h2", "http/1.1"}})
	if err := c.Handshake(); err != nil || c.ConnectionState().NegotiatedProtocol != "http/1.1" {
		t.Errorf("ALPN: %v %q", err, c.ConnectionState().NegotiatedProtocol)
	}
}

func TestClientThatRejectsTheCAIsAnEvent(t *testing.T) {
	w := newWorld(t)
	c := tls.Client(w.open(w.s.Ports().TLS), &tls.Config{ServerName: "a.example", RootCAs: x509.NewCertPool()})
	if err := c.Handshake(); err == nil {
		t.Fatal("an unknown CA was accepted")
	}
	if e := w.event("tls"); e.Reason != reasonRejected {
		t.Errorf("event %+v", e)
	}
	late := w.inside("a.example") // as node does it: the check comes after the handshake
	must(t, late.Handshake())
	late.Close()
	if e := w.event("tls"); e.Host != "a.example" {
		t.Errorf("event %+v", e)
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

func TestConnectionsAreKeptOnBothSides(t *testing.T) {
	w := newWorld(t)
	w.serve("a.example:443", http.HandlerFunc(hello))
	c := w.agent()
	opened := 0
	for i := range 20 {
		method, body := "GET", ""
		if i%2 == 1 {
			method, body = "POST", strings.Repeat("x", i*1000)
		}
		req, _ := http.NewRequest(method, "https://a.example/", strings.NewReader(body))
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
			if !i.Reused {
				opened++
			}
		}}))
		r, err := c.Do(req)
		must(t, err)
		got, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if string(got) != fmt.Sprintf("%s a.example / %d", method, len(body)) {
			t.Errorf("%q", got)
		}
	}
	if n := len(w.dialled()); n != 1 || opened != 1 {
		t.Errorf("%d connections from the client, %d upstream; want 1 and 1", opened, n)
	}
}

func TestEventsOfAStreamArriveWhenTheyAreSent(t *testing.T) {
	w := newWorld(t)
	next := make(chan struct{})
	w.serve("a.example:443", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		for i := range 50 {
			fmt.Fprintf(rw, "data: %d\n\n", i)
			rw.(http.Flusher).Flush()
			<-next // the next event is not sent before this one has been seen
		}
	}))
	r, err := w.agent().Post("https://a.example/v1/messages", "application/json", strings.NewReader("{}"))
	must(t, err)
	defer r.Body.Close()
	lines := bufio.NewReader(r.Body)
	for i := range 50 {
		line, err := lines.ReadString('\n')
		must(t, err)
		if line != fmt.Sprintf("data: %d\n", i) {
			t.Fatalf("event %d is %q", i, line)
		}
		lines.ReadString('\n')
		next <- struct{}{}
	}
	if _, err := lines.ReadByte(); err != io.EOF {
		t.Error(err)
	}
}

func TestBodiesPassUnchangedInBothFramings(t *testing.T) {
	w := newWorld(t)
	w.serve("a.example:443", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		rw.Header().Set("X-Chunked", fmt.Sprint(r.ContentLength < 0))
		rw.Header().Set("Trailer", "X-Sum")
		if r.Header.Get("X-Sized") != "" {
			rw.Header().Set("Content-Length", fmt.Sprint(len(data)))
		}
		for len(data) > 0 {
			n := min(len(data), 7001)
			rw.Write(data[:n])
			data = data[n:]
		}
		rw.Header().Set("X-Sum", "sum"+r.Trailer.Get("X-In"))
	}))
	c := w.agent()
	payload := bytes.Repeat([]byte("0123456789abcdef\r\n"), 60_000)
	for _, size := range []int{0, 1, 1000, 16 << 10, 17 << 10, 64 << 10, 1 << 20} {
		for _, chunked := range []bool{true, false} {
			var body io.Reader = bytes.NewReader(payload[:size])
			if chunked {
				body = io.MultiReader(body)
			}
			req, _ := http.NewRequest("POST", "https://a.example/", body)
			if chunked {
				req.Trailer = http.Header{"X-In": {"42"}}
			} else {
				req.Header.Set("X-Sized", "1")
			}
			r, err := c.Do(req)
			must(t, err)
			got, err := io.ReadAll(r.Body)
			r.Body.Close()
			if err != nil || !bytes.Equal(got, payload[:size]) || r.Header.Get("X-Chunked") != fmt.Sprint(chunked) {
				t.Fatalf("size %d, chunked %v: %d bytes came back, %v, %v", size, chunked, len(got), err, r.Header)
			}
			if chunked && r.Trailer.Get("X-Sum") != "sum42" {
				t.Errorf("trailers %v", r.Trailer)
			}
		}
	}
}

func TestExpectIsAnsweredByTheUpstream(t *testing.T) {
	w := newWorld(t)
	w.serve("a.example:443", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			rw.WriteHeader(413)
			return
		}
		hello(rw, r)
	}))
	for path, status := range map[string]int{"/yes": 200, "/no": 413} {
		read := false
		body := readFunc(func(p []byte) (int, error) {
			if read {
				return 0, io.EOF
			}
			read = true
			return copy(p, "body"), nil
		})
		req, _ := http.NewRequest("POST", "https://a.example"+path, body)
		req.ContentLength = 4
		req.Header.Set("Expect", "100-continue")
		r, err := w.agent().Do(req)
		must(t, err)
		r.Body.Close()
		if r.StatusCode != status || read != (status == 200) {
			t.Errorf("%s: %s, body read: %v", path, r.Status, read)
		}
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

func TestLargeBodiesUseLittleMemory(t *testing.T) {
	w := newWorld(t)
	const size = 64 << 20
	sum := sha256.New()
	w.serve("a.example:443", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		io.Copy(sum, r.Body)
		io.CopyN(rw, zeros{}, size)
	}))
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err := w.agent().Post("https://a.example/", "application/octet-stream", io.LimitReader(zeros{}, size))
	must(t, err)
	n, err := io.Copy(io.Discard, r.Body)
	r.Body.Close()
	runtime.ReadMemStats(&after)
	if err != nil || n != size {
		t.Fatalf("%d bytes, %v", n, err)
	}
	want := sha256.New()
	io.CopyN(want, zeros{}, size)
	if !bytes.Equal(sum.Sum(nil), want.Sum(nil)) {
		t.Error("the upload was changed")
	}
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 32<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
	if e := w.event("request"); e.Sent != size || e.Recv != size {
		t.Errorf("event %+v", e)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

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

func TestTruncatedAnswerIsNotTakenForWhole(t *testing.T) {
	w := newWorld(t)
	for _, head := range []string{"Content-Length: 1000", "Transfer-Encoding: chunked"} {
		w.raw("a.example:443", func(c net.Conn, r *bufio.Reader) {
			http.ReadRequest(r)
			body := "0123456789"
			if strings.HasPrefix(head, "Transfer") {
				body = "3e8\r\n0123456789"
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\n%s\r\n\r\n%s", head, body)
			c.(*tls.Conn).NetConn().Close() // no close_notify
		})
		r, err := w.agent().Get("https://a.example/")
		if err != nil {
			continue // the reset overtook the head
		}
		if _, err := io.ReadAll(r.Body); err == nil {
			t.Errorf("%s: a cut answer looked whole", head)
		}
		r.Body.Close()
	}
}

func TestClientThatLeavesFreesItsUpstream(t *testing.T) {
	w := newWorld(t)
	began, ended := make(chan struct{}, 4), make(chan struct{}, 4)
	w.serve("a.example:443", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		began <- struct{}{}
		<-r.Context().Done()
		ended <- struct{}{}
	}))
	c := w.inside("a.example")
	io.WriteString(c, "POST /wait HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\n{}")
	<-began
	c.Close()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the upstream was left waiting")
	}
	if e := w.event("request"); e.Reason != "the client left" {
		t.Errorf("event %+v", e)
	}
}

func TestBodyThatBreaksOffNeverLooksWholeUpstream(t *testing.T) {
	w := newWorld(t)
	result := make(chan error, 4)
	w.serve("plain.example:80", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		result <- err
	}))
	const head = "POST / HTTP/1.1\r\nHost: plain.example\r\n"
	for _, text := range []string{"Content-Length: 10\r\n\r\n12345", "Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n"} {
		c := w.open(w.s.Ports().HTTP)
		io.WriteString(c, head+text)
		c.(*net.TCPConn).CloseWrite()
		if err := <-result; err == nil {
			t.Errorf("%q looked whole", text)
		}
	}
	got := say(t, w.open(w.s.Ports().HTTP), head+"Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\nzz\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 400 egress: ") {
		t.Errorf("a malformed chunk: %q", got)
	}
}

func TestStalePooledConnectionsAreReplaced(t *testing.T) {
	w := newWorld(t)
	var conns atomic.Int32
	w.raw("a.example:443", func(c net.Conn, r *bufio.Reader) {
		conns.Add(1)
		q, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		io.Copy(io.Discard, q.Body)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") // and it closes, without a word
	})
	c := w.agent()
	for i := range 20 {
		var r *http.Response
		var err error
		if i%2 == 0 {
			r, err = c.Get("https://a.example/")
		} else {
			r, err = c.Post("https://a.example/", "text/plain", strings.NewReader("x"))
		}
		must(t, err)
		body, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if r.StatusCode == 502 && i%2 == 1 {
			continue // it closed between our look and our request; a POST is not sent twice
		}
		if string(body) != "ok" {
			t.Fatalf("request %d: %s %q", i, r.Status, body)
		}
	}
}

func TestManyPostsNoneLost(t *testing.T) {
	w := newWorld(t)
	w.serve("a.example:443", http.HandlerFunc(hello))
	var wg sync.WaitGroup
	var failed atomic.Int32
	for worker := range 8 {
		wg.Go(func() {
			c := w.agent()
			for i := range 250 {
				size := (worker*250 + i) * 37 % 40_000
				r, err := c.Post("https://a.example/", "text/plain", strings.NewReader(strings.Repeat("x", size)))
				if err != nil {
					failed.Add(1)
					t.Error(err)
					return
				}
				body, err := io.ReadAll(r.Body)
				r.Body.Close()
				if err != nil || string(body) != fmt.Sprintf("POST a.example / %d", size) {
					failed.Add(1)
					t.Errorf("%s %q %v", r.Status, body, err)
				}
			}
		})
	}
	wg.Wait()
	if n := failed.Load(); n > 0 {
		t.Errorf("%d of 2,000 failed", n)
	}
}

func TestSlowClientsBlockNobodyAndAreCut(t *testing.T) {
	old := headTime
	headTime = 300 * time.Millisecond
	defer func() { headTime = old }()
	w := newWorld(t)
	w.serve("a.example:443", http.HandlerFunc(hello))
	var slow []net.Conn
	for range 50 {
		c := w.open(w.s.Ports().Proxy)
		io.WriteString(c, "GET http://plain.exa")
		slow = append(slow, c)
	}
	if r, _ := get(t, w.agent(), "https://a.example/"); r.StatusCode != 200 {
		t.Error(r.Status)
	}
	for _, c := range slow {
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("a slow client was not cut: %v", err)
		}
	}
}

func TestDrainEndsIdleConnectionsAndWaitsForBusyOnes(t *testing.T) {
	w := newWorld(t)
	began, release := make(chan struct{}), make(chan struct{})
	w.serve("a.example:443", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		close(began)
		<-release
		io.WriteString(rw, "late")
	}))
	idle := w.open(w.s.Ports().Proxy)
	answer := make(chan string)
	go func() {
		r, err := w.agent().Get("https://a.example/")
		if err != nil {
			answer <- err.Error()
			return
		}
		body, _ := io.ReadAll(r.Body)
		answer <- string(body)
	}()
	<-began
	drained := make(chan struct{})
	go func() { w.s.Drain(t.Context()); close(drained) }()
	if _, err := idle.Read(make([]byte, 1)); err == nil {
		t.Error("an idle connection lives on")
	}
	close(release)
	if got := <-answer; got != "late" {
		t.Errorf("the request under way got %q", got)
	}
	<-drained
}
