package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/ca"
	"bottle/pkg/dlp"
	"bottle/pkg/policy"
	"bottle/pkg/sidecar"
)

// Files in the in directory.
const (
	PolicyFile = "routes.yaml" // policy.Parse
	CertFile   = "ca.crt"      // the bottle's CA, PEM
	KeyFile    = "ca.key"      // its key, PEM, "EC PRIVATE KEY"
	RootsFile  = "roots.pem"   // whom upstreams must be vouched for by; nobody else is trusted
)

// MaxConns bounds the agent's connections to all ports together; a surplus is
// closed at once. So many with the largest heads fit into the container.
const MaxConns = 1280

// Ports are where the server listens; 0 lets the system choose.
type Ports struct {
	Proxy int // forward proxy: CONNECT, and URLs as targets
	TLS   int // TLS by the name in its handshake
	HTTP  int // plain HTTP by its Host header
	DNS   int // UDP and TCP
}

// DefaultPorts are those that programs expect.
var DefaultPorts = Ports{Proxy: 3128, TLS: 443, HTTP: 80, DNS: 53}

// Config is what a server needs.
type Config struct {
	In     string     // directory of the files above
	Listen netip.Addr // the only address that is listened on
	Ports  Ports
	Names  map[string]netip.Addr // what DNS answers with another address than Listen
	// Dial connects to a host that was judged, such as sidecar.Dialer.Dial.
	// private says that its route may lead to private addresses.
	Dial   func(ctx context.Context, host string, port int, private bool) (*net.TCPConn, error)
	Record func(bottle.Event)
	// Proxy is what Dial goes through, which has needs of its own; nil: none.
	Proxy *sidecar.Proxy
	// Answers says, by its error, that a pipelock behind it does not answer; nil: there
	// is none.
	Answers func(ctx context.Context) error
	// Out is the directory of sidecar.AppliedFile; empty: nobody is told.
	Out string
	// Secrets are the values that the host hands over; nil: there are none.
	Secrets *sidecar.Secrets
	// HeadTime bounds a TLS handshake, a request's head, and the wait for memory to
	// scan it in; 0 is 10 seconds.
	HeadTime time.Duration
}

// Server is a running egress. It is a sidecar.Service.
type Server struct {
	in        string
	record    func(bottle.Event)
	policy    atomic.Pointer[policy.Policy]
	known     atomic.Pointer[known] // of the policy in force
	force     force
	uses      *uses
	looked    time.Time // when sweep last looked for grants that ended
	denied    *denied
	tls       *tls.Config
	pool      pool
	lines     lines // to upstreams that speak HTTP/2
	clients   registry
	dns       *nameServer
	ports     Ports
	headTime  time.Duration
	changed   signal // the policy in force
	draining  atomic.Bool
	ending    chan struct{}   // closed when Drain begins
	ctx       context.Context // ends what is being dialled
	stop      context.CancelFunc
	slots     chan struct{} // one for each connection, and each stream of HTTP/2
	sockets   atomic.Int64  // WebSockets
	scans     budget
	multiplex *multiplex // clients' HTTP/2
	failed    chan error
	doubt     chan struct{} // whether what is behind it answers

	accepting sync.WaitGroup
	listeners []net.Listener
	once      sync.Once
}

// Start reads the files and serves until Drain.
func Start(cfg Config) (*Server, error) {
	s := &Server{in: cfg.In, record: cfg.Record, slots: make(chan struct{}, MaxConns), ending: make(chan struct{}), failed: make(chan error, 1), headTime: cfg.HeadTime,
		multiplex: newMultiplex(), doubt: make(chan struct{}, 1)}
	s.ctx, s.stop = context.WithCancel(context.Background())
	if s.headTime == 0 {
		s.headTime = headTime
	}
	s.scans = newBudget(s.headTime)
	s.force.out, s.force.secrets, s.force.proxy = cfg.Out, cfg.Secrets, cfg.Proxy
	if s.force.secrets == nil {
		s.force.secrets = &sidecar.Secrets{}
	}
	var err error
	if s.uses, err = openUses(cfg.Out); err != nil {
		return nil, err
	}
	if err := s.Reload(); err != nil {
		return nil, err
	}
	s.force.secrets.OnChange(s.handed)
	cfg.Proxy.OnRefuse(s.refusedValue)
	if err := s.load(); err != nil {
		return nil, err
	}
	s.pool.dial = s.doubting(cfg)
	if s.denied, err = openDenied(cfg, s.policy.Load, s.uses.spent); err != nil {
		return nil, err
	}
	if err := s.listen(cfg); err != nil {
		s.stop()
		s.closeListeners()
		s.denied.close()
		return nil, err
	}
	go s.multiplex.server.Serve(s.multiplex)
	go s.sweep()
	if cfg.Answers != nil {
		go s.watchBehind(cfg.Answers, silentPause, silentSoon)
	}
	return s, nil
}

