package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"bottle/pkg/policy"
	"bottle/pkg/sidecar"
)

const (
	maxIdle      = 64 // pooled connections of one origin
	idleUpstream = 60 * time.Second
	tlsTime      = 10 * time.Second
)

// upstream is a connection to an origin. Whoever got it from the pool owns it.
type upstream struct {
	origin origin
	sock   *socket
	conn   net.Conn
	in     reader
	out    []byte
	reused bool
	expiry time.Time // when it is too old to be taken from the pool
}

func (u *upstream) close() {
	u.sock.Close()
	u.in.release()
	putBuf(u.out)
}

// pool keeps upstreams that are between two requests, for all clients: they are
// all the same bottle's.
type pool struct {
	dial func(ctx context.Context, host string, port int) (*net.TCPConn, error)
	tls  *tls.Config

	mu   sync.Mutex
	idle map[origin][]*upstream
}

// get returns a connection to an origin that was judged: one that is idle and
// alive, or a new one. fresh asks for a new one.
func (p *pool) get(ctx context.Context, o origin, fresh bool) (*upstream, error) {
	for !fresh {
		u := p.take(o)
		if u == nil {
			break
		}
		if time.Now().Before(u.expiry) && u.sock.quiet() {
			u.reused = true
			return u, nil
		}
		u.close()
	}
	conn, err := p.dial(ctx, o.host, o.port)
	if err != nil {
		return nil, err
	}
	u := &upstream{origin: o, sock: &socket{TCPConn: conn}}
	u.conn = u.sock
	if o.scheme == policy.HTTPS {
		if u.conn, err = p.secure(ctx, u.sock, o.host); err != nil {
			u.sock.Close()
			return nil, err
		}
	}
	u.in, u.out = newReader(u.conn), getBuf()[:0]
	return u, nil
}

// secure makes the TLS connection: name and certificate are the judged host's.
func (p *pool) secure(ctx context.Context, s *socket, host string) (net.Conn, error) {
	config := p.tls.Clone()
	config.ServerName = host
	t := tls.Client(s, config)
	ctx, cancel := context.WithTimeout(ctx, tlsTime)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return t, nil
}

// keep closes the idle connections of origins that are not kept.
func (p *pool) keep(kept func(origin) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for o, list := range p.idle {
		if kept(o) {
			continue
		}
		for _, u := range list {
			u.close()
		}
		delete(p.idle, o)
	}
}

func (p *pool) take(o origin) *upstream {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.idle[o]
	if len(list) == 0 {
		return nil
	}
	u := list[len(list)-1] // the warmest
	list[len(list)-1] = nil
	p.idle[o] = list[:len(list)-1]
	return u
}

// put keeps a connection whose last answer is complete, for life at most; 0 is
// the default.
func (p *pool) put(u *upstream, life time.Duration) {
	if life == 0 || life > idleUpstream {
		life = idleUpstream
	}
	u.expiry = time.Now().Add(life)
	if cap(u.out) > 2*bufSize {
		u.out = getBuf()[:0]
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.idle == nil {
		p.idle = map[origin][]*upstream{}
	}
	if len(p.idle[u.origin]) >= maxIdle {
		u.close()
		return
	}
	p.idle[u.origin] = append(p.idle[u.origin], u)
}

// sweep closes what expired by now.
func (p *pool) sweep(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for o, list := range p.idle {
		kept := list[:0]
		for _, u := range list {
			if now.Before(u.expiry) {
				kept = append(kept, u)
				continue
			}
			u.close()
		}
		clear(list[len(kept):])
		if p.idle[o] = kept; len(kept) == 0 {
			delete(p.idle, o)
		}
	}
}

// why says in words for the agent why an upstream could not be asked: no
// addresses, nothing of the machine.
func why(err error) string {
	var dns *net.DNSError
	var unknown x509.UnknownAuthorityError
	var other x509.HostnameError
	var verify *tls.CertificateVerificationError
	var network net.Error
	switch {
	case errors.Is(err, sidecar.ErrRefused):
		return sidecar.ErrRefused.Error()
	case errors.As(err, &dns) && dns.IsNotFound:
		return "the name does not resolve"
	case errors.As(err, &dns):
		return "the name could not be looked up"
	case errors.As(err, &unknown):
		return "its certificate is not trusted"
	case errors.As(err, &other):
		return "its certificate is for another host"
	case errors.As(err, &verify):
		return "its certificate is not valid"
	case errors.Is(err, errMalformed), errors.Is(err, errTooLarge):
		return "its answer is malformed (" + err.Error() + ")"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "timed out"
	case errors.As(err, &network) && network.Timeout():
		return "timed out"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "it closed the connection"
	}
	return "the connection failed"
}
