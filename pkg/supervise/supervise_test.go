package supervise

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"bottle/pkg/bottle"
	"bottle/pkg/proposal"
	"bottle/pkg/sidecar"
	"bottle/pkg/spool"
)

// stand is a server on the loopback, and its operator's directory.
type stand struct {
	t       *testing.T
	in, out string
	server  *Server
	port    int
	asked   chan bottle.Event // that a call waits, by its event
}

const rules = `{"credentials":[{"name":"docs","hosts":["docs.example.com"]}]}`

func newStand(t *testing.T) *stand {
	t.Helper()
	s := &stand{t: t, in: t.TempDir(), out: t.TempDir(), asked: make(chan bottle.Event, 1000)}
	if err := os.Mkdir(filepath.Join(s.in, sidecar.DecisionsDir), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.in, RulesFile), []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	return s
}

func (s *stand) start() {
	s.t.Helper()
	record := func(e bottle.Event) {
		if e.Kind == "ask" && e.Verdict == "allow" {
			s.asked <- e
		}
	}
	server, err := Start(Config{In: s.in, Out: s.out, Listen: netip.MustParseAddr("127.0.0.1"), Port: s.port, Name: "127.0.0.1", Record: record,
		Remind: 20 * time.Millisecond, Allowlist: Allowlist(netip.MustParseAddrPort("127.0.0.1:1"))})
	if err != nil {
		s.t.Fatal(err)
	}
	s.server, s.port = server, server.Port()
	s.t.Cleanup(func() { s.stop() })
}

func (s *stand) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s.server.Drain(ctx)
}

func (s *stand) url() string { return fmt.Sprintf("http://127.0.0.1:%d%s", s.port, Path) }

func (s *stand) client(progress func(string)) *mcp.ClientSession {
	s.t.Helper()
	c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, &mcp.ClientOptions{
		ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) {
			if progress != nil {
				progress(r.Params.Message)
			}
		}})
	session, err := c.Connect(s.t.Context(), &mcp.StreamableClientTransport{Endpoint: s.url(), DisableStandaloneSSE: true}, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { session.Close() })
	return session
}

func call(ctx context.Context, session *mcp.ClientSession, tool string, args map[string]any) (*mcp.CallToolResult, error) {
	params := &mcp.CallToolParams{Name: tool, Arguments: args}
	params.SetProgressToken("t")
	return session.CallTool(ctx, params)
}

func text(r *mcp.CallToolResult) string {
	var all []string
	for _, c := range r.Content {
		if t, ok := c.(*mcp.TextContent); ok {
			all = append(all, t.Text)
		}
	}
	return strings.Join(all, "\n")
}

