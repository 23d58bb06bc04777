package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"bottle/pkg/bottle"
)

// agentH2 is an agent whose client speaks HTTP/2 where it is offered; through
// CONNECT, or by SNI where direct is set.
func (w *world) agentH2(direct bool) *http.Client {
	t := &http.Transport{ForceAttemptHTTP2: true, DisableCompression: true, TLSClientConfig: &tls.Config{RootCAs: w.trust}}
	if direct {
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", w.addr(w.s.Ports().TLS))
		}
	} else {
		t.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: w.addr(w.s.Ports().Proxy)})
	}
	w.t.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t, Timeout: w.agent().Timeout, CheckRedirect: w.agent().CheckRedirect}
}

// serveH2 makes a host of the outside that offers HTTP/2.
func (w *world) serveH2(hostPort string, h http.Handler) *httptest.Server {
	host, _, _ := net.SplitHostPort(hostPort)
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.TLS = w.certificate(host)
	s.StartTLS()
	w.t.Cleanup(s.Close)
	w.setHost(hostPort, s.Listener.Addr().String())
	return s
}

// tell answers with what a handler got: protocol, method, target, host, body.
func tell(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s %s %s %s", r.Proto, r.Method, r.RequestURI, r.Host, body)
}

func answerTo(t *testing.T, c *http.Client, method, url, body string) (*http.Response, string) {
	t.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	q, err := http.NewRequest(method, url, in)
	must(t, err)
	return answerOf(t, c, q)
}

// requestFor makes a request; header is names and values.
func requestFor(url, body string, header ...string) *http.Request {
	q := httptest.NewRequest("GET", url, strings.NewReader(body))
	q.RequestURI = ""
	if body != "" {
		q.Method = "POST"
	}
	for i := 0; i < len(header); i += 2 {
		q.Header.Add(header[i], header[i+1])
	}
	return q
}

func answerOf(t *testing.T, c *http.Client, q *http.Request) (*http.Response, string) {
	t.Helper()
	p, err := c.Do(q)
	must(t, err)
	defer p.Body.Close()
	data, err := io.ReadAll(p.Body)
	must(t, err)
	return p, string(data)
}

func TestStreamsReachUpstreamsOfBothProtocols(t *testing.T) {
	w := newWorld(t)
	w.serveH2("a.example:443", http.HandlerFunc(tell))
	w.serve("b.example:443", http.HandlerFunc(tell))
	for _, direct := range []bool{false, true} {
		c := w.agentH2(direct)
		for _, at := range []struct{ host, proto string }{{"a.example", "HTTP/2.0"}, {"b.example", "HTTP/1.1"}} {
			for _, body := range []string{"", "short", strings.Repeat("long ", 20_000)} {
				p, got := answerTo(t, c, "POST", "https://"+at.host+"/x/%2e%2E/y;z?q=1&q=%20", body)
				want := at.proto + " POST /x/%2e%2E/y;z?q=1&q=%20 " + at.host + " " + body
				if p.ProtoMajor != 2 || p.StatusCode != 200 || got != want {
					t.Errorf("direct %v, %s: %s %d, %.100q, want %.100q", direct, at.host, p.Proto, p.StatusCode, got, want)
				}
			}
		}
		if p, got := answerTo(t, c, "HEAD", "https://a.example/", ""); p.StatusCode != 200 || got != "" {
			t.Errorf("HEAD: %d %q", p.StatusCode, got)
		}
		p, got := answerTo(t, c, "GET", "https://other.example/", "")
		if p.ProtoMajor != 2 || p.StatusCode != 403 || p.Header.Get("X-Bottle-Blocked") != "egress" || !strings.Contains(got, "other.example") {
			t.Errorf("refused: %s %d %q", p.Proto, p.StatusCode, got)
		}
	}
	if ev := w.event("request"); ev.Verdict != bottle.Allowed || ev.Host != "a.example" || ev.Method != "POST" || ev.Path != "/x/%2e%2E/y;z" || ev.Status != 200 {
		t.Errorf("%+v", ev)
	}
}

