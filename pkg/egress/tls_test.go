package egress

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestResumedSessionIsJudgedByItsOwnName(t *testing.T) {
	w := newWorld(t)
	w.serve("a.example:443", http.HandlerFunc(hello))
	cache := tls.NewLRUClientSessionCache(4)
	for round := range 2 {
		c := tls.Client(w.connect("a.example:443"), &tls.Config{ServerName: "a.example", RootCAs: w.trust, ClientSessionCache: sameKey{cache}})
		got := say(t, c, "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 200 ") || c.ConnectionState().DidResume != (round == 1) {
			t.Fatalf("round %d, resumed %v: %q", round, c.ConnectionState().DidResume, got)
		}
	}
	c := tls.Client(w.connect("a.example:443"), &tls.Config{ServerName: "evil.example", InsecureSkipVerify: true, ClientSessionCache: sameKey{cache}})
	got := say(t, c, "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 403 ") {
		t.Errorf("a session resumed under another name: %q", got)
	}
}

// sameKey is a session cache that offers one host's session to every host.
type sameKey struct{ tls.ClientSessionCache }

func (s sameKey) Get(string) (*tls.ClientSessionState, bool) { return s.ClientSessionCache.Get("k") }
func (s sameKey) Put(_ string, v *tls.ClientSessionState)    { s.ClientSessionCache.Put("k", v) }

func TestWhatIsNotTLSWithANameIsClosed(t *testing.T) {
	w := newWorld(t)
	if got := say(t, w.connect("a.example:443"), "SSH-2.0-x\r\n"); got != "" {
		t.Errorf("ssh inside CONNECT got %q", got)
	}
	if e := w.event("connect"); e.Verdict != "deny" || e.Host != "a.example" {
		t.Errorf("event %+v", e)
	}
	for _, raw := range []net.Conn{w.connect("a.example:443"), w.open(w.s.Ports().TLS)} {
		c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
		if err := c.Handshake(); err == nil {
			t.Error("a handshake without a name went through")
		}
		if e := w.event("tls"); e.Verdict != "deny" {
			t.Errorf("event %+v", e)
		}
	}
	c := tls.Client(w.open(w.s.Ports().TLS), &tls.Config{ServerName: "a.example", RootCAs: w.trust, NextProtos: []string{"h2c", "spdy/3"}})
	if err := c.Handshake(); err == nil {
		t.Error("a protocol that nobody speaks here was agreed to")
	}
}

func TestClientThatRejectsTheCAIsAnEvent(t *testing.T) {
	w := newWorld(t)
	c := tls.Client(w.open(w.s.Ports().TLS), &tls.Config{ServerName: "a.example", RootCAs: x509.NewCertPool()})
	if err := c.Handshake(); err == nil {
		t.Fatal("an unknown CA was accepted")
	}
	if e := w.event("tls"); e.Reason != reasonRejected {
		t.Errorf("event %+v", e)
	}
	inClear := tls.Client(&clearAlert{Conn: w.open(w.s.Ports().TLS)}, &tls.Config{ServerName: "a.example", RootCAs: x509.NewCertPool()})
	inClear.Handshake()
	if e := w.event("tls"); e.Reason != reasonRejected {
		t.Errorf("event %+v", e)
	}
	late := w.inside("a.example") // as node does it: the check comes after the handshake
	must(t, late.Handshake())
	late.Close()
	if e := w.event("tls"); e.Host != "a.example" {
		t.Errorf("event %+v", e)
	}
}

// clearAlert sends, as OpenSSL does, its alert in clear after its hello.
type clearAlert struct {
	net.Conn
	writes int
}

func (c *clearAlert) Write(p []byte) (int, error) {
	if c.writes++; c.writes == 2 {
		io.WriteString(c.Conn, "\x14\x03\x03\x00\x01\x01\x15\x03\x03\x00\x02\x02\x30") // unknown CA
	}
	if c.writes > 1 {
		return len(p), nil
	}
	return c.Conn.Write(p)
}
