package egress

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"bottle/pkg/bottle"
)

// chat is an upstream of WebSocket: it keeps what came whole, and sends it back.
type chat struct {
	mu      sync.Mutex
	got     []string
	headers []http.Header
	ended   chan error // why each connection ended
}

func (s *chat) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.headers = append(s.headers, r.Header.Clone())
	s.mu.Unlock()
	conn, err := websocket.Accept(rw, r, &websocket.AcceptOptions{Subprotocols: []string{"chat.v2"}, InsecureSkipVerify: true, CompressionMode: websocket.CompressionContextTakeover})
	if err != nil {
		return
	}
	defer conn.CloseNow()
	conn.SetReadLimit(-1)
	for {
		kind, data, err := conn.Read(r.Context())
		if err != nil {
			s.ended <- err
			return
		}
		s.mu.Lock()
		s.got = append(s.got, string(data))
		s.mu.Unlock()
		if err := conn.Write(r.Context(), kind, data); err != nil {
			s.ended <- err
			return
		}
	}
}

func (s *chat) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.got, "\n")
}

// chatHosts makes an upstream of WebSocket of hosts.
func (w *world) chatHosts(hostPorts ...string) *chat {
	s := &chat{ended: make(chan error, 1000)}
	for _, h := range hostPorts {
		w.serve(h, s)
	}
	return s
}

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// join opens a WebSocket as an agent does.
func (w *world) join(url string, o *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
	w.t.Helper()
	if o == nil {
		o = &websocket.DialOptions{}
	}
	if o.HTTPClient == nil {
		o.HTTPClient = w.agent()
	}
	conn, r, err := websocket.Dial(soon(w.t), url, o)
	if err == nil {
		conn.SetReadLimit(-1)
		w.t.Cleanup(func() { conn.CloseNow() })
	}
	return conn, r, err
}

func (w *world) joined(url string) *websocket.Conn {
	w.t.Helper()
	conn, _, err := w.join(url, nil)
	must(w.t, err)
	return conn
}

// answered sends a message and returns what comes back.
func answered(t testing.TB, c *websocket.Conn, message string) string {
	t.Helper()
	must(t, c.Write(soon(t), websocket.MessageText, []byte(message)))
	_, data, err := c.Read(soon(t))
	must(t, err)
	return string(data)
}

// refusedWith reads until the end and returns the close frame's code and reason.
func refusedWith(t testing.TB, c *websocket.Conn) (int, string) {
	t.Helper()
	for {
		_, _, err := c.Read(soon(t))
		if err == nil {
			continue
		}
		var e websocket.CloseError
		if !errors.As(err, &e) {
			t.Fatalf("there was no close frame: %v", err)
		}
		return int(e.Code), e.Reason
	}
}

// direct is an HTTP client that takes port 443 or 80 of egress for every host.
func (w *world) direct() *http.Client {
	to := func(port int) func(context.Context, string, string) (net.Conn, error) {
		return func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", w.addr(port))
		}
	}
	t := &http.Transport{DialContext: to(w.s.Ports().HTTP), TLSClientConfig: &tls.Config{RootCAs: w.trust}}
	t.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, _, _ := net.SplitHostPort(addr)
		conn, err := to(w.s.Ports().TLS)(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return tls.Client(conn, &tls.Config{ServerName: host, RootCAs: w.trust}), nil
	}
	w.t.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t}
}

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

