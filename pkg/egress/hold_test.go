package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/policy"
	"bottle/pkg/sidecar"
	"bottle/pkg/spool"
)

// asking is a world whose egress holds what is refused.
type asking struct {
	*world
	out string
}

func newAsking(t *testing.T, timeout time.Duration) asking {
	w := asking{out: t.TempDir()}
	w.world = newWorldWith(t, Config{Out: w.out})
	must(t, os.Mkdir(filepath.Join(w.in, sidecar.DecisionsDir), 0o700))
	w.setPolicy(policy.Policy{AskTimeout: timeout})
	return w
}

// pending waits until what is told of the only proposal is as wanted, and returns
// its ID.
func (w asking) pending(want func(bottle.Pending) bool) string {
	w.t.Helper()
	path := filepath.Join(w.out, sidecar.PendingFile)
	changes, stop, err := spool.Watch(path)
	must(w.t, err)
	defer stop()
	for end := time.After(time.Minute); ; {
		var told map[string]bottle.Pending
		data, err := os.ReadFile(path)
		if err == nil && json.Unmarshal(data, &told) == nil {
			for id, p := range told {
				if len(told) == 1 && want(p) {
					return id
				}
			}
		}
		select {
		case <-changes:
		case <-end:
			w.t.Fatalf("it is told %s", data)
		}
	}
}

func (w asking) held(n int) string {
	w.t.Helper()
	return w.pending(func(p bottle.Pending) bool { return p.Held == n && p.Waiting == (n > 0) })
}

// decide does what bottle-approve does, in its order.
func (w asking) decide(id string, p policy.Policy, v bottle.Verdict, reason string) {
	w.t.Helper()
	w.setPolicy(p)
	data, err := json.Marshal(bottle.Decision{Proposal: id, Verdict: v, Reason: reason})
	must(w.t, err)
	must(w.t, spool.CreateFile(filepath.Join(w.in, sidecar.DecisionsDir, id+".json"), data, 0o600))
}

// approve lets a host through, for so many requests.
func (w asking) approve(id, host string, change ...func(*policy.Grant)) {
	w.t.Helper()
	g := policy.Grant{ID: id, Route: policy.Route{Host: host, Scheme: policy.HTTPS, Port: 443}}
	for _, f := range change {
		f(&g)
	}
	w.decide(id, policy.Policy{AskTimeout: w.s.policy.Load().AskTimeout, Grants: []policy.Grant{g}}, bottle.Approved, "")
}

func plain(g *policy.Grant) { g.Scheme, g.Port = policy.HTTP, 80 }
func once(g *policy.Grant)  { g.Uses = 1 }

// answer is what came back for a request.
type answer struct {
	status int
	text   string // status line and body
}

// post sends a request, and delivers what came back.
func (w asking) post(url string, client *http.Client, body io.Reader) <-chan answer {
	got := make(chan answer, 1)
	req, err := http.NewRequest("POST", url, body)
	must(w.t, err)
	go func() {
		resp, err := client.Do(req)
		if err != nil {
			got <- answer{text: err.Error()}
			return
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		got <- answer{resp.StatusCode, resp.Status + " " + string(text)}
	}()
	return got
}

// transparent is a client that knows no proxy.
func (w asking) transparent() *http.Client {
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		port := w.s.Ports().HTTP
		if strings.HasSuffix(addr, ":443") {
			port = w.s.Ports().TLS
		}
		return new(net.Dialer).DialContext(ctx, "tcp", w.addr(port))
	}
	t := &http.Transport{DialContext: dial, TLSClientConfig: &tls.Config{RootCAs: w.trust}}
	w.t.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t, Timeout: time.Minute}
}

// repeat tells what it was sent.
func repeat(rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(rw, "%s %s %d %.20s", r.Method, r.URL.Path, len(body), body)
}

