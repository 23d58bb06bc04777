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
	maxIdle      = 64  // pooled connections of one place
	maxIdleAll   = 256 // of all of them
	idleUpstream = 60 * time.Second
	tlsTime      = 10 * time.Second
)

// place is where an upstream leads, and by which permission: what may be dialled
// for one route is not for another to use.
type place struct {
	origin
	private bool // it may be a private address
}

// upstream is a connection to a place. Whoever got it from the pool owns it.
type upstream struct {
	place  place
	sock   *socket // nil: it is a call
	conn   io.ReadWriter
	call   *call // over a connection that it shares; nil: it has its own
	in     reader
	reused bool
	expiry time.Time // when it is too old to be taken from the pool
}

func (u *upstream) close() {
	if u.call != nil {
		u.call.end()
	} else {
		u.sock.Close()
	}
	u.in.release()
}

// reset ends it so that the other side cannot take what it got for whole. Anybody
// may, who is not its owner.
func (u *upstream) reset() {
	if u.call != nil {
		u.call.reset()
		return
	}
	u.sock.reset()
}

// silent says whether an answer is waited for longer than a connection of its own
// would.
func (u *upstream) silent(now time.Time) bool { return u.call != nil && stale(&u.call.since, now) }

// drained says whether nothing is left of what the other side sent, in any
// layer. What is left would be taken for the answer to the next request.
func (u *upstream) drained() bool {
	if len(u.in.buffered()) > 0 || u.call != nil {
		return false
	}
	if u.sock.records == nil {
		return true
	}
	if !u.sock.records.whole() {
		return false
	}
	// What crypto/tls has read and not yet opened can only be seen by reading on.
	u.sock.dry = true
	defer func() { u.sock.dry = false }()
	var one [1]byte
	n, err := u.conn.Read(one[:])
	return n == 0 && errors.Is(err, errDry)
}

// pool keeps upstreams that are between two requests, for all clients: they are
// all the same bottle's.
type pool struct {
	dial func(ctx context.Context, host string, port int, private bool) (*net.TCPConn, error)
	tls  *tls.Config

	mu    sync.Mutex
	idle  map[place][]*upstream
	count int // of all of them
}

// get returns a connection to a place that was judged: one that is idle and
// alive, or a new one. fresh asks for a new one.
func (p *pool) get(ctx context.Context, at place, fresh bool) (*upstream, error) {
	for !fresh {
		u := p.take(at)
		if u == nil {
			break
		}
		if time.Now().Before(u.expiry) && u.sock.quiet() {
			u.reused = true
			return u, nil
		}
		u.close()
	}
	return p.connect(ctx, at, p.tls)
}

// connect makes a connection to a place.
func (p *pool) connect(ctx context.Context, at place, config *tls.Config) (*upstream, error) {
	conn, err := p.dial(ctx, at.host, at.port, at.private)
	if err != nil {
		return nil, err
	}
	u := &upstream{place: at, sock: newSocket(conn)}
	u.conn = u.sock
	if at.scheme == policy.HTTPS {
		u.sock.records = &records{}
		if u.conn, err = secure(ctx, u.sock, at.host, config); err != nil {
			u.sock.Close()
			return nil, err
		}
	}
	u.in = newReader(u.conn)
	return u, nil
}

// secure makes the TLS connection: name and certificate are the judged host's.
func secure(ctx context.Context, s *socket, host string, config *tls.Config) (net.Conn, error) {
	config = config.Clone()
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
	for at, list := range p.idle {
		if kept(at.origin) {
			continue
		}
		for _, u := range list {
			u.close()
		}
		p.count -= len(list)
		delete(p.idle, at)
	}
}

func (p *pool) take(at place) *upstream {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.idle[at]
	if len(list) == 0 {
		return nil
	}
	u := list[len(list)-1] // the warmest
	list[len(list)-1] = nil
	p.idle[at] = list[:len(list)-1]
	p.count--
	return u
}

// put keeps a connection whose last answer is complete, for life at most; 0 is
// the default.
func (p *pool) put(u *upstream, life time.Duration) {
	if life == 0 || life > idleUpstream {
		life = idleUpstream
	}
	u.expiry = time.Now().Add(life)
	u.in.rest()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.idle == nil {
		p.idle = map[place][]*upstream{}
	}
	if len(p.idle[u.place]) >= maxIdle || p.count >= maxIdleAll {
		u.close()
		return
	}
	p.idle[u.place] = append(p.idle[u.place], u)
	p.count++
}

// sweep closes what expired by now.
func (p *pool) sweep(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for at, list := range p.idle {
		kept := list[:0]
		for _, u := range list {
			if now.Before(u.expiry) {
				kept = append(kept, u)
				continue
			}
			u.close()
		}
		p.count -= len(list) - len(kept)
		clear(list[len(kept):])
		if p.idle[at] = kept; len(kept) == 0 {
			delete(p.idle, at)
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
	var proxy *sidecar.ProxyError
	switch {
	case errors.As(err, &proxy):
		return proxy.Error()
	case errors.Is(err, sidecar.ErrPrivate):
		return sidecar.ErrPrivate.Error()
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
