package escape

import (
	"bufio"
	"bytes"
	cryptorand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bottle/pkg/plan"
	"bottle/test/rig"
)

// Ports of egress.
const (
	proxyPort = 3128
	tlsPort   = 443
	httpPort  = 80
)

// Names of the bottle that is attacked with raw bytes; its egress asks the tests'
// name server, which knows them all.
const (
	secured = "raw.test"   // https
	plain   = "plain.test" // http
)

const rawBottle = `---
egress:
  routes:
    - {host: raw.test, private: true}
    - {host: plain.test, scheme: http, private: true}
    - {host: h2.test, private: true}
    - {host: unmarked.test}
    - {host: flip.test, private: true}
    - {host: 169-254-169-254.addr.test, private: true}
    - {host: 127-0-0-1.addr.test, private: true}
    - {host: 0-0-0-0.addr.test, private: true}
    - {host: 100-100-100-200.addr.test, private: true}
    - {host: 224-0-0-1.addr.test, private: true}
    - {host: 10-99-99-99.addr.test}
    - {host: 172-16-99-99.addr.test}
    - {host: 192-168-99-99.addr.test}
    - {host: 100-64-99-99.addr.test}
    - {host: HOST.addr.test}
---
`

// rawBottled is the bottle that raw bytes are sent in.
type rawBottled struct {
	sync.Once
	slug  string
	trust *x509.CertPool
}

// raw returns that bottle.
func (s *stage) raw(t *testing.T) *rawBottled {
	t.Helper()
	b := &s.rawBottle
	b.Do(func() {
		s.r.Write("bottles/raw.md", strings.ReplaceAll(rawBottle, "HOST", dashed(s.targets.Host[0])))
		s.r.Write("agents/raw.md", "---\nbottle: raw\nprogram: shell\n---\n")
		slug, err := s.r.Up("raw", func(p *plan.Plan) { p.Find(plan.EgressService).DNS = []string{s.u.Addr.String()} })
		if err != nil {
			t.Errorf("cannot start the bottle for raw bytes: %v", err)
			return
		}
		s.u.Join(slug)
		b.trust = s.trust(t, slug)
		b.slug = slug
	})
	if b.slug == "" {
		t.Fatal("there is no bottle for raw bytes")
	}
	return b
}

// trust is what a bottle's programs trust: its own CA.
func (s *stage) trust(t *testing.T, slug string) *x509.CertPool {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(s.r.Home, "state", slug, "egress/in/ca.crt"))
	if err != nil {
		t.Error(err)
	}
	trust := x509.NewCertPool()
	trust.AppendCertsFromPEM(pem)
	return trust
}

// dialers are those of bottles, by slug, and where each finds its egress.
type dialers struct {
	sync.Mutex
	of map[string]dialer
}

type dialer struct {
	*rig.Dialer
	egress netip.Addr
}

// dial opens a connection to egress from inside the bottle.
func (s *stage) dial(t *testing.T, port uint16) net.Conn {
	t.Helper()
	return s.dialIn(t, s.raw(t).slug, port)
}

// dialIn opens a connection to egress from inside any bottle. It ends after
// rig.Patience, if not before.
func (s *stage) dialIn(t *testing.T, slug string, port uint16) net.Conn {
	t.Helper()
	d, err := s.dialer(t, slug)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := d.Dial(t, netip.AddrPortFrom(d.egress, port).String())
	if err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(rig.Patience, func() { conn.Close() })
	t.Cleanup(func() {
		late.Stop()
		conn.Close()
	})
	return conn
}

// dialer returns a bottle's, which lives as long as the stage.
func (s *stage) dialer(t *testing.T, slug string) (dialer, error) {
	t.Helper()
	s.dialers.Lock()
	defer s.dialers.Unlock()
	if d, ok := s.dialers.of[slug]; ok {
		return d, nil
	}
	made, err := s.r.Dialer(slug)
	if err != nil {
		return dialer{}, err
	}
	d := dialer{made, s.egressAddress(t, slug)}
	if s.dialers.of == nil {
		s.dialers.of = map[string]dialer{}
	}
	s.dialers.of[slug] = d
	return d, nil
}

// connect asks for a tunnel and returns the status line of the answer.
func connect(t *testing.T, c net.Conn, authority string) string {
	t.Helper()
	io.WriteString(c, "CONNECT "+authority+" HTTP/1.1\r\nHost: "+authority+"\r\n\r\n")
	var got bytes.Buffer
	for one := make([]byte, 1); !strings.HasSuffix(got.String(), "\r\n\r\n"); got.Write(one) {
		if _, err := c.Read(one); err != nil {
			break
		}
	}
	line, _, _ := strings.Cut(got.String(), "\r\n")
	return line
}

