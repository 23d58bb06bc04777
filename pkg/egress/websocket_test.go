package egress

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"bottle/pkg/bottle"
)

func TestWebSocketWorks(t *testing.T) {
	w := newWorld(t)
	s := w.chatHosts("a.example:443", "plain.example:80")
	for name, c := range map[string]struct {
		url    string
		client *http.Client
	}{
		"CONNECT":       {"wss://a.example/room?x=1", w.agent()},
		"SNI":           {"wss://a.example/room", w.direct()},
		"absolute form": {"ws://plain.example/room", w.agent()},
		"port 80":       {"ws://plain.example/room", w.direct()},
	} {
		o := &websocket.DialOptions{HTTPClient: c.client, Subprotocols: []string{"chat.v1", "chat.v2"}, CompressionMode: websocket.CompressionContextTakeover}
		conn, r, err := w.join(c.url, o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if conn.Subprotocol() != "chat.v2" || r.Header.Get("Sec-WebSocket-Extensions") != "" {
			t.Errorf("%s: agreed on %q and %q", name, conn.Subprotocol(), r.Header.Get("Sec-WebSocket-Extensions"))
		}
		opened := w.event("request")
		if opened.Verdict != bottle.Allowed || opened.Status != 101 || opened.Path != "/room" {
			t.Errorf("%s: it was opened as %+v", name, opened)
		}
		size := int64(0)
		for _, m := range []string{"hello", "", `{"a":[1,"b"]}`, strings.Repeat("0123456789abcdef.", 4_000), strings.Repeat("all is well. ", 200_000), "\xff\x00"} {
			if got := answered(t, conn, m); got != m {
				t.Errorf("%s: of %d bytes came back %d", name, len(m), len(got))
			}
			size += int64(len(m))
		}
		pong := conn.CloseRead(soon(t))
		if err := conn.Ping(pong); err != nil {
			t.Errorf("%s: a ping: %v", name, err)
		}
		must(t, conn.Close(websocket.StatusNormalClosure, "bye"))
		if e := (<-s.ended); websocket.CloseStatus(e) != websocket.StatusNormalClosure {
			t.Errorf("%s: the upstream's end: %v", name, e)
		}
		e := w.event("websocket")
		if e.Verdict != bottle.Allowed || e.Sent < size || e.Sent > size+200 || e.Recv < size || e.Recv > size+200 || e.Millis <= 0 || e.Host != opened.Host || e.Rule != opened.Rule {
			t.Errorf("%s: it ended as %+v", name, e)
		}
	}
	for _, h := range s.headers {
		if h.Get("Sec-WebSocket-Extensions") != "" {
			t.Errorf("an extension was offered to the upstream: %v", h)
		}
	}
	// Who may not, may not.
	_, r, err := w.join("wss://other.example/", nil)
	if err == nil || r == nil || r.StatusCode != 403 {
		t.Errorf("a host that is not allowed: %v, %v", r, err)
	}
}

// The close frame that the upstream begins with is passed on, and answered.
func TestUpstreamClosesWebSocket(t *testing.T) {
	w := newWorld(t)
	ended := make(chan error, 1)
	w.serve("a.example:443", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(rw, r, nil)
		if err == nil {
			err = conn.Close(4242, "enough")
		}
		ended <- err
	}))
	if code, reason := refusedWith(t, w.joined("wss://a.example/")); code != 4242 || reason != "enough" {
		t.Errorf("the client heard %d %q", code, reason)
	}
	must(t, <-ended)
	if e := w.event("websocket"); e.Verdict != bottle.Allowed {
		t.Errorf("%+v", e)
	}
}