func (s *stand) decide(d bottle.Decision) {
	s.t.Helper()
	data, err := json.Marshal(d)
	if err == nil {
		err = spool.CreateFile(filepath.Join(s.in, sidecar.DecisionsDir, d.Proposal+".json"), data, 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// filed are the proposals as the host reads them.
func (s *stand) filed() []bottle.Proposal {
	s.t.Helper()
	dir := filepath.Join(s.out, sidecar.ProposalsDir)
	files, err := os.ReadDir(dir)
	if err != nil {
		s.t.Fatal(err)
	}
	var all []bottle.Proposal
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			s.t.Fatal(err)
		}
		p, err := proposal.Parse(data, proposal.Supervise, strings.TrimSuffix(f.Name(), ".json"))
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func ask(host string) map[string]any {
	return map[string]any{"host": host, "path_allowlist": []string{"/api"}, "methods": []string{"get"}, "duration": "5m", "justification": "the docs"}
}

type outcome struct {
	result *mcp.CallToolResult
	err    error
}

func (s *stand) later(ctx context.Context, session *mcp.ClientSession, tool string, args map[string]any) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		r, err := call(ctx, session, tool, args)
		done <- outcome{r, err}
	}()
	return done
}

func TestACallReturnsTheOperatorsDecision(t *testing.T) {
	s := newStand(t)
	reminders := make(chan string, 100)
	session := s.client(func(m string) { reminders <- m })
	done := s.later(t.Context(), session, "egress-block", ask("Docs.example.com"))
	id := (<-s.asked).Detail
	for range 3 { // at once, and again and again
		if m := <-reminders; !strings.Contains(m, id) {
			t.Errorf("it says %q", m)
		}
	}
	filed := s.filed()
	if len(filed) != 1 || filed[0].ID != id || filed[0].Egress.Host != "docs.example.com" || filed[0].Egress.Seconds != 300 || filed[0].Egress.Methods[0] != "GET" {
		t.Fatalf("filed: %+v", filed)
	}
	until := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	s.decide(bottle.Decision{Proposal: id, Verdict: bottle.Approved, Reason: "go on",
		Grant: &bottle.Grant{ID: id, Host: "docs.example.com", Paths: []string{"/api"}, Methods: []string{"GET"}, Expires: &until}})
	o := <-done
	if o.err != nil || o.result.IsError {
		t.Fatalf("%+v, %v", o.result, o.err)
	}
	for _, want := range []string{"approved", "go on", "docs.example.com /api GET", "2026-11-24T10:00:00Z", id} {
		if !strings.Contains(text(o.result), want) {
			t.Errorf("%q is not in %q", want, text(o.result))
		}
	}
}

func TestARejectionIsAnAnswerWithItsReason(t *testing.T) {
	s := newStand(t)
	done := s.later(t.Context(), s.client(nil), "dlp-block",
		map[string]any{"rule": "jwt", "host": "docs.example.com", "path": "/login", "justification": "a test's"})
	id := (<-s.asked).Detail
	s.decide(bottle.Decision{Proposal: id, Verdict: bottle.Rejected, Reason: "use the mirror"})
	if o := <-done; o.err != nil || o.result.IsError || !strings.Contains(text(o.result), "said no") || !strings.Contains(text(o.result), "use the mirror") {
		t.Errorf("%+v, %v", o.result, o.err)
	}
}

func TestWhatCannotBeAskedIsRefusedAtTheTool(t *testing.T) {
	s := newStand(t)
	session := s.client(nil)
	with := func(key string, value any) map[string]any {
		a := ask("docs.example.com")
		a[key] = value
		return a
	}
	for _, c := range []struct {
		tool string
		args map[string]any
		want string
	}{
		{"egress-block", with("host", "../x"), "host"},
		{"egress-block", with("host", "169.254.169.254"), "address"},
		{"egress-block", with("justification", ""), "justification"},
		{"egress-block", with("justification", strings.Repeat("x", 5000)), "4096"},
		{"egress-block", with("credential", "other"), "there is docs"},
		{"egress-block", with("credential", "cmd:cat /etc/passwd"), "credential"},
		{"egress-block", with("credential", "file:/etc/passwd"), "credential"},
		{"egress-block", map[string]any{"host": "other.example.com", "credential": "docs", "justification": "x"}, "declares no credential for other.example.com"},
		{"egress-block", with("path_allowlist", []string{"/a/../b"}), "path_allowlist"},
		{"egress-block", with("duration", "soon"), "duration"},
		{"egress-block", with("duration", "9000h"), "longer"},
		{"egress-block", with("no_such", "x"), "no_such"},
		{"egress-block", with("id", "../x"), "id"},
		{"dlp-block", map[string]any{"rule": "../x\x00", "host": "a.example.com", "path": "/", "justification": "x"}, "rule"},
		{"capability-block", map[string]any{"dockerfile": "FROM bottle\nADD http://a.example.com /x\n", "justification": "x"}, "line 2"},
		{"capability-block", map[string]any{"dockerfile": "FROM debian\n", "justification": "x"}, "line 1"},
		{"capability-block", map[string]any{"dockerfile": "FROM bottle\nRUN true # " + strings.Repeat("x", 70_000) + "\n", "justification": "x"}, "65536"},
	} {
		r, err := call(t.Context(), session, c.tool, c.args)
		said := fmt.Sprint(err)
		if err == nil {
			said = text(r)
		}
		if err == nil && !r.IsError || !strings.Contains(said, c.want) {
			t.Errorf("%s %v: %s", c.tool, c.args, said)
		}
	}
	if filed := s.filed(); len(filed) > 0 {
		t.Errorf("filed: %+v", filed)
	}
	if _, err := call(t.Context(), session, "pipelock-block", map[string]any{}); err == nil {
		t.Error("pipelock-block is offered where no pipelock is")
	}
}

func TestTheSameAskJoinsAndAClientThatLeavesIsMarked(t *testing.T) {
	s := newStand(t)
	session := s.client(nil)
	ctx, leave := context.WithCancel(t.Context())
	first := s.later(ctx, session, "egress-block", ask("docs.example.com"))
	id := (<-s.asked).Detail
	second := s.later(t.Context(), session, "egress-block", ask("docs.example.com"))
	if again := (<-s.asked).Detail; again != id {
		t.Fatalf("the second waits as %s, the first as %s", again, id)
	}
	leave()
	<-first
	if len(s.filed()) != 1 {
		t.Errorf("filed: %+v", s.filed())
	}
	s.decide(bottle.Decision{Proposal: id, Verdict: bottle.Approved})
	if o := <-second; o.err != nil || !strings.Contains(text(o.result), "approved") {
		t.Errorf("%+v, %v", o.result, o.err)
	}
}

// What waits is marked while a client waits for it, and not when that has gone.
func TestAClientThatHangsUpLeavesItsProposalUnmarked(t *testing.T) {
	s := newStand(t)
	ctx, leave := context.WithCancel(t.Context())
	body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"egress-block","arguments":{"host":"docs.example.com","justification":"x"}}}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url(), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if resp, err := http.DefaultClient.Do(req); err == nil {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	}()
	id := (<-s.asked).Detail
	s.until(id, true)
	leave()
	<-gone
	s.until(id, false)
}

