package supervise

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/proposal"
	"bottle/pkg/sidecar"
)

// Whatever an agent posts, the server answers, and what it files is what the host
// reads. A call that is taken ends as if its client had left.
func FuzzRequest(f *testing.F) {
	call := func(tool, arguments string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"` + tool + `","arguments":` + arguments + `}}`
	}
	for _, seed := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`,
		call("egress-block", `{"host":"a.example","port":8443,"path_allowlist":["/a"],"methods":["get"],"credential":"docs","duration":"5m","justification":"x"}`),
		call("dlp-block", `{"rule":"jwt","host":"a.example","path":"/login","justification":"x"}`),
		call("capability-block", `{"dockerfile":"FROM bottle\nRUN true\n","justification":"x"}`),
		call("list-egress-routes", `{}`), call("list-egress-routes", `{"x":`), `[` + call("egress-block", `{}`) + `,null]`, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`,
	} {
		f.Add([]byte(seed))
	}
	in, out := f.TempDir(), f.TempDir()
	if err := os.Mkdir(filepath.Join(in, sidecar.DecisionsDir), 0o700); err != nil {
		f.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(in, RulesFile), []byte(rules), 0o600); err != nil {
		f.Fatal(err)
	}
	var leave context.CancelFunc = func() {}
	s, err := Start(Config{In: in, Out: out, Listen: netip.MustParseAddr("127.0.0.1"), Name: "supervise", Allowlist: func(context.Context) ([]byte, error) { return []byte("{}"), nil },
		Record: func(e bottle.Event) {
			if e.Kind == "ask" && e.Verdict == "allow" {
				leave()
			}
		}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		leave = cancel
		req := httptest.NewRequestWithContext(ctx, "POST", "http://"+s.hosts[0]+Path, strings.NewReader(string(body)))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		answer := httptest.NewRecorder()
		s.http.Handler.ServeHTTP(answer, req)
		if answer.Code >= 500 {
			t.Errorf("%d: %s", answer.Code, answer.Body)
		}
		readable(t, out)
	})
}

// readable fails unless the host can read what was filed; it clears it away.
func readable(t *testing.T, out string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(out, sidecar.ProposalsDir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err == nil {
			_, err = proposal.Parse(data, proposal.Supervise, strings.TrimSuffix(filepath.Base(file), ".json"))
		}
		if err != nil {
			t.Errorf("%s: %v", data, err)
		}
		os.Remove(file)
	}
}

// Each tool's arguments, without the protocol: what is taken is a proposal that
// the host reads, of one line and within its bounds.
func FuzzArguments(f *testing.F) {
	f.Add(uint8(0), `{"host":"Docs.example.com.","scheme":"http","port":8080,"path_allowlist":["/a","/b"],"methods":["get"],"credential":"docs","duration":"1h2m","justification":"x"}`)
	f.Add(uint8(1), `{"rule":"github-pat","host":"a.example","path":"/","justification":"\u202e\u0000"}`)
	f.Add(uint8(2), `{"dockerfile":"FROM bottle\nENV A=b\nCOPY <<EOF /x\ny\nEOF\n","justification":"x"}`)
	var r proposal.Rules
	if err := json.Unmarshal([]byte(rules), &r); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, tool uint8, arguments string) {
		p, err := read(tool, []byte(arguments))
		if err != nil {
			return
		}
		if p, err = proposal.Make(p, r, time.Unix(1_800_000_000, 0)); err != nil {
			return
		}
		text := proposal.Encode(p)
		if got, err := proposal.Parse(text, proposal.Supervise, p.ID); err != nil || strings.Contains(proposal.Summary(got), "\n") || len(text) > proposal.MaxSize {
			t.Errorf("%q %v: %s", proposal.Summary(got), err, text)
		}
		if e := p.Egress; e != nil && e.Credential != "" && (e.Credential != "docs" || e.Host != "docs.example.com") {
			t.Errorf("a credential that nobody declared: %s", text)
		}
	})
}

// read makes what a tool was told into a proposal.
func read(tool uint8, arguments []byte) (bottle.Proposal, error) {
	ins := []asking{&egressIn{}, &dlpIn{}, &capabilityIn{}}
	in := ins[int(tool)%len(ins)]
	if err := json.Unmarshal(arguments, in); err != nil {
		return bottle.Proposal{}, err
	}
	return in.proposal()
}