func TestBadFramesEndAWebSocket(t *testing.T) {
	w := newWorld(t)
	s := w.chatHosts("a.example:443")
	for name, frame := range badFrames {
		c := w.rawJoin("a.example", handshakeLines)
		c.Write(frame)
		if code, reason := c.closedWith(); code != 1002 || !strings.HasPrefix(reason, "egress: ") {
			t.Errorf("%s: %d %q", name, code, reason)
		}
		if err := <-s.ended; websocket.CloseStatus(err) != -1 {
			t.Errorf("%s: the upstream was not cut: %v", name, err)
		}
		if e := w.event("websocket"); e.Verdict != "deny" || e.Reason == "" {
			t.Errorf("%s: %+v", name, e)
		}
	}
	for name, frame := range map[string]string{"masked": "\x81\x80abcd", "compressed": "\xc1\x01x", "a fragment of nothing": "\x80\x00", "a large ping": "\x89\x7e\x00\x80"} {
		w.raw("a.example:443", func(c net.Conn, r *bufio.Reader) {
			switchTo(c, r, "")
			io.WriteString(c, "\x81\x02ok"+frame)
			io.Copy(io.Discard, r)
		})
		c := w.rawJoin("a.example", handshakeLines)
		if _, data, err := c.next(); err != nil || data != "ok" {
			t.Errorf("%s: what came before is %q, %v", name, data, err)
		}
		if code, _ := c.closedWith(); code != 1002 {
			t.Errorf("%s: %d", name, code)
		}
		if e := w.event("websocket"); e.Verdict != "error" {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

func TestAWebSocketIsCutWithItsRoute(t *testing.T) {
	w := newWorldWith(t, Config{Out: t.TempDir()})
	s := w.chatHosts("a.example:443", "b.example:443")
	gone, kept := w.joined("wss://a.example/"), w.joined("wss://b.example/")
	answered(t, gone, "x")
	answered(t, kept, "x")
	w.write("routes:\n- host: b.example\n")
	must(t, w.s.Reload())
	if code, reason := refusedWith(t, gone); code != 1008 || reason != "egress: "+reasonCut {
		t.Errorf("it ended with %d %q", code, reason)
	}
	if err := <-s.ended; websocket.CloseStatus(err) != -1 {
		t.Errorf("the upstream's end: %v", err)
	}
	if e := w.event("websocket"); e.Verdict != "deny" || e.Reason != reasonCut || e.Host != "a.example" {
		t.Errorf("%+v", e)
	}
	if got := answered(t, kept, "still here"); got != "still here" {
		t.Errorf("another one: %q", got)
	}
}

func TestAWebSocketEndsWithItsGrant(t *testing.T) {
	w := newWorldWith(t, Config{Out: t.TempDir()})
	s := w.chatHosts("c.example:443")
	end := time.Now().Add(6 * time.Second).UTC().Truncate(time.Second)
	w.write(fmt.Sprintf("routes: []\ngrants:\n- {id: \"egress-block-aaaa\", host: c.example, port: 443, expires: %q, uses: 1}\n", end.Format(time.RFC3339)))
	must(t, w.s.Reload())
	conn := w.joined("wss://c.example/")
	for range 3 { // messages take no use
		answered(t, conn, "x")
	}
	if _, r, err := w.join("wss://c.example/", nil); err == nil || r.StatusCode != 403 {
		t.Errorf("a second handshake by a grant for one: %v, %v", r, err)
	}
	if code, _ := refusedWith(t, conn); code != 1008 || time.Now().Before(end) {
		t.Errorf("it ended with %d, %v after its grant", code, time.Since(end))
	}
	<-s.ended
}

// An injected credential that comes back is masked, in whatever fragments.
func TestWebSocketEchoIsMasked(t *testing.T) {
	w, _ := credentialWorld(t, true, hello)
	w.raw("bearer.example:443", func(c net.Conn, r *bufio.Reader) {
		switchTo(c, r, "X-Echo: "+token+"~")
		half := len(token) / 2
		var out []byte
		out = appendFrame(out, true, opText, false, []byte("a "+token+" b"))
		out = appendFrame(out, false, opBinary, false, []byte("c "+token[:half]))
		out = appendFrame(out, true, opPing, false, []byte(token))
		out = appendFrame(out, true, opContinuation, false, []byte(token[half:]))
		out = appendFrame(out, true, opText, false, []byte(token[:half])) // it is no secret, and does not wait for more
		out = appendFrame(out, true, opClose, false, []byte("\x03\xe8"+token))
		c.Write(out)
		io.Copy(io.Discard, r)
	})
	c := w.rawJoinAt("bearer.example", "/v1/live", handshakeLines)
	if strings.Contains(c.head, token) || !strings.Contains(c.head, "X-Echo: ****") {
		t.Errorf("the head: %s", c.head)
	}
	var got strings.Builder
	for {
		first, data, err := c.next()
		must(t, err)
		got.WriteString(data + "|")
		if first == 0x88 {
			break
		}
	}
	stars := strings.Repeat("*", len(token))
	if g := got.String(); strings.Contains(g, token) || !strings.Contains(g, "a "+stars+" b|") || !strings.HasSuffix(g, "|"+token[:len(token)/2]+"|\x03\xe8"+stars+"|") {
		t.Errorf("what came: %q", g)
	}
}

func TestWebSocketsAreBounded(t *testing.T) {
	w := newWorld(t)
	w.raw("plain.example:80", func(c net.Conn, r *bufio.Reader) {
		switchTo(c, r, "")
		io.Copy(io.Discard, r)
	})
	open := func() (net.Conn, string) {
		c := w.open(w.s.Ports().HTTP)
		io.WriteString(c, wire("GET /r HTTP/1.1~Host: plain.example~"+handshakeLines+"~"))
		line, _ := bufio.NewReader(c).ReadString('\n')
		return c, line
	}
	var last net.Conn
	for i := range maxSockets {
		c, line := open()
		if !strings.HasPrefix(line, "HTTP/1.1 101 ") {
			t.Fatalf("the %dth: %q", i+1, line)
		}
		last = c
	}
	if _, line := open(); !strings.HasPrefix(line, "HTTP/1.1 503 egress: ") {
		t.Errorf("one more: %q", line)
	}
	last.Close() // without a word: its place is free again
	w.event("websocket")
	for deadline := time.Now().Add(time.Minute); ; {
		if _, line := open(); strings.HasPrefix(line, "HTTP/1.1 101 ") {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("when one has ended: %q", line)
		}
	}
}

// A client that leaves without a close frame takes its upstream with it.
func TestAClientOfWebSocketLeaves(t *testing.T) {
	w := newWorld(t)
	s := w.chatHosts("a.example:443")
	conn := w.joined("wss://a.example/")
	answered(t, conn, "x")
	conn.CloseNow()
	if err := <-s.ended; websocket.CloseStatus(err) != -1 {
		t.Errorf("the upstream's end: %v", err)
	}
	if e := w.event("websocket"); e.Verdict != "error" || e.Reason != "the client left" {
		t.Errorf("%+v", e)
	}
}

func TestDrainClosesWebSockets(t *testing.T) {
	w := newWorld(t)
	w.chatHosts("a.example:443")
	conn := w.joined("wss://a.example/")
	answered(t, conn, "x")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.s.Drain(ctx)
	}()
	if code, _ := refusedWith(t, conn); code != 1001 {
		t.Errorf("it ended with %d", code)
	}
	<-done
	if ctx.Err() != nil {
		t.Error("draining took all of its time")
	}
}

func TestASilentWebSocketLives(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	defer c.Close()
	other, err := l.Accept()
	must(t, err)
	defer other.Close()
	s := newSocket(c.(*net.TCPConn))
	s.limit(0)
	s.unlimit()
	s.wait()
	io.WriteString(other, "x")
	if _, err := s.Read(make([]byte, 1)); err != nil || !s.readUntil.IsZero() {
		t.Errorf("%v; it waits until %v", err, s.readUntil)
	}
}

// A client that reads nothing holds up the last word, and the event behind it, no
// longer than that, also where nothing was written for long before.
func TestTheLastWordDoesNotWait(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	defer c.Close()
	s := newSocket(c.(*net.TCPConn))
	s.sendUntil = time.Now().Add(idleTime / 2)
	s.hurry(20 * time.Millisecond)
	guard := time.AfterFunc(time.Minute, func() { c.Close() })
	defer guard.Stop()
	for err == nil {
		_, err = s.Write(make([]byte, 1<<20))
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v", err)
	}
}
