package egress

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/policy"
	"bottle/pkg/sidecar"
	"bottle/test/forward"
)

// behindPipelock is a world whose egress has a pipelock, which leads to all, and a
// host that answers with what the query says, framed as X-Frame says; ECHO in it is what
// the request's Authorization held.
func behindPipelock(t *testing.T) refusing {
	t.Helper()
	var w *world
	server := httptest.NewServer(&forward.Proxy{Dial: func(address string) (net.Conn, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		return net.Dial("tcp", w.hosts[address])
	}})
	t.Cleanup(server.Close)
	proxy, err := sidecar.NewProxy(&bottle.Proxy{Address: strings.TrimPrefix(server.URL, "http://"), Pipelock: true}, nil)
	must(t, err)
	out := t.TempDir()
	w = newWorldWith(t, Config{Proxy: proxy, Out: out, Secrets: &sidecar.Secrets{}})
	w.s.pool.dial = sidecar.Dialer{Proxy: proxy, Timeout: 5 * time.Second, Check: func(netip.Addr, bool) error { return nil },
		Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
			return nil, &net.DNSError{Name: host, Err: "it was looked up here"}
		}}.Dial
	w.serve("a.example:443", http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		answer, flush := strings.ReplaceAll(r.URL.Query().Get("answer"), "ECHO", strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")), func() {}
		switch r.Header.Get("X-Frame") {
		case "length":
			out.Header().Set("Content-Length", strconv.Itoa(len(answer)))
		case "chunks":
			flush = func() { must(t, http.NewResponseController(out).Flush()) }
		case "end":
			out.Header().Set("Connection", "close")
			out.Header().Set("Transfer-Encoding", "identity")
		}
		if r.URL.Path != "/open" {
			out.WriteHeader(http.StatusForbidden)
		}
		half := len(answer) / 2
		io.WriteString(out, answer[:half])
		flush()
		io.WriteString(out, answer[half:])
	}))
	return refusing{w, out}
}

// answered has the agent ask, and returns what the log has of it.
func (w refusing) answered(path, frame, answer string) bottle.Event {
	w.t.Helper()
	q, err := http.NewRequestWithContext(w.t.Context(), "GET", "https://a.example"+path+"?answer="+url.QueryEscape(answer), nil)
	must(w.t, err)
	q.Header.Set("X-Frame", frame)
	got, err := w.agent().Do(q)
	must(w.t, err)
	body, err := io.ReadAll(got.Body)
	got.Body.Close()
	if err != nil || string(body) != answer {
		w.t.Errorf("%s, %q came as %q, %v", frame, answer, body, err)
	}
	ev := w.event("request")
	w.mu.Lock()
	w.events = nil
	w.mu.Unlock()
	return ev
}

// What pipelock refuses of a request is a refusal in the log, however its answer is
// framed; other answers are not, and the agent gets all of them as they are.
func TestWhatPipelockRefusesIsInTheLog(t *testing.T) {
	w := behindPipelock(t)
	const blocked = "blocked: core DLP match: GitHub Token (critical)"
	for _, frame := range []string{"length", "chunks", "end"} {
		for _, tc := range []struct{ path, answer, verdict, reason string }{
			{"/x", blocked, "deny", "pipelock, behind egress, says: " + blocked + "; pipelock gives no exception for it"},
			{"/x", "blocked: request header contains secret\n", "deny", "pipelock, behind egress, says: blocked: request header contains secret; pipelock gives no exception for it"},
			{"/x", "blocked: " + strings.Repeat("x", 4*maxBehind), "deny", "pipelock, behind egress, says: blocked: " + strings.Repeat("x", maxBehind-9)},
			{"/x", "blocked: " + strings.Repeat("x", 3*maxBehindRaw), "deny", "pipelock, behind egress, says: blocked: " + strings.Repeat("x", maxBehind-9)},
			{"/x", "forbidden by us", bottle.Allowed, ""},
			{"/x", "no", bottle.Allowed, ""},
			{"/open", blocked, bottle.Allowed, ""},
		} {
			if e := w.answered(tc.path, frame, tc.answer); e.Verdict != tc.verdict || e.Reason != tc.reason {
				t.Errorf("%s, %s %q: %s, %q", frame, tc.path, tc.answer, e.Verdict, e.Reason)
			}
		}
	}
}

