package egress

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

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