// load reads what is read once: the CA and the roots.
func (s *Server) load() error {
	var files [3][]byte
	for i, name := range []string{CertFile, KeyFile, RootsFile} {
		data, err := os.ReadFile(filepath.Join(s.in, name))
		if err != nil {
			return fmt.Errorf("cannot start: %w", err)
		}
		files[i] = data
	}
	issuer, err := ca.Load(files[0], files[1])
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(files[2]) {
		return fmt.Errorf("cannot start: there is no certificate in %s", RootsFile)
	}
	s.tls = towardsClients(issuer)
	s.multiplex.offer(s.tls)
	s.pool.tls = towardsUpstreams(roots)
	s.lines.pool, s.lines.tls = &s.pool, s.pool.tls.Clone()
	s.lines.tls.NextProtos = append([]string{protoH2}, s.pool.tls.NextProtos...)
	return nil
}

// Failed delivers the error of a listener that broke.
func (s *Server) Failed() <-chan error { return s.failed }

// Ports returns the ports in use.
func (s *Server) Ports() Ports { return s.ports }

func (s *Server) listen(cfg Config) error {
	plain := front{proxy: true, scheme: policy.HTTP}
	web := front{scheme: policy.HTTP, port: policy.DefaultPort(policy.HTTP)}
	for _, l := range []struct {
		port  int
		used  *int
		front front
		begin func(*client) bool
	}{
		{cfg.Ports.Proxy, &s.ports.Proxy, plain, nil},
		{cfg.Ports.TLS, &s.ports.TLS, front{scheme: policy.HTTPS, port: policy.DefaultPort(policy.HTTPS)}, (*client).secure},
		{cfg.Ports.HTTP, &s.ports.HTTP, web, nil},
	} {
		listener, err := (&net.ListenConfig{Control: early}).Listen(context.Background(), "tcp", net.JoinHostPort(cfg.Listen.String(), strconv.Itoa(l.port)))
		if err != nil {
			return fmt.Errorf("cannot listen: %w", err)
		}
		s.listeners = append(s.listeners, listener)
		*l.used = listener.Addr().(*net.TCPAddr).Port
		if l.front.proxy {
			// A path on the proxy port is a request to ourselves: no route has this port.
			l.front.port = *l.used
		}
		s.accepting.Go(func() { s.accept(listener, l.front, l.begin) })
	}
	var err error
	s.dns, err = serveNames(cfg.Listen, cfg.Ports.DNS, cfg.Names, s.record)
	if err == nil {
		s.ports.DNS = s.dns.port
	}
	return err
}

// accept serves the connections of one port.
func (s *Server) accept(l net.Listener, f front, begin func(*client) bool) {
	for {
		conn, err := l.Accept()
		if err != nil {
			if s.draining.Load() || errors.Is(err, net.ErrClosed) {
				return
			}
			if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ECONNABORTED) {
				time.Sleep(20 * time.Millisecond)
				continue
			}
			s.fail(fmt.Errorf("cannot accept: %w", err))
			return
		}
		sock := newSocket(conn.(*net.TCPConn))
		select {
		case s.slots <- struct{}{}:
		default:
			sock.reset()
			continue
		}
		c := &client{s: s, sock: sock, link: sock, conn: sock, front: f, lastHead: &dlp.LastHead{}}
		s.clients.add(c)
		go func() {
			defer s.clients.remove(c) // last: who waits for it finds nothing left
			defer func() { <-s.slots }()
			c.serve(begin)
		}()
	}
}

func (s *Server) fail(err error) {
	select {
	case s.failed <- err:
	default:
	}
}

// sweep looks each second after what nobody waits for: idle upstreams past
// their time, and upstreams whose client has gone. A client is given a second
// look, since its last bytes may still be on the way.
func (s *Server) sweep() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case now := <-tick.C:
			s.pool.sweep(now)
			s.lines.sweep(now)
			s.cutEnded(now)
			s.clients.each(func(c *client) {
				if g := c.gate.Load(); g != nil && g.slow(now, s.headTime) {
					c.sock.reset()
				}
				if c.stream != nil {
					c.stream.tidy(now)
				}
				up := c.up.Load()
				if up != nil && up.silent(now) {
					up.reset()
				}
				if up == nil || !c.link.gone() {
					c.left = 0
					return
				}
				if c.left++; c.left > 1 && c.up.CompareAndSwap(up, nil) {
					c.gone.Store(true)
					up.reset()
				}
			})
		}
	}
}

func (s *Server) closeListeners() {
	for _, l := range s.listeners {
		l.Close()
	}
	if s.dns != nil {
		s.dns.close()
	}
}

// Drain takes no more connections, refuses what is held, and lets requests under
// way end until ctx does; then it cuts them.
func (s *Server) Drain(ctx context.Context) {
	s.once.Do(func() {
		s.draining.Store(true)
		close(s.ending)
		s.closeListeners()
		s.accepting.Wait()
	})
	s.clients.each(func(c *client) {
		if !c.busy.Load() {
			c.link.Close()
		}
		if w := c.open.Load(); w != nil {
			w.end(goingAway)
		}
	})
	s.multiplex.drain()
	done := s.clients.wait()
	select {
	case <-done:
	case <-ctx.Done():
		s.stop()
		s.clients.each(func(c *client) {
			if up := c.up.Load(); up != nil {
				up.reset()
			}
			c.link.Close()
		})
		<-done
	}
	s.stop()
	s.pool.sweep(time.Now().Add(idleUpstream))
	s.lines.drop()
	s.denied.close()
}
