package egress

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/policy"
	"bottle/pkg/sidecar"
)

// A stream is held like a request of HTTP/1.1, and others of its connection are
// served meanwhile.
func TestAHeldStreamGoesOnBesideOthers(t *testing.T) {
	w := newAsking(t, time.Minute)
	w.serveH2("new.example:443", http.HandlerFunc(repeat))
	open := policy.Grant{ID: "open", Route: policy.Route{Host: "new.example", Scheme: policy.HTTPS, Port: 443, Paths: []string{"/open"}}}
	w.setPolicy(policy.Policy{AskTimeout: time.Minute, Grants: []policy.Grant{open}})
	c := w.agentH2(true)
	large := strings.Repeat("x", 1<<20)
	got := w.post("https://new.example/v1/a", c, strings.NewReader(large))
	ctx, leave := context.WithCancel(t.Context())
	id := w.held(1)
	q, err := http.NewRequestWithContext(ctx, "POST", "https://new.example/v1/b", strings.NewReader(large))
	must(t, err)
	left := make(chan error, 1)
	go func() {
		_, err := c.Do(q)
		left <- err
	}()
	w.held(2)
	if p, text := answerTo(t, c, "POST", "https://new.example/open", "body"); p.StatusCode != 200 || p.ProtoMajor != 2 || text != "POST /open 4 body" {
		t.Errorf("beside it: %s %q", p.Status, text)
	}
	leave()
	<-left
	w.held(1)
	w.approve(id, "new.example")
	if a := <-got; a.text != "200 OK POST /v1/a 1048576 "+large[:20] {
		t.Errorf("%q", a.text)
	}
}

// What was held is scanned by what is known when it goes on, with the credential
// that is there then; what is refused takes no use.
func TestWhatWasHeldIsScannedWhenItGoesOn(t *testing.T) {
	for _, streams := range []bool{false, true} {
		secrets := &sidecar.Secrets{}
		w := asking{out: t.TempDir()}
		w.world = newWorldWith(t, Config{Out: w.out, Secrets: secrets})
		must(t, os.Mkdir(filepath.Join(w.in, sidecar.DecisionsDir), 0o700))
		w.setPolicy(policy.Policy{AskTimeout: time.Minute})
		seen := make(chan string, 2)
		w.serveH2("new.example:443", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header.Get("X-Api-Key") }))
		c := w.agent()
		if streams {
			c = w.agentH2(false)
		}
		secret := w.post("https://new.example/v1/a", c, strings.NewReader("it is "+keyText))
		fine := w.post("https://new.example/v1/a", c, strings.NewReader("it is nothing"))
		id := w.held(2)
		secrets.Put(bottle.Secrets{Values: map[string]string{"env:KEY": keyText}})
		w.approve(id, "new.example", func(g *policy.Grant) {
			g.Uses, g.Auth = 1, policy.Auth{Header: "x-api-key", Credential: "env:KEY"}
		})
		if a := <-secret; a.status != 403 {
			t.Errorf("streams %v: with a secret: %q", streams, a.text)
		}
		if a := <-fine; a.status != 200 {
			t.Errorf("streams %v: without one: %q", streams, a.text)
		} else if got := <-seen; got != keyText {
			t.Errorf("streams %v: %q was injected", streams, got)
		}
	}
}
