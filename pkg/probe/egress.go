package probe

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Ports of egress, by how a program arrives there.
const (
	proxyPort = 3128
	tlsPort   = 443
	httpPort  = 80
)

// request is one HTTP request to a host, made in one of the ways a program has.
type request struct {
	egress netip.Addr
	host   string
}

// ways are how a request gets to egress.
var ways = []struct {
	name string
	send func(request, context.Context) (*http.Response, []byte, error)
}{
	{"CONNECT", request.tunnelled},
	{"TLS by its name", request.byName},
	{"the proxy's plain HTTP", request.absolute},
	{"port 80", request.plain},
}

// refusedHosts is row E1.
func refusedHosts(t Targets) []attempt { return refusedAll(t, t.Refused) }

// namesThatTell is row E2: the name itself carries something out, if anybody
// but egress ever sees it.
func namesThatTell(t Targets) []attempt {
	return refusedAll(t, []string{strings.ToLower(rand.Text()) + ".evil.test"})
}

// egressItself is row E26.
func egressItself(t Targets) []attempt {
	if !t.Egress.IsValid() {
		return nil
	}
	return refusedAll(t, []string{"egress", t.Egress.String(), "localhost", "127.0.0.1", "agent"})
}

// refusedAll expects egress to refuse hosts, whichever way they are asked for.
func refusedAll(t Targets, hosts []string) []attempt {
	var list []attempt
	for _, host := range hosts {
		r := request{t.Egress, host}
		for _, way := range ways {
			if _, err := netip.ParseAddr(host); err == nil && way.name == "TLS by its name" {
				continue // TLS cannot name an address
			}
			list = append(list, attempt{what: host + " by " + way.name, wait: 5 * Bound, try: func(ctx context.Context) error {
				response, body, err := way.send(r, ctx)
				if err != nil {
					return fmt.Errorf("no refusal: %w", err)
				}
				return judgeRefusal(response, body)
			}})
		}
	}
	return list
}

// judgeRefusal holds an answer to what a refusal of egress looks like: others'
// errors, and silence, prove nothing.
func judgeRefusal(r *http.Response, body []byte) error {
	reason := strings.TrimPrefix(r.Status, "403 ")
	switch {
	case r.StatusCode != http.StatusForbidden:
		return fmt.Errorf("answered %q", r.Status)
	case r.Header.Get("X-Bottle-Blocked") != "egress":
		return errors.New("a 403 of somebody else's")
	case !strings.HasPrefix(reason, "egress: "):
		return fmt.Errorf("the status line does not say why: %q", r.Status)
	case !strings.Contains(string(body), reason):
		return fmt.Errorf("the body does not say why: %q", body)
	}
	return nil
}

// tunnelled asks the proxy for a tunnel to port 443 and speaks TLS in it.
func (r request) tunnelled(ctx context.Context) (*http.Response, []byte, error) {
	conn, err := r.dial(ctx, proxyPort)
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "CONNECT %s:443 HTTP/1.1\r\nHost: %s:443\r\n\r\n", r.host, r.host); err != nil {
		return nil, nil, err
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodConnect})
	if err != nil {
		return nil, nil, err
	}
	if answer.StatusCode != http.StatusOK {
		body, err := readBody(answer)
		return answer, body, err
	}
	return r.overTLS(ctx, conn)
}

// byName dials the address that every name has in a bottle.
func (r request) byName(ctx context.Context) (*http.Response, []byte, error) {
	conn, err := r.dial(ctx, tlsPort)
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close()
	return r.overTLS(ctx, conn)
}

func (r request) absolute(ctx context.Context) (*http.Response, []byte, error) {
	return r.clear(ctx, proxyPort, "http://"+r.host+"/")
}

func (r request) plain(ctx context.Context) (*http.Response, []byte, error) {
	return r.clear(ctx, httpPort, "/")
}

func (r request) clear(ctx context.Context, port uint16, target string) (*http.Response, []byte, error) {
	conn, err := r.dial(ctx, port)
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close()
	return r.get(conn, target)
}

func (r request) overTLS(ctx context.Context, conn net.Conn) (*http.Response, []byte, error) {
	secure := tls.Client(conn, &tls.Config{ServerName: r.host})
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, nil, err
	}
	return r.get(secure, "/")
}

func (r request) get(conn net.Conn, target string) (*http.Response, []byte, error) {
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", target, r.host); err != nil {
		return nil, nil, err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, nil, err
	}
	body, err := readBody(response)
	return response, body, err
}

func readBody(r *http.Response) ([]byte, error) {
	defer r.Body.Close()
	return io.ReadAll(io.LimitReader(r.Body, 64<<10))
}

// dial connects to egress; the connection ends with ctx's deadline.
func (r request) dial(ctx context.Context, port uint16) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", netip.AddrPortFrom(r.egress, port).String())
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}
