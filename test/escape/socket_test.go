package escape

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"bottle/test/rig"
)

const askSocket = "Host: H~Connection: Upgrade~Upgrade: websocket~Sec-WebSocket-Version: 13~Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==~"

// webSocket is E22.
func webSocket(t *testing.T, s *stage) {
	s.stays(t, "/e22")
	slug := s.scanned(t)
	for _, url := range []string{"wss://" + allowed + "/e22-allowed", "ws://" + plain + "/e22-allowed"} {
		in := slug
		if strings.Contains(url, plain) {
			in = s.raw(t).slug
		}
		conn, _, err := s.join(t, in, url)
		if err != nil {
			t.Fatalf("an allowed WebSocket to %s is refused, so a refused one proves nothing: %v", url, err)
		}
		for _, m := range []string{calm, strings.Repeat(calm+" ", 10_000)} {
			if got, err := talk(t, conn, m); err != nil || got != m {
				t.Errorf("%s: of %d bytes came back %d: %v", url, len(m), len(got), err)
			}
		}
		if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Errorf("%s does not close: %v", url, err)
		}
	}
	s.settle(t)
	for _, e := range s.requests("/e22-allowed") {
		if strings.Contains(strings.Join(e.Header, "\n"), "Extensions") {
			t.Errorf("compression was offered to the upstream: %v", e.Header)
		}
	}
	if n := len(s.messages("/e22-allowed")); n != 4 {
		t.Errorf("%d of 4 messages arrived", n)
	}
	s.noSocket(t, slug)
	s.socketFrames(t, slug)
}

// noSocket are handshakes that are refused.
func (s *stage) noSocket(t *testing.T, slug string) {
	for _, url := range []string{"wss://" + refused + "/e22-refused", "ws://" + allowed + "/e22-refused", "wss://api.anthropic.com/e22-refused", "wss://api.anthropic.com/v1/messages?e22-refused",
		"wss://" + allowed + "/e22-refused?t=" + aKey} {
		if _, r, err := s.join(t, slug, url); err == nil || r == nil || r.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %v, %v", url, r, err)
		}
	}
	inside := func() (io.ReadWriter, string) { return s.inside(t, secured), secured }
	s.each(t, "403", map[string]string{
		"another protocol": "GET /e22-refused HTTP/1.1~" + strings.Replace(askSocket, "websocket", "websocket, h2c", 1) + "Connection: close~~",
		"one more token":   "GET /e22-refused HTTP/1.1~" + askSocket + "Connection: close~~",
	}, inside)
	s.each(t, "400", map[string]string{
		"a body":       "GET /e22-refused HTTP/1.1~" + askSocket + "Content-Length: 5~~hello",
		"no GET":       "POST /e22-refused HTTP/1.1~" + askSocket + "Content-Length: 0~~",
		"two keys":     "GET /e22-refused HTTP/1.1~" + askSocket + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==~~",
		"two versions": "GET /e22-refused HTTP/1.1~" + askSocket + "Sec-WebSocket-Version: 13~~",
	}, inside)
	s.unheard(t, "e22-refused")
}

