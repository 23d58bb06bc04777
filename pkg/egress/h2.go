package egress

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/policy"
)

const protoH2 = "h2"

// Bounds of HTTP/2. What a client may have us hold of a connection is its window
// and one frame; of a stream, its head, which is unpacked before anybody can
// refuse it.
const (
	maxH2Conns   = 128 // clients' connections; beyond, HTTP/1.1 alone is offered
	maxStreams   = 100 // of one connection, at once
	maxH2Head    = 32 << 10
	streamWindow = 64 << 10
	connWindow   = 256 << 10
	h2Frame      = 16 << 10
	prefill      = 16 << 10 // bytes of a body that is waited for before its request is judged
)

// multiplex serves clients' HTTP/2 connections by net/http's server, which knows
// frames, HPACK and flow control; each of its requests is a client's like any
// other.
type multiplex struct {
	server *http.Server
	slots  chan struct{}
	conns  chan net.Conn
	closed chan struct{}
}

type gateKey struct{}

func newMultiplex() *multiplex {
	m := &multiplex{slots: make(chan struct{}, maxH2Conns), conns: make(chan net.Conn), closed: make(chan struct{})}
	m.server = &http.Server{
		Handler:                      http.HandlerFunc(serveStream),
		Protocols:                    &http.Protocols{},
		DisableGeneralOptionsHandler: true,
		MaxHeaderBytes:               maxH2Head,
		IdleTimeout:                  idleTime,
		ErrorLog:                     log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, gateKey{}, c)
		},
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxStreams,
			MaxReadFrameSize:              h2Frame,
			MaxReceiveBufferPerConnection: connWindow,
			MaxReceiveBufferPerStream:     streamWindow,
		},
	}
	m.server.Protocols.SetUnencryptedHTTP2(true) // TLS is taken off before
	return m
}

// Accept, Close and Addr make it the server's listener.
func (m *multiplex) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m *multiplex) Close() error {
	close(m.closed)
	return nil
}

func (m *multiplex) Addr() net.Addr { return &net.TCPAddr{} }

// drain tells clients to send no more requests over their connections. Those
// under way end as they would.
func (m *multiplex) drain() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // nobody is waited for here
	m.server.Shutdown(ctx)
}

// offer has config offer HTTP/2 for as long as there is room for another
// connection of it.
func (m *multiplex) offer(config *tls.Config) {
	both := config.Clone()
	both.NextProtos = append([]string{protoH2}, config.NextProtos...)
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		if len(m.slots) < cap(m.slots) {
			return both, nil
		}
		return nil, nil
	}
}

// streams serves a connection that was agreed to be HTTP/2.
func (c *client) streams(t *tls.Conn) {
	m := c.s.multiplex
	select {
	case m.slots <- struct{}{}:
		defer func() { <-m.slots }()
	default: // another took the last place during the handshake
		return
	}
	g := newGate(t, c)
	c.gate.Store(g)
	select {
	case m.conns <- g:
		<-g.done
	case <-m.closed:
	}
	served, lost, failed := g.end()
	c.served = served > 0
	switch {
	case lost > 0:
		c.lost(lost, failed)
	case failed != nil:
		c.ended(failed)
	}
}

// lost notes the streams of a connection that never became requests: the library
// resets the malformed ones by itself.
func (c *client) lost(streams int, failed error) {
	ev := bottle.Event{Kind: "request", Verdict: "deny", Scheme: policy.HTTPS, Host: c.front.bound.host, Port: c.front.bound.port,
		Reason: fmt.Sprintf("%d streams of an HTTP/2 connection were malformed, or were given up before they were judged", streams)}
	if failed != nil {
		ev.Detail = failed.Error()
	}
	c.s.record(ev)
}

// serveStream serves one request of an HTTP/2 connection.
func serveStream(w http.ResponseWriter, r *http.Request) {
	g := r.Context().Value(gateKey{}).(*gate)
	g.enter()
	defer g.leave()
	st := &h2stream{w: w, r: r, control: http.NewResponseController(w)}
	c := &client{s: g.client.s, front: g.client.front, conn: st, link: st, stream: st}
	c.front.streams = true
	c.in = newReader(st.body())
	defer c.in.release()
	c.s.clients.add(c)
	defer c.s.clients.remove(c)
	stop := context.AfterFunc(r.Context(), c.abandon)
	defer stop()
	c.one()
	if st.end() && !c.broken {
		return
	}
	panic(http.ErrAbortHandler) // it resets the stream
}

// abandon ends the upstream of a client that has gone.
func (c *client) abandon() {
	c.gone.Store(true)
	if up := c.up.Swap(nil); up != nil {
		up.reset()
	}
}

// stale says whether somebody waits since a time in nanoseconds for longer than
// anybody may be silent.
func stale(since *atomic.Int64, now time.Time) bool {
	began := since.Load()
	return began != 0 && now.UnixNano()-began > int64(idleTime)
}