// What pipelock has an exception for is asked of the operator, once for a pattern and
// a path; what it has none for is not, and neither is what he wants to hear no more of.
func TestWhatPipelockFindsIsAskedOfTheOperator(t *testing.T) {
	w := behindPipelock(t)
	p := *w.s.policy.Load()
	p.Silenced = []policy.Silence{{Host: "a.example", Path: "/x", Pattern: "Rejected"}}
	w.setPolicy(p)
	for _, answer := range []string{"JWT Token", "JWT Token", "Credit Card, IBAN", "Rejected", "a\x1b[2J", "*"} {
		w.answered("/x", "length", "blocked: request body contains secret: "+answer)
	}
	w.answered("/x", "length", "blocked: core DLP match: GitHub Token (critical)")
	w.answered("/x/*", "length", "blocked: request body contains secret: JWT Token")
	asked := w.asked()
	var got []string
	for summary, p := range asked {
		got = append(got, fmt.Sprintf("%s %d", summary, p.Count))
	}
	slices.Sort(got)
	if want := []string{
		"let findings of pipelock's Credit Card through to a.example  /x 1",
		"let findings of pipelock's IBAN through to a.example  /x 1",
		"let findings of pipelock's JWT Token through to a.example  /x 2"}; !slices.Equal(got, want) {
		t.Errorf("asked is %q, want %q", got, want)
	}
}

// A host that has a credential can answer with it as pipelock would: neither the log
// nor the operator is told it.
func TestARefusalTellsNoCredential(t *testing.T) {
	w := behindPipelock(t)
	r := policy.Route{Host: "a.example", Scheme: policy.HTTPS, Port: 443, Auth: policy.Auth{Scheme: "Bearer", Credential: "env:TOKEN"}}
	w.setPolicy(policy.Policy{Routes: []policy.Route{r}})
	w.s.force.secrets.Put(bottle.Secrets{Values: map[string]string{"env:TOKEN": token}})
	for _, answer := range []string{"blocked: ECHO", "blocked: request body contains secret: JWT Token", "blocked: request body contains secret: ECHO"} {
		code, body := fetch(t, w.agent(), "GET", "https://a.example/x?answer="+url.QueryEscape(answer))
		e := w.event("request")
		w.mu.Lock()
		w.events = nil
		w.mu.Unlock()
		if code != 403 || e.Verdict != "deny" || strings.Contains(fmt.Sprintf("%s %+v", body, e), token) {
			t.Errorf("%q: %d %s, %+v", answer, code, body, e)
		}
	}
	for summary := range w.asked() {
		if !strings.Contains(summary, "JWT Token") {
			t.Errorf("asked is %q", summary)
		}
	}
}

// Where there is no pipelock, nobody refuses as one.
func TestWithoutAPipelockARefusalIsTheHosts(t *testing.T) {
	w := newRefusing(t)
	w.serve("a.example:443", http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		out.WriteHeader(http.StatusForbidden)
		io.WriteString(out, "blocked: request body contains secret: JWT Token")
	}))
	w.request("GET", "https://a.example/x", 403)
	if e := w.event("request"); e.Verdict != bottle.Allowed || e.Reason != "" {
		t.Errorf("%s, %q", e.Verdict, e.Reason)
	}
}

// Whatever an upstream answers: what is read ahead is the beginning of what the agent
// gets, and no more than its bound.
func FuzzAhead(f *testing.F) {
	f.Add([]byte("9\r\nblocked: \r\n1;a=b\r\nx\r\n0\r\n\r\n"), true)
	f.Add([]byte("blocked: core DLP match: x (critical)\nmore"), false)
	f.Add([]byte("ffffffffffffffff\r\n"), true)
	f.Fuzz(func(t *testing.T, raw []byte, chunked bool) {
		b := body{chunked: chunked, length: -1}
		data, _ := ahead(raw, b)
		src := newReader(bytes.NewReader(raw))
		line := firstLine(&src, b)
		var out bytes.Buffer
		src2 := newReader(bytes.NewReader(raw))
		b.relay(&out, &src2, nil, false, nil)
		if len(data) > maxBehind || !bytes.HasPrefix(out.Bytes(), data) || !bytes.HasPrefix(out.Bytes(), line) || bytes.Contains(line, []byte("\n")) {
			t.Errorf("read ahead is %q, and %q, of %q", data, line, out.Bytes())
		}
	})
}