// socketFrames are frames that do not leave.
func (s *stage) socketFrames(t *testing.T, slug string) {
	encoded := base64.StdEncoding.EncodeToString([]byte("x" + ownValue))
	for name, c := range map[string]struct {
		code   int
		frames string
	}{
		"a key":                      {1008, frame(0x81, "see "+aKey)},
		"a key in fragments":         {1008, frame(0x01, "see "+aKey[:7]) + frame(0x00, aKey[7:22]) + frame(0x00, "") + frame(0x80, aKey[22:])},
		"a key in JSON":              {1008, frame(0x81, `{"a":["\u0067`+aKey[1:]+`"]}`)},
		"a key in a ping":            {1008, frame(0x89, aKey)},
		"a key in a close frame":     {1008, frame(0x88, "\x03\xe8"+aKey)},
		"the bottle's own":           {1008, frame(0x82, ownValue)},
		"the same in fragments":      {1008, frame(0x01, ownValue[:6]) + frame(0x89, "x") + frame(0x80, ownValue[6:])},
		"the same in messages":       {1008, frame(0x81, ownValue[:6]) + frame(0x81, ownValue[6:])},
		"the same in base64":         {1008, frame(0x81, encoded[:11]) + frame(0x81, encoded[11:])},
		"the same, letter by letter": {1008, letters(ownValue)},
		"compressed":                 {1002, frame(0xc1, "x")},
		"not masked":                 {1002, "\x81\x01x"},
		"a length with a sign":       {1002, "\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00"},
		"beyond max_body":            {1009, "\x82\xff\x00\x00\x00\x00\x00\x20\x00\x00\x00\x00\x00\x00hello"},
	} {
		conn := s.insideOf(t, slug, allowed)
		// The first frames are sent along in hope: nobody has answered yet.
		io.WriteString(conn, strings.ReplaceAll("GET /e22-frames HTTP/1.1~"+strings.ReplaceAll(askSocket, "H~", allowed+"~")+"~", "~", "\r\n")+c.frames)
		got, _ := io.ReadAll(conn)
		if list := statuses(string(got)); len(list) != 1 || list[0] != "101" || closeCode(got) != c.code {
			t.Errorf("%s ends in %d: %q", name, closeCode(got), got)
		}
	}
	s.settle(t)
	all := ""
	for _, e := range s.messages("/e22-frames") {
		all += e.Detail + "\n"
	}
	for _, secret := range []string{aKey, ownValue, ownValue[6:], encoded[11:], "hello"} {
		if strings.Contains(all, secret) {
			t.Errorf("%q arrived: %q", secret, all)
		}
	}
	if out, said, code := s.r.Run("bottle-log", slug); code != 0 || strings.Contains(out, ownValue) {
		t.Errorf("the log of events holds the secret, or cannot be read: %d %s", code, said)
	}
}

// frame is a frame of a client's.
func frame(first byte, data string) string {
	mask := []byte{0x11, 0x22, 0x33, 0x44}
	out := append([]byte{first, 0x80 | byte(len(data))}, mask...)
	for i := range len(data) {
		out = append(out, data[i]^mask[i%4])
	}
	return string(out)
}

// letters are messages of one letter each.
func letters(s string) (frames string) {
	for i := range len(s) {
		frames += frame(0x81, s[i:i+1])
	}
	return frames
}

// closeCode finds the code of egress' close frame, which is the last.
func closeCode(got []byte) int {
	head, _, ok := strings.Cut(string(got), "egress: ")
	if n := len(head); ok && n >= 4 && head[n-4] == 0x88 {
		return int(head[n-2])<<8 | int(head[n-1])
	}
	return 0
}

// messages are what arrived in WebSockets below a path.
func (s *stage) messages(path string) (list []rig.Entry) {
	for _, e := range s.u.Heard(path) {
		if e.Kind == "message" {
			list = append(list, e)
		}
	}
	return list
}

// join opens a WebSocket from inside a bottle, as a program does that knows the
// proxy.
func (s *stage) join(t *testing.T, slug, at string) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	to := &http.Transport{
		Proxy:           http.ProxyURL(&url.URL{Scheme: "http", Host: "egress:3128"}),
		DialContext:     func(context.Context, string, string) (net.Conn, error) { return s.dialIn(t, slug, proxyPort), nil },
		TLSClientConfig: &tls.Config{RootCAs: s.trust(t, slug)},
	}
	ctx, cancel := rig.Patient(t)
	defer cancel()
	conn, r, err := websocket.Dial(ctx, at, &websocket.DialOptions{HTTPClient: &http.Client{Transport: to}, CompressionMode: websocket.CompressionContextTakeover})
	if err == nil {
		conn.SetReadLimit(-1)
		t.Cleanup(func() { conn.CloseNow() })
	}
	return conn, r, err
}

// talk sends a message and returns the one that comes back.
func talk(t *testing.T, conn *websocket.Conn, message string) (string, error) {
	ctx, cancel := rig.Patient(t)
	defer cancel()
	if err := conn.Write(ctx, websocket.MessageText, []byte(message)); err != nil {
		return "", err
	}
	_, data, err := conn.Read(ctx)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return string(data), err
}

// insideOf is TLS with a host by way of a CONNECT from any bottle.
func (s *stage) insideOf(t *testing.T, slug, host string) *tls.Conn {
	t.Helper()
	c := s.dialIn(t, slug, proxyPort)
	if line := connect(t, c, host+":443"); line != "HTTP/1.1 200 Connection established" {
		t.Fatalf("CONNECT %s: %s", host, line)
	}
	conn := tls.Client(c, &tls.Config{ServerName: host, RootCAs: s.trust(t, slug)})
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	return conn
}
