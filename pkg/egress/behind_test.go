package egress

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/sidecar"
	"bottle/test/forward"
)

// What pipelock refuses of a request is a refusal in the log; other answers are
// not, and the agent gets all of them as they are.
func TestWhatPipelockRefusesIsInTheLog(t *testing.T) {
	var w *world
	server := httptest.NewServer(&forward.Proxy{Dial: func(address string) (net.Conn, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		return net.Dial("tcp", w.hosts[address])
	}})
	defer server.Close()
	proxy, err := sidecar.NewProxy(&bottle.Proxy{Address: strings.TrimPrefix(server.URL, "http://"), Pipelock: true}, nil)
	must(t, err)
	w = newWorldWith(t, Config{Proxy: proxy})
	w.s.pool.dial = sidecar.Dialer{Proxy: proxy, Timeout: 5 * time.Second, Check: func(netip.Addr, bool) error { return nil },
		Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
			return nil, &net.DNSError{Name: host, Err: "it was looked up here"}
		}}.Dial
	w.serve("a.example:443", http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		out.Header().Set("Content-Length", strconv.Itoa(len(r.Header.Get("X-Answer"))))
		if r.URL.Path != "/open" {
			out.WriteHeader(http.StatusForbidden)
		}
		io.WriteString(out, r.Header.Get("X-Answer"))
	}))
	const blocked = "blocked: core DLP match: GitHub Token (critical)"
	for _, tc := range []struct{ path, answer, verdict, reason string }{
		{"/x", blocked, "deny", "pipelock, behind egress, says: " + blocked},
		{"/x", "blocked: " + strings.Repeat("x", 4*maxBehind), "deny", "pipelock, behind egress, says: blocked: " + strings.Repeat("x", maxBehind-9)},
		{"/x", "forbidden by us", bottle.Allowed, ""},
		{"/x", "no", bottle.Allowed, ""},
		{"/open", blocked, bottle.Allowed, ""},
	} {
		q, err := http.NewRequestWithContext(t.Context(), "GET", "https://a.example"+tc.path, nil)
		must(t, err)
		q.Header.Set("X-Answer", tc.answer)
		answer, err := w.agent().Do(q)
		must(t, err)
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || string(body) != tc.answer {
			t.Errorf("%q came as %q, %v", tc.answer, body, err)
		}
		if e := w.event("request"); e.Verdict != tc.verdict || e.Reason != tc.reason {
			t.Errorf("%s %q: %s, %q", tc.path, tc.answer, e.Verdict, e.Reason)
		}
		w.mu.Lock()
		w.events = nil
		w.mu.Unlock()
	}
}