func TestAHeldRequestGoesOnWithItsBody(t *testing.T) {
	large := strings.Repeat("x", 4<<20)
	for name, c := range map[string]struct {
		url, body string
		client    func(asking) *http.Client
		change    func(*policy.Grant)
	}{
		"CONNECT and TLS":     {"https://new.example/v1/a", "body", func(w asking) *http.Client { return w.agent() }, func(*policy.Grant) {}},
		"absolute form":       {"http://new.example/v1/a", "body", func(w asking) *http.Client { return w.agent() }, plain},
		"by SNI":              {"https://new.example/v1/a", "body", asking.transparent, func(*policy.Grant) {}},
		"by Host":             {"http://new.example/v1/a", "body", asking.transparent, plain},
		"a large body":        {"https://new.example/v1/a", large, asking.transparent, func(*policy.Grant) {}},
		"a large plain body":  {"http://new.example/v1/a", large, asking.transparent, plain},
		"for one request":     {"https://new.example/v1/a", "body", asking.transparent, once},
		"a port of its own":   {"https://new.example:8443/v1/a", "body", func(w asking) *http.Client { return w.agent() }, func(g *policy.Grant) { g.Port = 8443 }},
		"no body (an upload)": {"https://new.example/v1/a", "", asking.transparent, func(*policy.Grant) {}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newAsking(t, time.Minute)
			for _, port := range []string{"443", "80", "8443"} {
				w.serve("new.example:"+port, http.HandlerFunc(repeat))
			}
			got := w.post(c.url, c.client(w), strings.NewReader(c.body))
			id := w.held(1)
			if dials := w.dialled(); len(dials) > 0 {
				t.Errorf("%q was dialled before anybody said yes", dials)
			}
			w.approve(id, "new.example", c.change)
			want := fmt.Sprintf("200 OK POST /v1/a %d %.20s", len(c.body), c.body)
			if a := <-got; a.text != want {
				t.Errorf("%q, want %q", a.text, want)
			}
			byConnect := strings.Contains(c.url, ":8443") // it was CONNECT that was held, and TLS came later
			if e := w.event("request"); (e.Held == 0) != byConnect || e.Verdict != bottle.Allowed || e.Rule != "grant "+id {
				t.Errorf("%+v", e)
			}
		})
	}
}

func TestARejectionIsToldAndRemembered(t *testing.T) {
	w := newAsking(t, time.Minute)
	got := w.post("https://new.example/v1/a", w.agent(), strings.NewReader("body"))
	id := w.held(1)
	silenced := policy.Policy{AskTimeout: time.Minute, Silenced: []policy.Silence{{Host: "new.example", Path: "/v1", Reason: "use the mirror"}}}
	w.decide(id, silenced, bottle.Rejected, "use the\nmirror")
	if a := <-got; a.status != 403 || strings.Count(a.text, "new.example is not on this bottle's allowlist; the operator rejected it: use the mirror") != 2 {
		t.Errorf("%q", a.text)
	}
	if a := <-w.post("https://new.example/v1/b", w.agent(), nil); a.status != 403 || !strings.Contains(a.text, "the operator rejected it before: use the mirror") {
		t.Errorf("%q", a.text)
	}
}

func TestWhatNobodyAnsweredIsRefusedAtOnceFromThenOn(t *testing.T) {
	w := newAsking(t, time.Second)
	began := time.Now()
	first := w.post("https://new.example/v1/a", w.agent(), strings.NewReader("body"))
	if a, e := <-first, w.event("request"); a.status != 403 || !strings.Contains(a.text, "the operator was asked and did not answer within 1s") || e.Held < 900 || time.Since(began) < time.Second {
		t.Errorf("%q after %v ms", a.text, e.Held)
	}
	w.held(0)
	if a, e := <-w.post("https://new.example/v1/b", w.agent(), nil), w.event("request"); a.status != 403 || !strings.Contains(a.text, "did not answer within 1s") || e.Held > 0 {
		t.Errorf("%q after %v ms", a.text, e.Held)
	}
	id := w.pending(func(p bottle.Pending) bool { return p.Count == 2 && p.Held == 0 })
	// Its answer still counts.
	w.serve("new.example:443", http.HandlerFunc(repeat))
	w.approve(id, "new.example")
	if a := <-w.post("https://new.example/v1/b", w.agent(), nil); a.status != 200 {
		t.Errorf("%q", a.text)
	}
}

