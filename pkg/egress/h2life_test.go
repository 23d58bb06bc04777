package egress

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"testing"

	"bottle/pkg/policy"
)

// An entry's grant is over, or the policy changes: what rests on it ends.
func TestStreamsAreCutWithWhatTheyRestOn(t *testing.T) {
	w := newWorldWith(t, Config{Out: t.TempDir()})
	ended := make(chan struct{}, 2)
	w.serveH2("a.example:443", stream(ended))
	c := w.agentH2(false)
	p, err := c.Get("https://a.example/stream")
	must(t, err)
	defer p.Body.Close()
	_, err = io.ReadFull(p.Body, make([]byte, 5))
	must(t, err)
	w.setPolicy(policy.Policy{})
	if _, err := io.ReadAll(p.Body); err == nil {
		t.Error("the stream ended as if it were whole")
	}
	<-ended
	if e := w.event("request"); e.Verdict != "deny" || e.Reason != reasonCut {
		t.Errorf("event %+v", e)
	}
	if p, text := answerTo(t, c, "GET", "https://a.example/", ""); p.StatusCode != 403 {
		t.Errorf("on the same connection afterwards: %d %s", p.StatusCode, text)
	}
}

func TestTheUpstreamsStreamEndsWithItsClients(t *testing.T) {
	for _, upstream := range []string{"HTTP/1.1", "HTTP/2.0"} {
		w := newWorld(t)
		ended := make(chan struct{}, 1)
		if upstream == "HTTP/1.1" {
			w.serve("a.example:443", stream(ended))
		} else {
			w.serveH2("a.example:443", stream(ended))
		}
		ctx, cancel := context.WithCancel(context.Background())
		q := requestFor("https://a.example/stream", "").WithContext(ctx)
		p, err := w.agentH2(false).Do(q)
		must(t, err)
		_, err = io.ReadFull(p.Body, make([]byte, 5))
		must(t, err)
		cancel()
		<-ended
		p.Body.Close()
		if e := w.event("request"); e.Reason != "the client left" {
			t.Errorf("to %s: event %+v", upstream, e)
		}
	}
}

func TestDrainLetsStreamsEndAndTakesNoMore(t *testing.T) {
	w := newWorld(t)
	arrived, free := make(chan struct{}), make(chan struct{})
	w.serveH2("a.example:443", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-free
		io.WriteString(rw, "whole")
	}))
	c := w.agentH2(true)
	got := make(chan string)
	go func() {
		p, err := c.Get("https://a.example/")
		if err != nil {
			got <- err.Error()
			return
		}
		data, err := io.ReadAll(p.Body)
		got <- fmt.Sprint(string(data), err)
	}()
	<-arrived
	drained := make(chan struct{})
	go func() {
		w.s.Drain(context.Background())
		close(drained)
	}()
	for !w.s.draining.Load() { // until it has begun, nothing tells
		runtime.Gosched()
	}
	close(free)
	if text := <-got; text != "whole<nil>" {
		t.Error(text)
	}
	<-drained
}

func TestAnUpstreamThatClosesIsDialledAgain(t *testing.T) {
	w := newWorld(t)
	s := w.serveH2("a.example:443", http.HandlerFunc(tell))
	c := w.agentH2(true)
	for range 3 {
		if p, text := answerTo(t, c, "GET", "https://a.example/", ""); p.StatusCode != 200 {
			t.Errorf("%d %s", p.StatusCode, text)
		}
		s.CloseClientConnections()
	}
	if n := len(w.dialled()); n != 3 {
		t.Errorf("%d connections upstream", n)
	}
}
