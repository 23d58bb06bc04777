package supervise

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"golang.org/x/net/netutil"

	"bottle/pkg/bottle"
	"bottle/pkg/proposal"
	"bottle/pkg/sidecar"
)

// RulesFile in the in directory is what the manifest lets the agent ask for: a
// proposal.Rules.
const RulesFile = "rules.json"

// Path is where the server speaks MCP.
const Path = "/mcp"

// perMinute is how many new proposals an agent may make in a minute.
const perMinute = 20

// Bounds of what an agent may send and hold.
const (
	maxBody  = 512 << 10 // bytes of one request; a proposal in it has at most proposal.MaxSize
	maxConns = 128
	maxCalls = 64 // that wait for an answer
	readTime = 10 * time.Second
	idleTime = 2 * time.Minute
)

// Config is what a server needs.
type Config struct {
	In, Out string // the sidecar's directories
	Listen  netip.Addr
	Port    int    // 0 lets the system choose
	Name    string // by which the agent reaches it, without the port
	// Allowlist asks egress what is open now; an error where it cannot be reached.
	Allowlist func(ctx context.Context) ([]byte, error)
	Record    func(bottle.Event)
	// Remind is how often a waiting call tells that it waits; 0 is 20 seconds.
	// Claude Code gives a silent one up after 60.
	Remind time.Duration
}

// Server is a running supervise. It is a sidecar.Service.
type Server struct {
	cfg    Config
	queue  *sidecar.Queue
	rules  atomic.Pointer[proposal.Rules]
	hosts  []string // of the Host header
	port   int
	calls  chan struct{} // a slot for each call that waits
	ctx    context.Context
	stop   context.CancelFunc
	http   *http.Server
	failed chan error
}

// Start reads the files and serves until Drain.
func Start(cfg Config) (*Server, error) {
	if cfg.Remind == 0 {
		cfg.Remind = 20 * time.Second
	}
	s := &Server{cfg: cfg, calls: make(chan struct{}, maxCalls), failed: make(chan error, 1)}
	s.ctx, s.stop = context.WithCancel(context.Background())
	if err := s.Reload(); err != nil && !errors.Is(err, sidecar.ErrUnchanged) {
		return nil, err
	}
	l, err := net.Listen("tcp", net.JoinHostPort(cfg.Listen.String(), strconv.Itoa(cfg.Port)))
	if err != nil {
		return nil, fmt.Errorf("cannot listen: %w", err)
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	s.hosts = []string{net.JoinHostPort(cfg.Name, strconv.Itoa(s.port))}
	if s.queue, err = sidecar.OpenQueue(cfg.In, cfg.Out, sidecar.Limits{Pending: proposal.MaxPending, PerMinute: perMinute}); err != nil {
		l.Close()
		return nil, err
	}
	m := s.tools()
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return m },
		// Without sessions a client goes on with a server that was restarted.
		&mcp.StreamableHTTPOptions{Stateless: true, DisableLocalhostProtection: true, MaxRequestBodyBytes: maxBody})
	s.http = &http.Server{Handler: s.guard(handler), ReadHeaderTimeout: readTime, IdleTimeout: idleTime, MaxHeaderBytes: 16 << 10}
	go func() {
		if err := s.http.Serve(netutil.LimitListener(l, maxConns)); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("cannot serve: %w", err)
		}
	}()
	return s, nil
}

// Port returns the port in use.
func (s *Server) Port() int { return s.port }

// Reload reads the rules again.
func (s *Server) Reload() error {
	data, err := os.ReadFile(filepath.Join(s.cfg.In, RulesFile))
	if err != nil {
		return fmt.Errorf("cannot read the rules: %w", err)
	}
	var r proposal.Rules
	if err := json.Unmarshal(data, &r); err != nil {
		return fmt.Errorf("cannot read the rules: %w", err)
	}
	old := s.rules.Swap(&r)
	if old != nil && fmt.Sprint(*old) == fmt.Sprint(r) {
		return sidecar.ErrUnchanged
	}
	return nil
}

// Failed delivers the error that ended the server by itself.
func (s *Server) Failed() <-chan error { return s.failed }

// Drain ends the calls that wait, whose proposals stay.
func (s *Server) Drain(ctx context.Context) {
	s.stop()
	if s.http.Shutdown(ctx) != nil {
		s.http.Close()
	}
	s.queue.Close()
}

// requestKey is where a call finds the context of its HTTP request, which ends
// when the client leaves; the protocol's own outlives that.
type requestKey struct{}

// guard lets pass what a program of the agent's sends to this very server. A
// page in a browser, or a name that was made to lead here, is neither.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch origin := r.Header.Get("Origin"); {
		case r.Host != s.hosts[0]:
			s.refuse(w, r, http.StatusForbidden, "the Host header is not "+s.hosts[0])
			return
		case origin != "" && origin != "http://"+s.hosts[0]:
			s.refuse(w, r, http.StatusForbidden, "requests of another origin are not taken")
			return
		case r.URL.Path != Path:
			s.refuse(w, r, http.StatusNotFound, "there is "+Path+" here, and nothing else")
			return
		}
		// A body comes in whole and at once; afterwards the client may be silent for
		// as long as it waits.
		control := http.NewResponseController(w)
		control.SetReadDeadline(time.Now().Add(readTime))
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			s.refuse(w, r, http.StatusRequestEntityTooLarge, fmt.Sprintf("a request has at most %d bytes, and comes in %v", maxBody, readTime))
			return
		}
		control.SetReadDeadline(time.Time{})
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), requestKey{}, r.Context())))
	})
}

func (s *Server) refuse(w http.ResponseWriter, r *http.Request, status int, reason string) {
	s.cfg.Record(bottle.Event{Kind: "request", Verdict: "deny", Reason: reason, Method: r.Method, Host: r.Host, Path: r.URL.Path, Status: status})
	http.Error(w, "supervise: "+reason, status)
}

// until returns a context that ends with the call, with its client, and with the
// server.
func (s *Server) until(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stops := []func() bool{context.AfterFunc(s.ctx, cancel)}
	if request, ok := ctx.Value(requestKey{}).(context.Context); ok {
		stops = append(stops, context.AfterFunc(request, cancel))
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel()
	}
}
