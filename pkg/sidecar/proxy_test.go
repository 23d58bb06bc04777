package sidecar

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/test/forward"
)

// company is a proxy, a host that speaks first behind it, and who was asked for.
type company struct {
	t       *testing.T
	address string
	login   string
	secrets *Secrets
	mu      sync.Mutex
	asked   []string
}

func newCompany(t *testing.T, login string) *company {
	t.Helper()
	hosts, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { hosts.Close() })
	go func() {
		for {
			conn, err := hosts.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, "hello\n")
			go func() { io.Copy(conn, conn); conn.Close() }()
		}
	}()
	c := &company{t: t, login: login, secrets: &Secrets{}}
	server := httptest.NewServer(&forward.Proxy{Login: login, Dial: func(address string) (net.Conn, error) {
		if strings.HasPrefix(address, "gone.") {
			return nil, errors.New("no such host")
		}
		return net.Dial("tcp", hosts.Addr().String())
	}, Note: func(method, address string, status int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.asked = append(c.asked, fmt.Sprintf("%s %s %d", method, address, status))
	}})
	t.Cleanup(server.Close)
	c.address = strings.TrimPrefix(server.URL, "http://")
	return c
}

// dialer reaches the proxy alone: other names lead nowhere.
func (c *company) dialer(doc bottle.Proxy) Dialer {
	c.t.Helper()
	doc.Address = strings.Replace(c.address, "127.0.0.1", "proxy.corp", 1)
	p, err := NewProxy(&doc, c.secrets)
	if err != nil {
		c.t.Fatal(err)
	}
	return Dialer{Proxy: p, Timeout: 2 * time.Second, Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
		if host != "proxy.corp" {
			return nil, &net.DNSError{Err: "looked up here", Name: host, IsNotFound: true}
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}, Check: func(a netip.Addr, mayPrivate bool) error {
		if a.IsLoopback() && mayPrivate {
			return nil
		}
		return Guard{}.Check(a, mayPrivate)
	}}
}

func TestHostsAreReachedThroughTheProxyWithItsLogin(t *testing.T) {
	c := newCompany(t, "ada:geheim und lang")
	c.secrets.Put(bottle.Secrets{Values: map[string]string{bottle.ProxyLogin: c.login}})
	d := c.dialer(bottle.Proxy{Login: bottle.ProxyLogin})
	conn, err := d.Dial(t.Context(), "api.example.com", 8443, false)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "ping\n")
	lines := bufio.NewScanner(conn)
	if !lines.Scan() || lines.Text() != "hello" || !lines.Scan() || lines.Text() != "ping" {
		t.Errorf("through the tunnel came %q", lines.Text())
	}
	if want := []string{"CONNECT api.example.com:8443 200"}; !slices.Equal(c.asked, want) {
		t.Errorf("it was asked %q, want %q", c.asked, want)
	}
}

func TestWhatTheProxyDoesNotGiveIsToldInWords(t *testing.T) {
	c := newCompany(t, "ada:geheim und lang")
	var refused []string
	dial := func(doc bottle.Proxy, host string) error {
		t.Helper()
		d := c.dialer(doc)
		d.Proxy.OnRefuse(func(name string, came time.Time) {
			if c.secrets.Refuse(name, came) {
				refused = append(refused, name)
			}
		})
		conn, err := d.Dial(t.Context(), host, 443, false)
		if err == nil {
			conn.Close()
			return errors.New("it got through")
		}
		return err
	}
	with := bottle.Proxy{Login: bottle.ProxyLogin}
	check := func(what string, err error, want string) {
		t.Helper()
		var p *ProxyError
		if !errors.As(err, &p) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "127.0.0.1") || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v", what, err)
		}
	}
	check("no login", dial(bottle.Proxy{}, "a.example"), "asks for a login (407), and none is known")
	check("one that is not here", dial(with, "a.example"), "needs a login that is not here")
	c.secrets.Put(bottle.Secrets{Values: map[string]string{bottle.ProxyLogin: "ada:geheim und alt"}})
	for range 2 {
		check("a wrong one", dial(with, "a.example"), "refuses its login (407)")
	}
	if !slices.Equal(refused, []string{bottle.ProxyLogin}) {
		t.Errorf("refused: %q", refused)
	}
	c.secrets.Put(bottle.Secrets{Values: map[string]string{bottle.ProxyLogin: c.login}})
	check("a host that is not there", dial(with, "gone.example"), "does not lead there (502)")
	c.address = "127.0.0.1:1"
	check("no proxy", dial(with, "a.example"), "cannot be reached")
}

// Who needs no proxy is dialled, and looked up and checked as ever.
func TestWhoIsExceptedIsDialled(t *testing.T) {
	c := newCompany(t, "")
	d := c.dialer(bottle.Proxy{Except: ".corp.example, 10.0.0.0/8,exact.example:8443"})
	for at, leads := range map[string]bool{"a.corp.example:443": false, "corp.example:443": true, "exact.example:8443": false, "exact.example:443": true, "10.1.2.3:22": false,
		"11.1.2.3:22": true, "localhost:443": false, "127.0.0.1:80": false, "example.com:80": true} {
		host, port, _ := strings.Cut(at, ":")
		var number int
		fmt.Sscan(port, &number)
		if got := d.Proxy.Leads(host, number); got != leads {
			t.Errorf("%s: %v", at, got)
		}
	}
	var dns *net.DNSError
	if _, err := d.Dial(t.Context(), "a.corp.example", 443, false); !errors.As(err, &dns) || len(c.asked) > 0 {
		t.Errorf("%v, and the proxy was asked %q", err, c.asked)
	}
}

// Where the proxy looks names up, what a name says by itself is all there is.
func TestNamesThatSayThatTheyArePrivateAreRefused(t *testing.T) {
	c := newCompany(t, "")
	d := c.dialer(bottle.Proxy{Except: "none.example"})
	for _, host := range []string{"10.0.0.1", "192.168.1.1", "intranet", "db.internal", "printer.local", "x.home.arpa", "wiki.corp"} {
		if _, err := d.Dial(t.Context(), host, 443, false); !errors.Is(err, ErrPrivate) {
			t.Errorf("%s: %v", host, err)
		}
		conn, err := d.Dial(t.Context(), host, 443, true)
		if err != nil {
			t.Errorf("%s, where the route says private: %v", host, err)
			continue
		}
		conn.Close()
	}
	for _, host := range []string{"169.254.169.254", "metadata.google.internal", "metadata", "x.localhost", "127.1", "a.0x7f", "0.0.0.0", "1.2.3", ""} {
		if _, err := d.Dial(t.Context(), host, 443, true); !errors.Is(err, ErrRefused) || errors.Is(err, ErrPrivate) {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func FuzzProxysAnswer(f *testing.F) {
	for _, s := range []string{"HTTP/1.1 200 OK\r\n\r\nhello", "HTTP/1.0 407\r\nX: y\r\n\r\n", "HTTP/1.1  200\n\n", "SSH-2.0-x\r\n\r\n", "HTTP/1.1 2000 x\r\n\r\n", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r := strings.NewReader(s)
		status, err := readStatus(r)
		if err != nil {
			return
		}
		read := s[:len(s)-r.Len()]
		if status < -99 || status > 999 || !strings.HasPrefix(s, "HTTP/1.") || !strings.HasSuffix(read, "\n") {
			t.Errorf("%q: %d after %q", s, status, read)
		}
	})
}
