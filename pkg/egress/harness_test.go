package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/ca"
	"bottle/pkg/policy"
)

// world is an egress on loopback, its outside, and its agent.
type world struct {
	t       testing.TB
	s       *Server
	in      string
	trust   *x509.CertPool // the bottle's CA, which the agent trusts
	outside *ca.Issuer     // vouches for upstreams

	mu     sync.Mutex
	hosts  map[string]string // "host:port" → address of its server
	dials  []string
	guard  func(host string, private bool) error // nil: every address may be dialled
	events []bottle.Event
	added  chan bottle.Event
	as     func(bottle.Event) // is called when an event is recorded; nil: nothing is
}

const testRoutes = `routes:
- host: a.example
- host: b.example
- {host: plain.example, scheme: http}
- {host: odd.example, port: 8443}
- host: dead.example
- host: untrusted.example
`

func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldWith(t, Config{})
}

// newWorldWith is newWorld with what cfg sets beyond the usual.
func newWorldWith(t testing.TB, cfg Config) *world {
	t.Helper()
	w := &world{t: t, in: t.TempDir(), hosts: map[string]string{}, added: make(chan bottle.Event, 100_000)}
	cert, key, err := ca.New("bottle test", time.Now())
	must(t, err)
	w.trust = pool1(cert)
	outCert, outKey, err := ca.New("outside", time.Now())
	must(t, err)
	w.outside, err = ca.Load(outCert, outKey)
	must(t, err)
	for name, data := range map[string][]byte{CertFile: cert, KeyFile: key, RootsFile: outCert, PolicyFile: []byte(testRoutes)} {
		must(t, os.WriteFile(filepath.Join(w.in, name), data, 0o600))
	}
	cfg.In, cfg.Listen, cfg.Dial, cfg.Record = w.in, netip.MustParseAddr("127.0.0.1"), w.dial, w.record
	cfg.Names = map[string]netip.Addr{"egress": netip.MustParseAddr("10.83.0.2"), "supervise": netip.MustParseAddr("10.83.0.3")}
	for range 5 { // the port that the system gave for DNS over UDP may be taken for TCP
		if w.s, err = Start(cfg); !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		w.s.Drain(ctx)
	})
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func pool1(pem []byte) *x509.CertPool {
	p := x509.NewCertPool()
	p.AppendCertsFromPEM(pem)
	return p
}

func (w *world) dial(ctx context.Context, host string, port int, private bool) (*net.TCPConn, error) {
	key := fmt.Sprintf("%s:%d", host, port)
	w.mu.Lock()
	addr, ok := w.hosts[key]
	guard := w.guard
	w.dials = append(w.dials, key)
	w.mu.Unlock()
	if guard != nil {
		if err := guard(host, private); err != nil {
			return nil, err
		}
	}
	if !ok {
		return nil, &net.DNSError{Name: host, IsNotFound: true}
	}
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

func (w *world) dialled() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.dials...)
}

func (w *world) record(e bottle.Event) {
	w.mu.Lock()
	w.events = append(w.events, e)
	as := w.as
	w.mu.Unlock()
	if as != nil {
		as(e)
	}
	select {
	case w.added <- e:
	default:
	}
}

// event waits for an event of a kind.
func (w *world) event(kind string) bottle.Event {
	w.t.Helper()
	timeout := time.After(time.Minute)
	for {
		select {
		case e := <-w.added:
			if e.Kind == kind {
				return e
			}
		case <-timeout:
			w.t.Fatalf("no event of kind %s came", kind)
		}
	}
}

// serve makes a host of the outside.
func (w *world) serve(hostPort string, h http.Handler) *httptest.Server {
	host, port, _ := net.SplitHostPort(hostPort)
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if port == "80" {
		s.Start()
	} else {
		s.TLS = w.certificate(host)
		s.StartTLS()
	}
	w.t.Cleanup(s.Close)
	w.setHost(hostPort, s.Listener.Addr().String())
	return s
}

func (w *world) setHost(hostPort, addr string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hosts[hostPort] = addr
}

func (w *world) certificate(host string) *tls.Config {
	c, err := w.outside.Leaf(host)
	must(w.t, err)
	return &tls.Config{Certificates: []tls.Certificate{*c}}
}

// raw makes a host of the outside that handles bare connections.
func (w *world) raw(hostPort string, handle func(net.Conn, *bufio.Reader)) {
	host, port, _ := net.SplitHostPort(hostPort)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(w.t, err)
	if port != "80" {
		l = tls.NewListener(l, w.certificate(host))
	}
	w.t.Cleanup(func() { l.Close() })
	w.setHost(hostPort, l.Addr().String())
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(c, bufio.NewReader(c))
			}()
		}
	}()
}

func (w *world) addr(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// agent is an ordinary client behind the proxy variables.
func (w *world) agent() *http.Client {
	proxy := &url.URL{Scheme: "http", Host: w.addr(w.s.Ports().Proxy)}
	t := &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: w.trust}, ExpectContinueTimeout: 5 * time.Second, DisableCompression: true}
	w.t.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t, Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// open dials a port of the egress.
func (w *world) open(port int) net.Conn {
	w.t.Helper()
	c, err := net.Dial("tcp", w.addr(port))
	must(w.t, err)
	w.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

// inside opens TLS for a host by SNI.
func (w *world) inside(sni string) *tls.Conn {
	return tls.Client(w.open(w.s.Ports().TLS), &tls.Config{ServerName: sni, RootCAs: w.trust})
}

// say writes text and returns all that comes back until the other side closes.
func say(t testing.TB, c io.ReadWriter, text string) string {
	t.Helper()
	go io.WriteString(c, text)
	data, err := io.ReadAll(c)
	if err != nil && !strings.Contains(err.Error(), "reset") {
		t.Fatalf("%q: %v", text, err)
	}
	return string(data)
}

func (w *world) setPolicy(p policy.Policy) {
	must(w.t, os.WriteFile(filepath.Join(w.in, PolicyFile), policy.Render(p), 0o600))
	must(w.t, w.s.Reload())
}

// waitFor looks often whether something has come about that nothing tells of.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not come about that %s", what)
		}
	}
}