func TestWebSocketIsScanned(t *testing.T) {
	w, _ := scanWorld(t)
	s := w.chatHosts("a.example:443", "own.example:443", "lax.example:443")
	known := base64.StdEncoding.EncodeToString([]byte(keyText))
	for name, c := range map[string]struct {
		messages []string
		rule     string
	}{
		"a key":                     {[]string{"see " + aKey}, "github-pat"},
		"a key in JSON":             {[]string{"hello", `{"type":"x","item":{"text":"\u0067` + aKey[1:] + `"}}`}, "github-pat"},
		"a key at the end of much":  {[]string{strings.Repeat("all is well. ", 4_000) + aKey}, "github-pat"},
		"the bottle's own":          {[]string{"it is " + keyText}, "known-secret"},
		"the same, in base64":       {[]string{"it is " + known}, "known-secret"},
		"the same, in two messages": {[]string{"it is " + keyText[:11], keyText[11:]}, "known-secret"},
		"the same, far apart":       {[]string{"it is " + keyText[:11], "or not", keyText[11:] + "."}, "known-secret"},
	} {
		conn := w.joined("wss://a.example/room")
		last := len(c.messages) - 1
		for _, m := range c.messages[:last] {
			answered(t, conn, m)
		}
		must(t, conn.Write(soon(t), websocket.MessageText, []byte(c.messages[last])))
		code, reason := refusedWith(t, conn)
		if code != 1008 || !strings.Contains(reason, c.rule) || strings.Contains(reason, aKey[4:]) {
			t.Errorf("%s: the client heard %d %q", name, code, reason)
		}
		if err := <-s.ended; websocket.CloseStatus(err) != -1 {
			t.Errorf("%s: the upstream was not cut: %v", name, err)
		}
		e := w.event("websocket")
		if e.Verdict != "deny" || e.Finding != c.rule || !strings.HasPrefix(e.Where, "message") || e.Fingerprint == "" || e.Reason == "" {
			t.Errorf("%s: %+v", name, e)
		}
		if strings.Contains(s.all(), c.messages[last]) {
			t.Errorf("%s: it arrived", name)
		}
	}
	// An exception lets through what it names, and nothing else.
	conn := w.joined("wss://lax.example/login")
	answered(t, conn, "see "+aKey)
	must(t, conn.Write(soon(t), websocket.MessageText, []byte(keyText)))
	if code, _ := refusedWith(t, conn); code != 1008 {
		t.Errorf("the bottle's own beside an exception: %d", code)
	}
	// What may travel in a credential header may not in a message.
	conn = w.joined("wss://own.example/")
	must(t, conn.Write(soon(t), websocket.MessageText, []byte(mine)))
	if code, _ := refusedWith(t, conn); code != 1008 {
		t.Errorf("a value for a host, in a message to it: %d", code)
	}
	if got := s.all(); strings.Contains(got, mine) {
		t.Error("it arrived")
	}
}

func TestWebSocketMessagesAreBounded(t *testing.T) {
	w, _ := scanWorld(t) // max_body is 64 KiB
	s := w.chatHosts("a.example:443", "lax.example:443")
	large := strings.Repeat("all is well. ", 10_000)
	conn := w.joined("wss://a.example/")
	answered(t, conn, large[:64<<10])
	go conn.Write(soon(t), websocket.MessageBinary, []byte(large))
	if code, _ := refusedWith(t, conn); code != 1009 {
		t.Errorf("a message beyond max_body ended with %d", code)
	}
	if strings.Contains(s.all(), large) {
		t.Error("it arrived")
	}
	if got := answered(t, w.joined("wss://lax.example/"), large); got != large {
		t.Errorf("of %d bytes to a host that takes large bodies came back %d", len(large), len(got))
	}
}

// rawSocket is a WebSocket whose frames are written by hand.
type rawSocket struct {
	t testing.TB
	net.Conn
	r    *bufio.Reader
	head string
}

const handshakeLines = "Connection: Upgrade~Upgrade: websocket~Sec-WebSocket-Version: 13~Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==~"

func (w *world) rawJoin(sni, lines string) *rawSocket { return w.rawJoinAt(sni, "/room", lines) }

func (w *world) rawJoinAt(sni, path, lines string) *rawSocket {
	w.t.Helper()
	s := &rawSocket{t: w.t, Conn: w.inside(sni)}
	s.r = bufio.NewReader(s.Conn)
	_, err := io.WriteString(s.Conn, wire("GET "+path+" HTTP/1.1~Host: "+sni+"~"+lines+"~"))
	must(w.t, err)
	for !strings.HasSuffix(s.head, "\r\n\r\n") {
		line, err := s.r.ReadString('\n')
		if err != nil {
			break
		}
		s.head += line
	}
	return s
}

// send writes a masked frame; first is its first byte.
func (s *rawSocket) send(first byte, data string) {
	s.t.Helper()
	_, err := s.Write(appendFrame(nil, first&0x80 != 0, opcode(first&0x0f), true, []byte(data)))
	must(s.t, err)
}

