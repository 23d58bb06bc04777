package sidecar

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"

	"bottle/pkg/bottle"
)

// Proxy is a company's proxy, which leads to hosts by CONNECT, whatever is spoken
// to them: what goes through the tunnel is nobody's but both ends'. A nil Proxy
// leads nowhere.
type Proxy struct {
	host    string
	port    int
	login   string // name of the value; empty: it asks for none
	own     bool   // it is the bottle's pipelock
	except  func(*url.URL) (*url.URL, error)
	secrets *Secrets
	refused func(name string, came time.Time)
}

// NewProxy makes a Proxy of what the host says of it; nil makes none. secrets has
// its login.
func NewProxy(doc *bottle.Proxy, secrets *Secrets) (*Proxy, error) {
	if doc == nil {
		return nil, nil
	}
	host, port, err := net.SplitHostPort(doc.Address)
	number, err2 := strconv.Atoi(port)
	if err != nil || err2 != nil || host == "" || number < 1 || number > 65535 {
		return nil, errors.New("the address of the proxy in " + HostFile + " is none")
	}
	rules := httpproxy.Config{HTTPSProxy: "http://" + doc.Address, NoProxy: doc.Except}
	return &Proxy{host: host, port: number, login: doc.Login, own: doc.Pipelock, except: rules.ProxyFunc(), secrets: secrets}, nil
}

// OnRefuse sets what is called where the proxy refuses the login that came in
// then.
func (p *Proxy) OnRefuse(f func(name string, came time.Time)) {
	if p != nil {
		p.refused = f
	}
}

// Pipelock says whether it is the bottle's own pipelock.
func (p *Proxy) Pipelock() bool { return p != nil && p.own }

// Needs are the names of the values that the proxy rests on.
func (p *Proxy) Needs() []string {
	if p == nil || p.login == "" {
		return nil
	}
	return []string{p.login}
}

// Leads says whether a host is reached through the proxy.
func (p *Proxy) Leads(host string, port int) bool {
	if p == nil {
		return false
	}
	at, err := p.except(&url.URL{Scheme: "https", Host: net.JoinHostPort(host, strconv.Itoa(port))})
	return err != nil || at != nil
}

// ProxyError is a way out that the proxy did not give. Its text names no address.
type ProxyError struct {
	reason string
	own    bool // it is the bottle's pipelock
}

func (e *ProxyError) Error() string {
	if e.own {
		return "pipelock, behind egress, " + e.reason
	}
	return "the proxy on the way out " + e.reason
}

var errSlow = &ProxyError{reason: "did not answer in time"}

// through connects to a host by the proxy. It is not looked up here, where there
// may be no name server for it: only what its name says by itself is refused. The
// proxy is the operator's word, and may have a private address.
func (d Dialer) through(ctx context.Context, host string, port int, mayPrivate bool) (*net.TCPConn, error) {
	if err := d.checkName(host, mayPrivate); err != nil {
		return nil, err
	}
	if d.Proxy.own {
		return d.throughPipelock(ctx, host, port)
	}
	values, came := d.Proxy.secrets.Now()
	login := values[d.Proxy.login]
	if d.Proxy.login != "" && login == "" {
		return nil, &ProxyError{reason: "needs a login that is not here (the sidecar was restarted): the operator must run bottle-start --resume"}
	}
	conn, err := d.proxyConn(ctx)
	if err != nil {
		return nil, err
	}
	status, err := connect(ctx, conn, net.JoinHostPort(host, strconv.Itoa(port)), login, d.Timeout)
	if err == nil && status/100 == 2 {
		return conn, nil
	}
	conn.Close()
	switch {
	case err != nil:
		return nil, err
	case status == 407 && login != "":
		if d.Proxy.refused != nil {
			d.Proxy.refused(d.Proxy.login, came[d.Proxy.login])
		}
		return nil, &ProxyError{reason: "refuses its login (407): the operator must mend it, and run bottle-start --renew"}
	case status == 407:
		return nil, &ProxyError{reason: "asks for a login (407), and none is known: the operator must give it one"}
	}
	return nil, &ProxyError{reason: fmt.Sprintf("does not lead there (%d)", status)}
}