// secure makes TLS of a connection to egress; change may change how.
func (s *stage) secure(t *testing.T, c net.Conn, sni string, change func(*tls.Config)) (*tls.Conn, error) {
	t.Helper()
	config := &tls.Config{ServerName: sni, RootCAs: s.raw(t).trust}
	if change != nil {
		change(config)
	}
	conn := tls.Client(c, config)
	return conn, conn.Handshake()
}

// inside is TLS with a host by way of a CONNECT.
func (s *stage) inside(t *testing.T, host string) *tls.Conn {
	t.Helper()
	c := s.dial(t, proxyPort)
	if line := connect(t, c, host+":443"); line != "HTTP/1.1 200 Connection established" {
		t.Fatalf("CONNECT %s: %s", host, line)
	}
	conn, err := s.secure(t, c, host, nil)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// say writes bytes, ~ for a line's end, and returns all that comes back until
// the other side closes.
func say(t *testing.T, c io.ReadWriter, text string) string {
	t.Helper()
	go io.WriteString(c, strings.ReplaceAll(text, "~", "\r\n"))
	got, err := io.ReadAll(c)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, os.ErrClosed) {
		t.Errorf("%q: %v", text, err)
	}
	return string(got)
}

// statuses are those of all answers in what came back.
func statuses(got string) (list []string) {
	for line := range strings.Lines(got) {
		if rest, ok := strings.CutPrefix(line, "HTTP/1.1 "); ok {
			list = append(list, rest[:3])
		}
	}
	return list
}

// stays is the positive control: a request in raw bytes arrives.
func (s *stage) stays(t *testing.T, mark string) {
	t.Helper()
	for host, c := range map[string]io.ReadWriter{plain: s.dial(t, httpPort), secured: s.inside(t, secured)} {
		got := say(t, c, "GET "+mark+"-arrives HTTP/1.1~Host: "+host+"~Connection: close~~")
		if !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") {
			t.Fatalf("an ordinary request in raw bytes does not arrive: %s", got)
		}
	}
	s.settle(t)
	if n := len(s.requests(mark + "-arrives")); n != 2 {
		t.Fatalf("%d of 2 ordinary requests arrived", n)
	}
}

// settle has one more request arrive, so that the internet has told of what was
// under way before it.
func (s *stage) settle(t *testing.T) {
	t.Helper()
	mark := "/settled-" + strings.ToLower(cryptorand.Text())
	if got := say(t, s.dial(t, httpPort), "GET "+mark+" HTTP/1.1~Host: "+plain+"~Connection: close~~"); !strings.HasPrefix(got, "HTTP/1.1 200") {
		t.Fatalf("an ordinary request ends in %s", got)
	}
	if len(s.requests(mark)) == 0 {
		t.Fatal("the internet does not tell of what arrived")
	}
}

// requests are those that arrived with a mark in their path or body.
func (s *stage) requests(mark string) (list []rig.Entry) {
	for _, e := range s.u.Heard(mark) {
		if e.Method != "" {
			list = append(list, e)
		}
	}
	return list
}

// unheard wants nothing at the upstream that has the mark in it.
func (s *stage) unheard(t *testing.T, mark string) {
	t.Helper()
	s.settle(t)
	if heard := s.u.Heard(mark); len(heard) > 0 {
		t.Errorf("the internet heard %+v", heard[0])
	}
}

// each tries raw requests, each of which must be answered with one status, once,
// and closed; H in them is the host. A few go side by side.
func (s *stage) each(t *testing.T, status string, cases map[string]string, open func() (io.ReadWriter, string)) {
	t.Helper()
	var wg sync.WaitGroup
	slots := make(chan struct{}, 3)
	for name, text := range cases {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			c, host := open()
			got := say(t, c, strings.ReplaceAll(text, "Host: H~", "Host: "+host+"~"))
			if list := statuses(got); len(list) != 1 || list[0] != status || !strings.Contains(got, "X-Bottle-Blocked: egress\r\n") || !strings.Contains(got, " egress: ") {
				t.Errorf("%s for %s: %q", name, host, got)
			}
		})
	}
	wg.Wait()
}

// answer reads one answer and leaves the connection open.
func answer(t *testing.T, r *bufio.Reader) (status, body string) {
	t.Helper()
	line, err := r.ReadString('\n')
	if err != nil {
		t.Errorf("no answer: %v", err)
		return "", ""
	}
	length := 0
	for {
		field, err := r.ReadString('\n')
		if err != nil || field == "\r\n" {
			break
		}
		fmt.Sscanf(strings.ToLower(field), "content-length: %d", &length)
	}
	data := make([]byte, length)
	if _, err := io.ReadFull(r, data); err != nil {
		t.Error(err)
	}
	return strings.TrimSpace(line), string(data)
}