// next reads a small frame that is not masked.
func (s *rawSocket) next() (first byte, data string, err error) {
	var head [2]byte
	if _, err = io.ReadFull(s.r, head[:]); err != nil {
		return 0, "", err
	}
	payload := make([]byte, head[1])
	_, err = io.ReadFull(s.r, payload)
	return head[0], string(payload), err
}

// closedWith reads up to a close frame and returns its code and reason.
func (s *rawSocket) closedWith() (int, string) {
	s.t.Helper()
	for {
		first, data, err := s.next()
		if err != nil {
			s.t.Fatalf("there was no close frame: %v", err)
		}
		if first == 0x88 {
			return int(data[0])<<8 | int(data[1]), data[2:]
		}
	}
}

// A secret is found in whatever frames it comes, control frames among them.
func TestFramesAreScanned(t *testing.T) {
	w, _ := scanWorld(t)
	s := w.chatHosts("a.example:443")
	type frame struct {
		first byte
		data  string
	}
	for name, frames := range map[string][]frame{
		"fragments":             {{0x01, "see " + aKey[:9]}, {0x00, aKey[9:20]}, {0x00, ""}, {0x80, aKey[20:]}},
		"a byte each":           append(append([]frame{{0x02, ""}}, eachByte(aKey, func(c string) frame { return frame{0x00, c} })...), frame{0x80, ""}),
		"a ping":                {{0x89, aKey}},
		"a pong":                {{0x8a, keyText}},
		"pings":                 {{0x89, keyText[:9]}, {0x89, keyText[9:]}},
		"a close frame":         {{0x88, "\x03\xe8" + aKey}},
		"a ping and a message":  {{0x89, keyText[:11]}, {0x81, keyText[11:]}},
		"around a ping":         {{0x01, keyText[:11]}, {0x89, "x"}, {0x80, keyText[11:]}},
		"a fragment and a ping": {{0x01, "it is " + keyText[:11]}, {0x80, ""}, {0x89, keyText[11:]}},
	} {
		c := w.rawJoin("a.example", handshakeLines)
		for _, f := range frames {
			c.send(f.first, f.data)
		}
		if code, reason := c.closedWith(); code != 1008 {
			t.Errorf("%s: %d %q", name, code, reason)
		}
		<-s.ended
		if e := w.event("websocket"); e.Verdict != "deny" || e.Finding == "" {
			t.Errorf("%s: %+v", name, e)
		}
	}
	for _, secret := range []string{aKey, keyText, keyText[11:]} {
		if strings.Contains(s.all(), secret) {
			t.Errorf("%q arrived: %q", secret, s.all())
		}
	}
}

func eachByte[T any](s string, f func(string) T) (list []T) {
	for i := range len(s) {
		list = append(list, f(s[i:i+1]))
	}
	return list
}

// Nothing of a message up to 64 KiB leaves before all of it was scanned.
func TestAMessageWaitsForItsEnd(t *testing.T) {
	w, _ := scanWorld(t)
	arrived := make(chan byte, 1<<20)
	w.raw("a.example:443", func(c net.Conn, r *bufio.Reader) {
		switchTo(c, r, "")
		for {
			b, err := r.ReadByte()
			if err != nil {
				close(arrived)
				return
			}
			arrived <- b
		}
	})
	c := w.rawJoin("a.example", handshakeLines)
	c.send(0x01, aKey+strings.Repeat(" all is well", 1_000))
	c.send(0x89, "ping") // it overtakes what waits
	if b := <-arrived; b != 0x89 {
		t.Fatalf("the first byte that arrived is %#x", b)
	}
	c.send(0x80, "")
	if code, _ := c.closedWith(); code != 1008 {
		t.Error(code)
	}
	n := 0
	for range arrived {
		n++
	}
	if n != 4+4+1 { // the rest of the ping
		t.Errorf("%d bytes followed the ping", n)
	}
}

// switchTo reads a handshake and answers it, with lines beside.
func switchTo(c net.Conn, r *bufio.Reader, lines string) {
	q, err := http.ReadRequest(r)
	if err != nil {
		return
	}
	io.WriteString(c, wire("HTTP/1.1 101 Switching Protocols~Connection: Upgrade~Upgrade: websocket~Sec-WebSocket-Accept: "+acceptance(q.Header.Get("Sec-WebSocket-Key"))+"~"+lines+"~"))
}