// until waits until the proposal is told of as marked or not.
func (s *stand) until(id string, waiting bool) {
	s.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for {
		var told map[string]bottle.Pending
		data, err := os.ReadFile(filepath.Join(s.out, sidecar.PendingFile))
		if err == nil && json.Unmarshal(data, &told) == nil {
			if p, there := told[id]; there && p.Waiting == waiting {
				return
			}
		}
		select {
		case <-tick.C:
		case <-late:
			s.t.Fatalf("%s is not told of as waiting=%v: %s", id, waiting, data)
		}
	}
}

func TestAServerThatWasRestartedGoesOnWithItsQueue(t *testing.T) {
	s := newStand(t)
	session := s.client(nil)
	done := s.later(t.Context(), session, "egress-block", ask("docs.example.com"))
	id := (<-s.asked).Detail
	s.stop()
	if o := <-done; o.err == nil && !o.result.IsError {
		t.Errorf("the call ended with %q", text(o.result))
	}
	s.start()
	// The client goes on without connecting anew, and joins what waits.
	done = s.later(t.Context(), session, "egress-block", ask("docs.example.com"))
	if again := (<-s.asked).Detail; again != id {
		t.Fatalf("it waits as %s, not as %s", again, id)
	}
	s.decide(bottle.Decision{Proposal: id, Verdict: bottle.Approved})
	if o := <-done; o.err != nil || o.result.IsError {
		t.Errorf("%+v, %v", o.result, o.err)
	}
}

func TestForeignHostsAndOriginsAreRefused(t *testing.T) {
	s := newStand(t)
	for _, c := range []struct {
		host, origin, path string
		status             int
	}{
		{"", "", Path, 200},
		{"", fmt.Sprintf("http://127.0.0.1:%d", s.port), Path, 200},
		{"evil.example.com", "", Path, 403},
		{fmt.Sprintf("localhost:%d", s.port), "", Path, 403},
		{"127.0.0.1", "", Path, 403},
		{"", "http://evil.example.com", Path, 403},
		{"", "null", Path, 403},
		{"", "", "/", 404},
		{"", "", "/mcp/../mcp", 404},
	} {
		body := `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
		req, err := http.NewRequest(http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d%s", s.port, c.path), strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		if c.host != "" {
			req.Host = c.host
		}
		if c.origin != "" {
			req.Header.Set("Origin", c.origin)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != c.status || c.status == 200 && !strings.Contains(string(got), "egress-block") {
			t.Errorf("%+v: %s %s", c, resp.Status, got)
		}
	}
}

// endless is a body that does not end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestAHugeRequestIsRefused(t *testing.T) {
	s := newStand(t)
	resp, err := http.Post(s.url(), "application/json", io.LimitReader(endless{}, 100<<20))
	if err == nil {
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("it answers %s", resp.Status)
		}
	}
	if len(s.filed()) > 0 {
		t.Error("something was filed")
	}
}

func TestRoutesAreAnErrorWhileEgressIsAway(t *testing.T) {
	s := newStand(t)
	r, err := call(t.Context(), s.client(nil), "list-egress-routes", map[string]any{})
	if err != nil || !r.IsError || !strings.Contains(text(r), "cannot be reached") {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestNothingIsServedWithoutRules(t *testing.T) {
	_, err := Start(Config{In: t.TempDir(), Out: t.TempDir(), Listen: netip.MustParseAddr("127.0.0.1"), Name: "x"})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
