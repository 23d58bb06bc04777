package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
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
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
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

// switchTo reads a handshake and answers it, with lines beside.
func switchTo(c net.Conn, r *bufio.Reader, lines string) {
	q, err := http.ReadRequest(r)
	if err != nil {
		return
	}
	io.WriteString(c, wire("HTTP/1.1 101 Switching Protocols~Connection: Upgrade~Upgrade: websocket~Sec-WebSocket-Accept: "+acceptance(q.Header.Get("Sec-WebSocket-Key"))+"~"+lines+"~"))
}