func TestHandshakesAreStrict(t *testing.T) {
	w := newWorld(t)
	w.chatHosts("a.example:443")
	const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==~"
	const up = "Connection: Upgrade~Upgrade: websocket~"
	for name, c := range map[string]struct{ want, raw string }{
		"h2c":                  {"403", "GET /r HTTP/1.1~Host: H~Connection: Upgrade~Upgrade: h2c~" + key + "Sec-WebSocket-Version: 13~~"},
		"two protocols":        {"403", "GET /r HTTP/1.1~Host: H~Connection: Upgrade~Upgrade: websocket, h2c~" + key + "Sec-WebSocket-Version: 13~~"},
		"two Upgrades":         {"403", "GET /r HTTP/1.1~Host: H~Connection: Upgrade~Upgrade: websocket~Upgrade: websocket~" + key + "Sec-WebSocket-Version: 13~~"},
		"HTTP2-Settings":       {"403", "GET /r HTTP/1.1~Host: H~HTTP2-Settings: x~" + up + key + "Sec-WebSocket-Version: 13~~"},
		"another nominated":    {"403", "GET /r HTTP/1.1~Host: H~Connection: Upgrade, Sec-WebSocket-Protocol~Upgrade: websocket~" + key + "Sec-WebSocket-Version: 13~~"},
		"no Connection":        {"400", "GET /r HTTP/1.1~Host: H~Upgrade: websocket~" + key + "Sec-WebSocket-Version: 13~~"},
		"POST":                 {"400", "POST /r HTTP/1.1~Host: H~Content-Length: 0~" + up + key + "Sec-WebSocket-Version: 13~~"},
		"a body":               {"400", "GET /r HTTP/1.1~Host: H~Content-Length: 1~" + up + key + "Sec-WebSocket-Version: 13~~x"},
		"HTTP/1.0":             {"400", "GET /r HTTP/1.0~Host: H~" + up + key + "Sec-WebSocket-Version: 13~~"},
		"no version":           {"400", "GET /r HTTP/1.1~Host: H~" + up + key + "~"},
		"an old version":       {"400", "GET /r HTTP/1.1~Host: H~" + up + key + "Sec-WebSocket-Version: 8~~"},
		"two versions":         {"400", "GET /r HTTP/1.1~Host: H~" + up + key + "Sec-WebSocket-Version: 13~Sec-WebSocket-Version: 13~~"},
		"no key":               {"400", "GET /r HTTP/1.1~Host: H~" + up + "Sec-WebSocket-Version: 13~~"},
		"two keys":             {"400", "GET /r HTTP/1.1~Host: H~" + up + key + key + "Sec-WebSocket-Version: 13~~"},
		"a short key":          {"400", "GET /r HTTP/1.1~Host: H~" + up + "Sec-WebSocket-Key: dGhl~Sec-WebSocket-Version: 13~~"},
		"a key with more bits": {"400", "GET /r HTTP/1.1~Host: H~" + up + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==~Sec-WebSocket-Version: 13~~"},
		"an underscore":        {"400", "GET /r HTTP/1.1~Host: H~" + up + "Sec_WebSocket_Key: dGhlIHNhbXBsZSBub25jZQ==~Sec-WebSocket-Version: 13~~"},
		"no names":             {"400", "GET /r HTTP/1.1~Host: H~" + up + key + "Sec-WebSocket-Version: 13~Sec-WebSocket-Protocol: a b~~"},
		"a name twice":         {"400", "GET /r HTTP/1.1~Host: H~" + up + key + "Sec-WebSocket-Version: 13~Sec-WebSocket-Protocol: a~Sec-WebSocket-Protocol: a~~"},
	} {
		conn := w.inside("a.example")
		io.WriteString(conn, wire(strings.ReplaceAll(c.raw, "H~", "a.example~")))
		line, _ := bufio.NewReader(conn).ReadString('\n')
		conn.Close()
		if !strings.HasPrefix(line, "HTTP/1.1 "+c.want+" egress: ") {
			t.Errorf("%s: %q", name, line)
		}
	}
	if d := w.dialled(); len(d) > 0 {
		t.Errorf("dialled: %v", d)
	}
	// One that is right, with all that may stand beside it.
	c := w.rawJoin("a.example", "Connection: keep-alive, Upgrade~Upgrade: WebSocket~Sec-WebSocket-Extensions: permessage-deflate~Origin: https://a.example~"+key+"Sec-WebSocket-Version: 13~")
	if !strings.HasPrefix(c.head, "HTTP/1.1 101 ") || !strings.Contains(c.head, "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n") {
		t.Errorf("the example of RFC 6455 is answered with %q", c.head)
	}
}

func TestAnswersToHandshakesAreChecked(t *testing.T) {
	w := newWorld(t)
	const up = "HTTP/1.1 101 Switching Protocols~Connection: Upgrade~Upgrade: websocket~"
	for name, c := range map[string]struct{ raw, want string }{
		"another key":            {up + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=~~", "502"},
		"no key":                 {up + "~", "502"},
		"two keys":               {up + "Sec-WebSocket-Accept: OK~Sec-WebSocket-Accept: OK~~", "502"},
		"an extension":           {up + "Sec-WebSocket-Accept: OK~Sec-WebSocket-Extensions: permessage-deflate~~", "502"},
		"a subprotocol":          {up + "Sec-WebSocket-Accept: OK~Sec-WebSocket-Protocol: z~~", "502"},
		"no Upgrade":             {"HTTP/1.1 101 Switching Protocols~Connection: Upgrade~Sec-WebSocket-Accept: OK~~", "502"},
		"another protocol":       {"HTTP/1.1 101 Switching Protocols~Connection: Upgrade~Upgrade: h2c~Sec-WebSocket-Accept: OK~~", "502"},
		"no Connection":          {"HTTP/1.1 101 Switching Protocols~Upgrade: websocket~Sec-WebSocket-Accept: OK~~", "502"},
		"HTTP/1.0":               {"HTTP/1.0 101 Switching Protocols~Connection: Upgrade~Upgrade: websocket~Sec-WebSocket-Accept: OK~~", "502"},
		"a body":                 {up + "Sec-WebSocket-Accept: OK~Content-Length: 5~~hello", "502"},
		"nothing but an answer":  {"HTTP/1.1 200 OK~Content-Length: 5~~hello", "200"},
		"a refusal":              {"HTTP/1.1 401 Unauthorized~WWW-Authenticate: Basic~Content-Length: 0~~", "401"},
		"another version wanted": {"HTTP/1.1 426 Upgrade Required~Upgrade: websocket~Sec-WebSocket-Version: 8~Content-Length: 0~~", "426"},
	} {
		w.raw("a.example:443", func(c2 net.Conn, r *bufio.Reader) {
			if q, err := http.ReadRequest(r); err == nil {
				io.WriteString(c2, wire(strings.ReplaceAll(c.raw, "OK~", acceptance(q.Header.Get("Sec-WebSocket-Key"))+"~")))
			}
		})
		s := w.rawJoin("a.example", handshakeLines+"Sec-WebSocket-Protocol: a, b~")
		if !strings.HasPrefix(s.head, "HTTP/1.1 "+c.want+" ") {
			t.Errorf("%s: %q", name, s.head)
		}
		s.Close()
	}
	// Behind an ordinary answer the connection goes on with requests, which are judged.
	w.serve("a.example:443", http.HandlerFunc(hello))
	s := w.rawJoin("a.example", handshakeLines)
	if !strings.HasPrefix(s.head, "HTTP/1.1 200 ") {
		t.Fatal(s.head)
	}
	s.send(0x81, "hello")
	rest, _ := io.ReadAll(s.r)
	if !strings.Contains(string(rest), "HTTP/1.1 400 ") {
		t.Errorf("a frame behind an answer of 200: %q", rest)
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
	end := time.Now().Add(2500 * time.Millisecond).UTC().Truncate(time.Second)
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

func TestWebSocketsGetCredentials(t *testing.T) {
	w, _ := credentialWorld(t, true, hello)
	s := w.chatHosts("bearer.example:443", "own.example:443")
	conn, _, err := w.join("wss://bearer.example/v1/live", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer placeholder"}, "X-Note": {"x"}}})
	must(t, err)
	if h := s.headers[0]; h.Get("Authorization") != "Bearer "+token || h.Get("X-Note") != "x" {
		t.Errorf("the upstream was asked with %v", h)
	}
	answered(t, conn, "hello")
	for name, protocols := range map[string][]string{"a key": {"realtime", "openai-insecure-api-key.abc"}, "Bearer": {"Bearer", "abc"}, "authorization": {"base64url.bearer.authorization.k8s.io.abc"},
		"something long": {strings.Repeat("x", 100)}} {
		for _, url := range []string{"wss://bearer.example/v1/live", "wss://own.example/"} {
			if _, r, err := w.join(url, &websocket.DialOptions{Subprotocols: protocols}); err == nil || r.StatusCode != 403 {
				t.Errorf("%s as a subprotocol of %s: %v, %v", name, url, r, err)
			}
		}
	}
	if _, r, err := w.join("wss://own.example/", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer foreign"}}}); err == nil || r.StatusCode != 403 {
		t.Errorf("somebody else's credential: %v, %v", r, err)
	}
	if _, _, err := w.join("wss://own.example/", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + mine}}}); err != nil {
		t.Errorf("the bottle's own: %v", err)
	}
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

func TestNoWebSocketToTheModel(t *testing.T) {
	w, _ := scanWorld(t)
	_, r, err := w.join("wss://model.example/v1/realtime", nil)
	if err == nil || r.StatusCode != 403 {
		t.Fatalf("%v, %v", r, err)
	}
	if d := w.dialled(); len(d) > 0 {
		t.Errorf("dialled: %v", d)
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
	for deadline := time.Now().Add(5 * time.Second); ; {
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
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
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
	s := &socket{TCPConn: c.(*net.TCPConn)}
	s.limit(0)
	s.unlimit()
	s.wait()
	io.WriteString(other, "x")
	if _, err := s.Read(make([]byte, 1)); err != nil || !s.readUntil.IsZero() {
		t.Errorf("%v; it waits until %v", err, s.readUntil)
	}
}

// FuzzHandshake: what goes upstream is one handshake of WebSocket, with a key of
// our own and without an extension, whatever was asked.
func FuzzHandshake(f *testing.F) {
	f.Add([]byte(wire("GET /r HTTP/1.1~Host: H~" + handshakeLines + "~")))
	f.Add([]byte(wire("GET /r HTTP/1.1~Host: H~" + handshakeLines + "Sec_WebSocket_Extensions: x~sec-websocket-protocol: a,b~Sec-WebSocket-Extensions: permessage-deflate~~")))
	f.Add([]byte(wire("GET /r HTTP/1.1~Host: H~Upgrade: websocket~Connection: keep-alive~Connection: upgrade~Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==~Sec-WebSocket-Version: 13~~")))
	f.Fuzz(func(t *testing.T, data []byte) {
		in := newReader(bytes.NewReader(data))
		head, err := in.head()
		if err != nil {
			return
		}
		var q request
		if q.parse(head) != nil || !q.upgrade || !q.wantsSocket() {
			return
		}
		h, refused := q.shake()
		if refused != nil {
			return
		}
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(appendRequest(nil, &q, origin{scheme: "http", host: "h", port: 80}, []byte("/r")))))
		if err != nil {
			t.Fatalf("%q: %v", data, err)
		}
		for name, want := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-Websocket-Version": "13", "Sec-Websocket-Key": h.key} {
			if got := r.Header[name]; len(got) != 1 || got[0] != want {
				t.Fatalf("%q left with %s: %q", data, name, got)
			}
		}
		for name := range r.Header {
			switch low := strings.ToLower(strings.ReplaceAll(name, "_", "-")); low {
			case socketKey, socketVersion, socketProtocol:
				if strings.Contains(name, "_") {
					t.Fatalf("%q left with %s", data, name)
				}
			default:
				if strings.HasPrefix(low, socketFields) {
					t.Fatalf("%q left with %s", data, name)
				}
			}
		}
	})
}