func TestNoSecretLeavesByHTTP2(t *testing.T) {
	for _, upstream := range []string{"HTTP/1.1", "HTTP/2.0"} {
		w, _ := scanWorld(t)
		var whole atomic.Int32
		see := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err == nil {
				whole.Add(1)
			}
		})
		if upstream == "HTTP/1.1" {
			w.serve("a.example:443", see)
		} else {
			w.serveH2("a.example:443", see)
		}
		c := w.agentH2(false)
		filler := strings.Repeat("all is well. ", 4000)
		for name, make := range map[string]func() *http.Request{
			"in the query": func() *http.Request { return requestFor("https://a.example/?"+aKey, "") },
			"in a header":  func() *http.Request { return requestFor("https://a.example/", "", "X-Note", aKey) },
			"in crumbs": func() *http.Request {
				return requestFor("https://a.example/", "", "Cookie", "a=b", "Cookie", "b="+aKey)
			},
			"in a short body": func() *http.Request { return requestFor("https://a.example/", "is "+aKey) },
			"at the end": func() *http.Request {
				return requestFor("https://a.example/", filler+aKey)
			},
			"at the end, no length": func() *http.Request {
				q := requestFor("https://a.example/", "")
				q.Body = io.NopCloser(io.MultiReader(strings.NewReader(filler), strings.NewReader(aKey)))
				return q
			},
			"in a trailer": func() *http.Request {
				q := requestFor("https://a.example/", "")
				q.Body, q.Trailer = io.NopCloser(strings.NewReader(filler)), http.Header{"X-Note": {aKey}}
				return q
			},
		} {
			q := make()
			q.Method = "POST"
			p, text := answerOf(t, c, q)
			if p.ProtoMajor != 2 || p.StatusCode != 403 || p.Header.Get("X-Bottle-Blocked") != "dlp" || strings.Contains(text, aKey) {
				t.Errorf("to %s, %s: %s %d %s", upstream, name, p.Proto, p.StatusCode, text)
			}
			if e := w.event("request"); e.Verdict != "deny" || e.Finding != "github-pat" || e.Status != 403 {
				t.Errorf("to %s, %s: event %+v", upstream, name, e)
			}
		}
		// What follows is all that arrives whole: everything before it had no end.
		if p, text := answerOf(t, c, requestFor("https://a.example/", filler)); p.StatusCode != 200 || whole.Load() != 1 {
			t.Errorf("to %s, harmless: %d %s, and %d arrived whole", upstream, p.StatusCode, text, whole.Load())
		}
	}
}

func TestAFindingAfterTheAnswerBeganResetsBothSides(t *testing.T) {
	w, _ := scanWorld(t)
	ended := make(chan error, 1)
	w.serveH2("a.example:443", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		io.WriteString(rw, "begun")
		http.NewResponseController(rw).Flush()
		_, err := io.Copy(io.Discard, r.Body)
		ended <- err
	}))
	in, out := io.Pipe()
	q := requestFor("https://a.example/", "")
	q.Method, q.Body = "POST", in
	p, err := w.agentH2(false).Do(q)
	must(t, err)
	defer p.Body.Close()
	_, err = io.ReadFull(p.Body, make([]byte, 5))
	must(t, err)
	go func() {
		io.WriteString(out, "is "+aKey)
		out.Close()
	}()
	if _, err := io.ReadAll(p.Body); err == nil {
		t.Error("the answer ended as if it were whole")
	}
	if err := <-ended; err == nil {
		t.Error("the request arrived whole")
	}
}

func TestCredentialsAreInjectedAndMaskedInStreams(t *testing.T) {
	for _, upstream := range []string{"HTTP/1.1", "HTTP/2.0"} {
		w, _ := credentialWorld(t, true, echo)
		if upstream == "HTTP/2.0" {
			w.serveH2("bearer.example:443", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set("X-Echo", r.Header.Get("Authorization"))
				rw.Header().Set("Trailer", "X-Last")
				echo(rw, r)
				rw.Header().Set("X-Last", r.Header.Get("Authorization"))
			}))
		}
		p, text := answerOf(t, w.agentH2(false), requestFor("https://bearer.example/v1/x", "", "Authorization", "Bearer attacker", "X-Api-Key", "attacker", "Accept-Encoding", "gzip"))
		stars := "Authorization=Bearer " + strings.Repeat("*", len(token))
		if p.StatusCode != 200 || !strings.Contains(text, stars) || strings.Contains(text, "attacker") || !strings.Contains(text, "Accept-Encoding=identity") {
			t.Errorf("to %s: %d %s", upstream, p.StatusCode, text)
		}
		if upstream == "HTTP/2.0" && (p.Header.Get("X-Echo") != "Bearer "+strings.Repeat("*", len(token)) || p.Trailer.Get("X-Last") != p.Header.Get("X-Echo")) {
			t.Errorf("to %s: %v, %v", upstream, p.Header, p.Trailer)
		}
		if e := w.event("request"); e.Rule == "" || strings.Contains(fmt.Sprintf("%+v", e), token) {
			t.Errorf("to %s: event %+v", upstream, e)
		}
	}
}

func TestStreamsOfOneConnectionAreJudgedEachByItself(t *testing.T) {
	w := newWorld(t)
	w.write("routes:\n- {host: a.example, path_allowlist: [/open], methods: [GET]}\n")
	must(t, w.s.Reload())
	w.serveH2("a.example:443", http.HandlerFunc(tell))
	c := w.agentH2(false)
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			path, method, want := "/open", "GET", 200
			switch i % 3 {
			case 1:
				path, want = "/closed", 403
			case 2:
				method, want = "DELETE", 403
			}
			if p, text := answerTo(t, c, method, "https://a.example"+path, ""); p.StatusCode != want {
				t.Errorf("%s %s: %d %s", method, path, p.StatusCode, text)
			}
		})
	}
	all.Wait()
}