// A restart gives nobody more time: what was held in vain is refused at once, and
// what an earlier life held is held for what is left.
func TestTheTimeOfWhatIsHeldGoesOnOverARestart(t *testing.T) {
	w := newAsking(t, time.Second)
	<-w.post("https://late.example/v1/a", w.agent(), nil)
	w.setPolicy(policy.Policy{AskTimeout: time.Minute})
	got := w.post("https://new.example/v1/a", w.agent(), nil)
	waitFor(w.t, "it is held", func() bool { return len(w.s.denied.slots) == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w.s.Drain(ctx)
	<-got
	var err error
	w.s, err = Start(Config{In: w.in, Out: w.out, Listen: netip.MustParseAddr("127.0.0.1"), Dial: w.dial, Record: w.record})
	must(t, err)
	if a := <-w.post("https://late.example/v1/b", w.agent(), nil); a.status != 403 || !strings.Contains(a.text, "did not answer") {
		t.Errorf("%q", a.text)
	}
	got = w.post("https://new.example/v1/b", w.agent(), nil)
	waitFor(w.t, "it is held again", func() bool { return len(w.s.denied.slots) == 1 })
	files, err := os.ReadDir(filepath.Join(w.out, sidecar.ProposalsDir))
	if must(t, err); len(files) != 2 {
		t.Errorf("%d proposals", len(files))
	}
	w.setPolicy(policy.Policy{})
	<-got
}

func TestOfSeveralHeldOneGoesOnWhereOneUseIsGiven(t *testing.T) {
	w := newAsking(t, time.Minute)
	w.serve("new.example:443", http.HandlerFunc(repeat))
	var all []<-chan answer
	for range 20 {
		all = append(all, w.post("https://new.example/v1/a", w.agent(), strings.NewReader("body")))
	}
	w.approve(w.held(len(all)), "new.example", once)
	through := 0
	for _, got := range all {
		a := <-got
		switch {
		case a.status == 200:
			through++
		case a.status != 403 || !strings.Contains(a.text, "used up"):
			t.Errorf("%q", a.text)
		}
	}
	if through != 1 {
		t.Errorf("%d went on", through)
	}
}

// Another method is another question: what is approved is what was shown.
func TestAMethodThatWasNotShownIsAskedForByItself(t *testing.T) {
	w := newAsking(t, time.Minute)
	got := w.post("https://new.example/v1/a", w.agent(), nil)
	w.held(1)
	req, err := http.NewRequest("GET", "https://new.example/v1/a", nil)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	go w.agent().Do(req.WithContext(ctx))
	waitFor(w.t, "two proposals", func() bool {
		files, _ := os.ReadDir(filepath.Join(w.out, sidecar.ProposalsDir))
		return len(files) == 2
	})
	cancel()
	// To reject one is to reject the place.
	w.setPolicy(policy.Policy{AskTimeout: time.Minute, Silenced: []policy.Silence{{Host: "new.example", Path: "/v1"}}})
	if a := <-got; a.status != 403 || !strings.Contains(a.text, "the operator rejected it before") {
		t.Errorf("%q", a.text)
	}
	got = w.post("https://other.example/", w.agent(), nil)
	waitFor(w.t, "it is held", func() bool { return len(w.s.denied.slots) == 1 })
	w.setPolicy(policy.Policy{}) // nobody is to be asked any more
	if a := <-got; a.status != 403 || strings.Contains(a.text, "operator") {
		t.Errorf("%q", a.text)
	}
}

// However much of it is unread, a request ends with its client.
func TestAHoldEndsWithItsClient(t *testing.T) {
	for name, leave := range map[string]func(*net.TCPConn){
		"closed": func(c *net.TCPConn) { c.Close() },
		"reset":  func(c *net.TCPConn) { c.SetLinger(0); c.Close() },
		"half":   func(c *net.TCPConn) { c.CloseWrite() },
	} {
		t.Run(name, func(t *testing.T) {
			w := newAsking(t, time.Minute)
			conn := w.open(w.s.Ports().HTTP).(*net.TCPConn)
			fmt.Fprintf(conn, "POST /v1/a HTTP/1.1\r\nHost: new.example\r\nContent-Length: 1000000\r\n\r\n%s", strings.Repeat("x", 40<<10))
			w.held(1)
			fmt.Fprint(conn, strings.Repeat("x", 10<<10)) // it wakes whoever looks for the end, and is none
			leave(conn)
			w.held(0)
			if e := w.event("request"); e.Verdict != "deny" || !strings.Contains(e.Reason, "the client left while it was held") {
				t.Errorf("%+v", e)
			}
			// One that comes again in time is held with what is left.
			w.serve("new.example:80", http.HandlerFunc(repeat))
			got := w.post("http://new.example/v1/a", w.transparent(), strings.NewReader("body"))
			w.approve(w.held(1), "new.example", plain)
			if a := <-got; a.status != 200 {
				t.Errorf("%q", a.text)
			}
		})
	}
}

func TestHeldRequestsAreBoundedAndOthersAreServed(t *testing.T) {
	w := newAsking(t, time.Minute)
	threads := func() int {
		tasks, err := os.ReadDir("/proc/self/task")
		must(t, err)
		return len(tasks)
	}
	before := threads()
	for range maxHeld {
		conn := w.open(w.s.Ports().HTTP)
		fmt.Fprint(conn, "GET /v1/a HTTP/1.1\r\nHost: new.example\r\n\r\n")
	}
	w.held(maxHeld)
	if more := threads() - before; more > 20 {
		t.Errorf("%d threads more for %d held requests", more, maxHeld)
	}
	if a := <-w.post("https://new.example/v1/a", w.agent(), nil); a.status != 403 {
		t.Errorf("%q", a.text)
	}
	conn := w.open(w.s.Ports().HTTP)
	fmt.Fprint(conn, "GET /v1/a HTTP/1.1\r\nHost: new.example\r\n\r\n")
	line, _ := bufio.NewReader(conn).ReadString('\n')
	if !strings.Contains(line, "403") || !strings.Contains(line, "256 requests wait for an answer already") {
		t.Errorf("%q", line)
	}
	w.serve("a.example:443", http.HandlerFunc(hello))
	w.setPolicy(policy.Policy{AskTimeout: time.Minute, Routes: []policy.Route{{Host: "a.example", Scheme: policy.HTTPS, Port: 443}}})
	if r, _ := get(t, w.agent(), "https://a.example/"); r.StatusCode != 200 {
		t.Errorf("another request: %s", r.Status)
	}
}

func TestADrainingEgressRefusesWhatItHolds(t *testing.T) {
	w := newAsking(t, 10*time.Minute)
	got := w.post("https://new.example/v1/a", w.agent(), strings.NewReader("body"))
	w.held(1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w.s.Drain(ctx)
	if a := <-got; a.status != 403 || !strings.Contains(a.text, "egress is stopping") || ctx.Err() != nil {
		t.Errorf("%q, %v", a.text, ctx.Err())
	}
}

func TestWhatNoAnswerCouldLetThroughIsNotHeld(t *testing.T) {
	w := newAsking(t, time.Minute)
	w.setPolicy(policy.Policy{AskTimeout: time.Minute, Routes: []policy.Route{{Host: "a.example", Scheme: policy.HTTPS, Port: 443, RefuseForeign: true, Paths: []string{"/v1"}}}})
	for _, c := range []struct {
		sni, head string
		status    int
	}{
		{"", "TRACE /x HTTP/1.1\r\nHost: new.example\r\n\r\n", 405},
		{"", "GET /x HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n", 403},
		{"", "GET /x HTTP/1.1\r\nHost: new.example\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 403},
		{"", "GET /a%5cb/x HTTP/1.1\r\nHost: new.example\r\n\r\n", 403}, // no entry could name it
		{"a.example", "GET /v1 HTTP/1.1\r\nHost: a.example\r\nx-api-key: theirs\r\n\r\n", 403},
		{"a.example", "GET /v1?a=ghp_" + strings.Repeat("aB3dE6gH9", 4) + " HTTP/1.1\r\nHost: a.example\r\n\r\n", 403},
		{"a.example", "GET /v1/../x HTTP/1.1\r\nHost: a.example\r\n\r\n", 400},
		{"a.example", "GET /v1 HTTP/1.1\r\nHost: other.example\r\n\r\n", 403},
	} {
		var conn io.ReadWriter = w.open(w.s.Ports().HTTP)
		if c.sni != "" {
			conn = w.inside(c.sni)
		}
		fmt.Fprint(conn, c.head)
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || !strings.Contains(line, fmt.Sprint(" ", c.status, " ")) {
			t.Errorf("%q: %q, %v", c.head, line, err)
		}
	}
	if files, _ := os.ReadDir(filepath.Join(w.out, sidecar.ProposalsDir)); len(files) > 0 {
		t.Errorf("%d proposals", len(files))
	}
}

// A flood of refusals holds what there is room for, and the answer for one of
// them reaches it.
func TestManyDenialsBesideAHeldRequest(t *testing.T) {
	w := newAsking(t, 3*time.Second)
	w.serve("new.example:443", http.HandlerFunc(repeat))
	got := w.post("https://new.example/v1/a", w.agent(), strings.NewReader("body"))
	id := w.held(1)
	var others sync.WaitGroup
	var refused atomic.Int64
	for i := range 200 {
		url := fmt.Sprintf("http://h%d.example/", i%100)
		others.Go(func() {
			if a := <-w.post(url, w.transparent(), nil); a.status == 403 {
				refused.Add(1)
			}
		})
	}
	w.approve(id, "new.example")
	if a := <-got; a.status != 200 {
		t.Errorf("%q", a.text)
	}
	others.Wait()
	if refused.Load() != 200 {
		t.Errorf("%d were refused", refused.Load())
	}
	files, err := os.ReadDir(filepath.Join(w.out, sidecar.ProposalsDir))
	if must(t, err); len(files) != deniedPerMinute {
		t.Errorf("%d proposals", len(files))
	}
}
