package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"bottle/pkg/policy"
)

// Bounds of HTTP/2 towards upstreams: what one may send before somebody reads it.
const (
	maxLines   = 32 // connections to all upstreams together; beyond, HTTP/1.1 is spoken
	lineWindow = 1 << 20
	callWindow = 512 << 10
	plainTime  = 10 * time.Minute // how long an upstream is taken to speak HTTP/1.1 alone
	maxPlain   = 1024             // places of which that is known
)

// line is a connection to an upstream that speaks HTTP/2. It carries the requests
// of any number of clients.
type line struct {
	place  place
	conn   *http.ClientConn
	reused atomic.Bool
	calls  atomic.Int32 // under way: those that were reset are not, though the library waits to hear of it
	quiet  atomic.Int64 // when a call last ended, in nanoseconds
	closed atomic.Bool  // it takes no more calls, and ends with its last one
}

// lines are the connections of HTTP/2, and what is known of who speaks it.
type lines struct {
	pool *pool
	tls  *tls.Config

	mu      sync.Mutex
	places  map[place]*lineup
	count   int // lines, those that are being dialled among them
	dropped bool
}

// lineup is what one place has.
type lineup struct {
	list    []*line
	dialing *attempt  // nil: nobody dials
	plain   time.Time // until then it speaks HTTP/1.1
}

// attempt is one to connect, for all who wait for it.
type attempt struct {
	done chan struct{} // closed when it is over
	err  error         // valid then
}

// upstream returns a connection for the request under way: for a stream one of
// HTTP/2 where the place speaks it.
func (c *client) upstream(at place, fresh bool) (*upstream, error) {
	if c.stream == nil || at.scheme != policy.HTTPS {
		return c.s.pool.get(c.s.ctx, at, fresh)
	}
	return c.s.lines.get(c.stream.r.Context(), at, fresh)
}

// get returns an upstream for one request. Of those that ask at once for a place
// that nothing is known of, one dials.
func (l *lines) get(ctx context.Context, at place, fresh bool) (*upstream, error) {
	for {
		up, wait, dial := l.find(at)
		switch {
		case up != nil:
			return up, nil
		case dial:
			return l.dial(ctx, at)
		case wait == nil:
			return l.pool.get(ctx, at, fresh)
		}
		select {
		case <-wait.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if wait.err != nil && !errors.Is(wait.err, context.Canceled) { // whoever dialled may have left
			return nil, wait.err
		}
	}
}

// find returns a call on a line that there is, or an attempt to wait for, or says
// that the caller must dial; with none of them HTTP/1.1 is spoken.
func (l *lines) find(at place) (up *upstream, wait *attempt, dial bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.places[at]
	if p == nil {
		if l.places == nil || len(l.places) > maxPlain {
			l.forgetLocked()
		}
		p = &lineup{}
		l.places[at] = p
	}
	for _, n := range p.list {
		if !n.closed.Load() && n.conn.Reserve() == nil {
			return newCall(n, n.reused.Swap(true)), nil, false
		}
	}
	switch {
	case p.dialing != nil:
		return nil, p.dialing, false
	case time.Now().Before(p.plain) || l.count >= maxLines || l.dropped:
		return nil, nil, false
	}
	p.dialing = &attempt{done: make(chan struct{})}
	l.count++
	return nil, nil, true
}

// forgetLocked keeps only the places that have lines.
func (l *lines) forgetLocked() {
	kept := map[place]*lineup{}
	for at, p := range l.places {
		if len(p.list) > 0 || p.dialing != nil {
			kept[at] = p
		}
	}
	l.places = kept
}

// dial connects to a place. It finds out what is spoken there.
func (l *lines) dial(ctx context.Context, at place) (*upstream, error) {
	up, err := l.pool.connect(ctx, at, l.tls)
	var n *line
	if err == nil && up.conn.(*tls.Conn).ConnectionState().NegotiatedProtocol == protoH2 {
		if n, err = newLine(up); err == nil {
			err = n.conn.Reserve()
		}
		if err != nil {
			up.close()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.places[at]
	p.dialing.err = err
	close(p.dialing.done)
	p.dialing = nil
	switch {
	case err != nil:
		l.count--
		return nil, err
	case n == nil:
		l.count--
		p.plain = time.Now().Add(plainTime)
		return up, nil
	}
	p.list = append(p.list, n)
	n.reused.Store(true)
	n.closed.Store(l.dropped)
	return newCall(n, false), nil
}

// newLine makes a line of a connection.
func newLine(up *upstream) (*line, error) {
	t := &http.Transport{
		Protocols:              &http.Protocols{},
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHead,
		DialTLSContext:         func(context.Context, string, string) (net.Conn, error) { return up.conn.(net.Conn), nil },
		HTTP2: &http.HTTP2Config{
			MaxReadFrameSize:              h2Frame,
			MaxReceiveBufferPerConnection: lineWindow,
			MaxReceiveBufferPerStream:     callWindow,
		},
	}
	t.Protocols.SetHTTP2(true)
	conn, err := t.NewClientConn(context.Background(), up.place.scheme, net.JoinHostPort(up.place.host, "443"))
	if err != nil {
		return nil, err
	}
	n := &line{place: up.place, conn: conn}
	n.quiet.Store(time.Now().UnixNano())
	return n, nil
}

// over notes that a call has ended.
func (n *line) over() {
	n.quiet.Store(time.Now().UnixNano())
	if n.calls.Add(-1) == 0 && n.closed.Load() {
		n.conn.Close()
	}
}

// end takes no more calls over the line.
func (n *line) end() {
	n.closed.Store(true)
	if n.calls.Load() == 0 {
		n.conn.Close()
	}
}

// each ends the lines of which over is true, and forgets those that have ended.
func (l *lines) each(over func(*line) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.places {
		kept := p.list[:0]
		for _, n := range p.list {
			if n.conn.Err() == nil && !over(n) {
				kept = append(kept, n)
				continue
			}
			n.end()
			l.count--
		}
		clear(p.list[len(kept):])
		p.list = kept
	}
}

// sweep ends lines that nobody used for long.
func (l *lines) sweep(now time.Time) {
	l.each(func(n *line) bool {
		return n.calls.Load() == 0 && now.UnixNano()-n.quiet.Load() > int64(idleUpstream)
	})
}

// keep ends the lines to origins that are not kept.
func (l *lines) keep(kept func(origin) bool) {
	l.each(func(n *line) bool { return !kept(n.place.origin) })
}

// drop ends all lines.
func (l *lines) drop() {
	l.mu.Lock()
	l.dropped = true
	l.mu.Unlock()
	l.each(func(*line) bool { return true })
}