func TestAnswersOfEveryKindPass(t *testing.T) {
	w := newWorld(t)
	w.serveH2("a.example:443", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/204":
			rw.WriteHeader(204)
		case "/304":
			rw.Header().Set("Etag", `"x"`)
			rw.WriteHeader(304)
		case "/hints":
			rw.Header().Set("Link", "</x>")
			rw.WriteHeader(103)
			fmt.Fprint(rw, "after hints")
		case "/bare":
			rw.Header()["Date"], rw.Header()["Content-Type"] = nil, nil
			rw.Header()["Set-Cookie"] = []string{"a=b", "c=d"}
			fmt.Fprint(rw, "<html>")
		case "/large":
			rw.Header().Set("Content-Length", "3000000")
			rw.Write(bytes.Repeat([]byte("0123456789"), 300_000))
		}
	}))
	c := w.agentH2(false)
	for path, want := range map[string]struct {
		status int
		size   int
	}{"/204": {204, 0}, "/304": {304, 0}, "/hints": {200, 11}, "/bare": {200, 6}, "/large": {200, 3_000_000}} {
		p, text := answerTo(t, c, "GET", "https://a.example"+path, "")
		if p.StatusCode != want.status || len(text) != want.size {
			t.Errorf("%s: %d, %d bytes", path, p.StatusCode, len(text))
		}
		if path == "/bare" && (p.Header.Get("Date") != "" || p.Header.Get("Content-Type") != "" || len(p.Header["Set-Cookie"]) != 2) {
			t.Errorf("%v", p.Header)
		}
		if path == "/large" && p.ContentLength != 3_000_000 {
			t.Errorf("its length is told as %d", p.ContentLength)
		}
	}
}

func TestCurlSpeaksHTTP2ThroughUs(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("there is no curl")
	}
	w := newWorld(t)
	w.serveH2("a.example:443", http.HandlerFunc(tell))
	ca := filepath.Join(w.in, CertFile)
	for _, args := range [][]string{
		{"-x", "http://" + w.addr(w.s.Ports().Proxy), "https://a.example/one?x=%2e", "https://a.example/one?x=%2e"},
		{"--connect-to", "::" + w.addr(w.s.Ports().TLS), "https://a.example/one?x=%2e"},
	} {
		cmd := exec.Command(curl, append([]string{"-sS", "--http2", "--cacert", ca, "-d", "hello", "-w", "[%{http_version} %{http_code}]"}, args...)...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), "HTTP/2.0 POST /one?x=%2e a.example hello[2 200]") {
			t.Errorf("%v %s", err, out)
		}
	}
}

func TestHTTP11ClientsStayOnHTTP11(t *testing.T) {
	w := newWorld(t)
	w.serveH2("a.example:443", http.HandlerFunc(tell))
	if p, got := answerTo(t, w.agent(), "GET", "https://a.example/", ""); p.ProtoMajor != 1 || !strings.HasPrefix(got, "HTTP/1.1") {
		t.Errorf("%s %q", p.Proto, got)
	}
}

func TestManyStreamsShareOneConnectionOnBothSides(t *testing.T) {
	w := newWorld(t)
	w.serveH2("a.example:443", http.HandlerFunc(tell))
	c := w.agentH2(true)
	answerTo(t, c, "GET", "https://a.example/", "")
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			p, got := answerTo(t, c, "POST", fmt.Sprintf("https://a.example/%d", i), strings.Repeat(fmt.Sprint(i), 10_000))
			if p.StatusCode != 200 || !strings.HasPrefix(got, fmt.Sprintf("HTTP/2.0 POST /%d a.example %d", i, i)) {
				t.Errorf("%d: %d %.60q", i, p.StatusCode, got)
			}
		})
	}
	all.Wait()
	if n := len(w.dialled()); n != 1 {
		t.Errorf("%d connections upstream", n)
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	must(t, err)
	return data
}

// Who waits for a place that cannot be reached waits once, with the others.
func TestOneAttemptIsForAllWhoAskAtOnce(t *testing.T) {
	w := newWorld(t)
	asked := make(chan struct{}, 100)
	w.guard = func(string, bool) error {
		asked <- struct{}{}
		time.Sleep(300 * time.Millisecond) // an upstream that is slow to refuse
		return syscall.ECONNREFUSED
	}
	c := w.agentH2(true)
	answerTo(t, c, "GET", "https://other.example/", "") // the connection is there
	start := time.Now()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if p, text := answerTo(t, c, "GET", "https://a.example/", ""); p.StatusCode != 502 {
				t.Errorf("%d %s", p.StatusCode, text)
			}
		})
	}
	all.Wait()
	if took := time.Since(start); len(asked) >= 20 && took > 5*time.Second {
		t.Errorf("%d attempts in %v", len(asked), took)
	}
}
