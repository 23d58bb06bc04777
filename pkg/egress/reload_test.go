package egress

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/policy"
	"bottle/pkg/sidecar"
)

func (w *world) write(routes string) {
	w.t.Helper()
	must(w.t, os.WriteFile(filepath.Join(w.in, PolicyFile), []byte(routes), 0o600))
}

func (w *world) applied() (a bottle.Applied) {
	w.t.Helper()
	data, err := os.ReadFile(filepath.Join(w.s.force.out, sidecar.AppliedFile))
	must(w.t, err)
	must(w.t, json.Unmarshal(data, &a))
	return a
}

func TestABadPolicyIsRefusedAndTheOldOneStays(t *testing.T) {
	w := newWorldWith(t, Config{Out: t.TempDir()})
	w.serve("a.example:443", http.HandlerFunc(hello))
	first := w.applied()
	if first.Generation != 1 || len(first.SHA256) != 64 || first.Tried != first.SHA256 || first.Routes != 6 || first.Error != "" || time.Since(first.Time) > time.Minute {
		t.Errorf("at the start: %+v", first)
	}
	if err := w.s.Reload(); !errors.Is(err, sidecar.ErrUnchanged) {
		t.Errorf("the same file again: %v", err)
	}
	for _, bad := range []string{"routes:\n- hots: a.example\n", "", "routes: [\n"} {
		w.write(bad)
		if err := w.s.Reload(); err == nil || errors.Is(err, sidecar.ErrUnchanged) {
			t.Errorf("%q: %v", bad, err)
		}
		a := w.applied()
		if a.Generation != 1 || a.SHA256 != first.SHA256 || a.Tried == first.SHA256 || a.Error == "" {
			t.Errorf("%q: %+v", bad, a)
		}
		if r, _ := get(t, w.agent(), "https://a.example/"); r.StatusCode != 200 {
			t.Errorf("%q: the old policy is not in force: %s", bad, r.Status)
		}
	}
	w.write(testRoutes) // the old text again takes the error away
	must(t, w.s.Reload())
	if a := w.applied(); a.Error != "" || a.SHA256 != first.SHA256 || a.Generation != 2 {
		t.Errorf("after the old text: %+v", a)
	}
	must(t, os.Remove(filepath.Join(w.in, PolicyFile)))
	if err := w.s.Reload(); err == nil || w.applied().Error == "" {
		t.Errorf("a policy that is gone: %v, %+v", err, w.applied())
	}
}

// stream is an upstream that says something and then waits for the end.
func stream(ended chan<- struct{}) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		io.WriteString(rw, "data: begun\n\n")
		http.NewResponseController(rw).Flush()
		<-r.Context().Done()
		ended <- struct{}{}
	}
}

func (w *world) listen(host string) *http.Response {
	w.t.Helper()
	r, err := w.agent().Get("https://" + host + "/stream")
	must(w.t, err)
	w.t.Cleanup(func() { r.Body.Close() })
	_, err = io.ReadFull(r.Body, make([]byte, len("data: begun\n\n")))
	must(w.t, err)
	return r
}

func TestConnectionsOnARouteThatIsGoneAreCut(t *testing.T) {
	w := newWorldWith(t, Config{Out: t.TempDir()})
	ended := make(chan struct{}, 2)
	w.serve("a.example:443", stream(ended))
	w.serve("b.example:443", stream(ended))
	gone, stays := w.listen("a.example"), w.listen("b.example")
	w.setPolicy(policy.Policy{Routes: []policy.Route{{Host: "b.example", Scheme: policy.HTTPS, Port: 443, Paths: []string{"/stream"}}}})
	if _, err := io.ReadAll(gone.Body); err == nil {
		t.Error("the stream ended as if it were whole")
	}
	<-ended
	for e := w.event("request"); ; e = w.event("request") {
		if e.Host == "a.example" {
			if e.Verdict != "deny" || e.Reason != reasonCut {
				t.Errorf("event %+v", e)
			}
			break
		}
	}
	// The other one still rests on an entry that allows it in the same way.
	w.setPolicy(policy.Policy{Routes: []policy.Route{{Host: "b.example", Scheme: policy.HTTPS, Port: 443, Private: true}}})
	if _, err := io.ReadAll(stays.Body); err == nil {
		t.Error("an entry that handles it differently did not end the stream")
	}
}

func TestAnEndedGrantCutsItsConnections(t *testing.T) {
	w := newWorldWith(t, Config{Out: t.TempDir()})
	ended := make(chan struct{}, 1)
	w.serve("c.example:443", stream(ended))
	end := time.Now().UTC().Add(6 * time.Second).Truncate(time.Second)
	w.setPolicy(policy.Policy{Grants: []policy.Grant{{ID: "g1", Route: policy.Route{Host: "c.example", Scheme: policy.HTTPS, Port: 443}, Expires: end}}})
	r := w.listen("c.example")
	if _, err := io.ReadAll(r.Body); err == nil {
		t.Error("the stream ended as if it were whole")
	}
	if time.Now().Before(end) {
		t.Error("it was cut before its end")
	}
	if r, body := get(t, w.agent(), "https://c.example/"); r.StatusCode != 403 || !strings.Contains(body, "ended at") {
		t.Errorf("after the end: %s %s", r.Status, body)
	}
}

// A request that waits for its upstream when the policy changes is told why.
func TestARequestThatHasNoAnswerYetIsTold(t *testing.T) {
	w := newWorldWith(t, Config{Out: t.TempDir()})
	arrived := make(chan struct{})
	w.serve("a.example:443", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	}))
	reloaded := make(chan struct{})
	go func() {
		defer close(reloaded)
		<-arrived
		w.setPolicy(policy.Policy{})
	}()
	if r, body := get(t, w.agent(), "https://a.example/"); r.StatusCode != 403 || !strings.Contains(body, reasonCut) {
		t.Errorf("%s %s", r.Status, body)
	}
	<-reloaded
}

func TestTheAgentMayAskForTheAllowlist(t *testing.T) {
	w, _ := credentialWorld(t, true, echo)
	want := policy.View(*w.s.policy.Load(), time.Now())
	c := w.agent()
	r, body := get(t, c, "http://_egress.local/allowlist")
	var doc allowlist
	if err := json.Unmarshal([]byte(body), &doc); err != nil || r.StatusCode != 200 || !reflect.DeepEqual(doc.Routes, want) {
		t.Errorf("%s %s, %v", r.Status, body, err)
	}
	for _, secret := range []string{token, pair, keyText, mine, nowhere, "env:"} {
		if strings.Contains(body, secret) {
			t.Errorf("it tells %q", secret)
		}
	}
	got := say(t, w.open(w.s.Ports().HTTP), "GET /allowlist HTTP/1.1\r\nHost: _egress.local\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 200") {
		t.Errorf("by Host: %q", got)
	}
	for url, status := range map[string]int{"http://_egress.local/": 404, "http://_egress.local/../in/ca.key": 404, "http://_egress.local:81/allowlist": 403,
		"https://_egress.local/allowlist": 403} {
		if r, _ := get(t, c, url); r.StatusCode != status {
			t.Errorf("%s: %s", url, r.Status)
		}
	}
	post, err := c.Post("http://_egress.local/allowlist", "text/plain", strings.NewReader("x"))
	must(t, err)
	post.Body.Close()
	if post.StatusCode != 405 {
		t.Errorf("POST: %s", post.Status)
	}
	if n := len(w.dialled()); n != 0 {
		t.Errorf("it dialled %q", w.dialled())
	}
}