// proxyConn connects to the proxy itself.
func (d Dialer) proxyConn(ctx context.Context) (*net.TCPConn, error) {
	if a, err := netip.ParseAddr(d.Proxy.host); err == nil {
		d.Lookup = func(context.Context, string) ([]netip.Addr, error) { return []netip.Addr{a}, nil }
	}
	conn, err := d.direct(ctx, d.Proxy.host, d.Proxy.port, true)
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, ErrRefused):
		return nil, &ProxyError{reason: "has an address that is refused"}
	}
	return nil, &ProxyError{reason: "cannot be reached"}
}

// connect asks the proxy for a way to a host, and returns the status that it
// answers with. It reads no byte of what follows.
func connect(ctx context.Context, conn net.Conn, to, login string, patience time.Duration) (int, error) {
	ask := "CONNECT " + to + " HTTP/1.1\r\nHost: " + to + "\r\n"
	if login != "" {
		ask += "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(login)) + "\r\n"
	}
	return exchange(ctx, conn, ask+"\r\n", patience)
}

// exchange sends the head of a request, and returns the status of the answer.
func exchange(ctx context.Context, conn net.Conn, head string, patience time.Duration) (int, error) {
	conn.SetDeadline(time.Now().Add(patience))
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	_, err := io.WriteString(conn, head)
	var status int
	if err == nil {
		status, err = readStatus(conn)
	}
	if !stop() && ctx.Err() != nil {
		return 0, ctx.Err()
	}
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return 0, errSlow
	case err != nil:
		return 0, &ProxyError{reason: "does not answer as a proxy does"}
	}
	return status, conn.SetDeadline(time.Time{})
}

// maxProxyHead bounds what a proxy answers, in bytes.
const maxProxyHead = 16 << 10

// readStatus reads the head of an answer, a byte at a time: what follows is the
// host's, and not for us.
func readStatus(r io.Reader) (int, error) {
	var head []byte
	var one [1]byte
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) && !bytes.HasSuffix(head, []byte("\n\n")) {
		if len(head) == maxProxyHead {
			return 0, errors.New("the answer is too long")
		}
		if _, err := io.ReadFull(r, one[:]); err != nil {
			return 0, err
		}
		head = append(head, one[0])
	}
	version, rest, _ := strings.Cut(string(head), " ")
	code, _, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
	code, _, _ = strings.Cut(code, "\r")
	status, err := strconv.Atoi(strings.TrimSpace(code))
	if err != nil || len(strings.TrimSpace(code)) != 3 || !strings.HasPrefix(version, "HTTP/1.") {
		return 0, errors.New("the answer is no HTTP")
	}
	return status, nil
}

// metadata are names that clouds give to their metadata services.
var metadata = []string{"metadata", "metadata.google.internal", "metadata.goog", "instance-data"}

// inside are the ends of names that mean something inside a company or a house.
var inside = []string{".local", ".internal", ".intranet", ".lan", ".home.arpa", ".corp", ".private"}

// checkName refuses a host that is an address which may not be dialled, or whose
// name means this machine, a metadata service or, without mayPrivate, somebody's
// own network.
func (d Dialer) checkName(host string, mayPrivate bool) error {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if a, err := netip.ParseAddr(host); err == nil {
		return d.Check(a, mayPrivate)
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	if host == "localhost" || last == "localhost" || last == "" || last[0] >= '0' && last[0] <= '9' { // 127.1, 0x7f000001
		return fmt.Errorf("%w: its name says so", ErrRefused)
	}
	for _, name := range metadata {
		if host == name {
			return fmt.Errorf("%w: its name is that of a metadata service", ErrRefused)
		}
	}
	if mayPrivate {
		return nil
	}
	if last == host {
		return fmt.Errorf("%w, as its name says", ErrPrivate)
	}
	for _, end := range inside {
		if strings.HasSuffix(host, end) {
			return fmt.Errorf("%w, as its name says", ErrPrivate)
		}
	}
	return nil
}
