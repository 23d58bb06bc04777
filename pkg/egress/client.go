package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/dlp"
	"bottle/pkg/policy"
)

// client is one connection of the agent's. One goroutine owns it.
type client struct {
	s      *Server
	sock   *socket
	link   link          // sock, or the stream
	conn   io.ReadWriter // sock, TLS over it, or the stream
	stream *h2stream     // nil: the connection is its own
	in     reader
	q      request
	p      response
	front  front
	mask   *masker     // for what is injected into the request; nil: nothing
	scan   *scan       // of the request under way
	fields []dlp.Field // of the head under scan
	ws     *webSocket  // that is asked for, or under way; nil: none

	// Of the request under way. Making them anew costs more than to keep the room.
	ev       bottle.Event
	exchange exchange

	lastHead *dlp.LastHead // of the connection; nil: a stream has one request

	served bool                     // a request came over this connection
	broken bool                     // the other side must not take what it got for whole
	more   bool                     // it may still be sending: linger
	busy   atomic.Bool              // between a request's head and its answer's end
	up     atomic.Pointer[upstream] // the one that is being waited for
	gone   atomic.Bool              // a sweep found the client gone and ended its upstream
	rest   rest                     // what the request under way rests on
	left   int                      // sweeps that found it gone; the sweep's own
	gate   atomic.Pointer[gate]     // of a connection that carries streams

	open atomic.Pointer[webSocket] // the one under way, for Drain
}

// serve answers requests until the connection ends.
func (c *client) serve(begin func(*client) bool) {
	c.in = newReader(c.conn)
	defer c.in.release()
	c.sock.limit(c.s.headTime)
	if begin == nil || begin(c) {
		for c.one() && !c.s.draining.Load() {
		}
	}
	c.close()
}

func (c *client) close() {
	if c.broken {
		c.sock.reset()
		return
	}
	if t, ok := c.conn.(*tls.Conn); ok {
		t.CloseWrite()
	}
	if c.more {
		c.sock.linger()
		return
	}
	c.sock.Close()
}

// one serves one request and says whether another may follow.
func (c *client) one() bool {
	head, err := c.head()
	c.q.method = "" // an answer to what cannot be parsed must not go by the last one
	c.busy.Store(true)
	defer c.busy.Store(false)
	if err == nil {
		err = c.q.parse(head)
	}
	c.ev = bottle.Event{Time: time.Now(), Kind: "request"}
	ev := &c.ev
	switch {
	case errors.Is(err, errMalformed):
		return c.refuse(ev, refuse(400, err.Error()), false)
	case errors.Is(err, errTooLarge):
		return c.refuse(ev, refuse(431, err.Error()), false)
	case err != nil:
		c.ended(err)
		return false
	}
	c.served = true
	ev.Method = c.q.method
	if c.q.method == "CONNECT" {
		return c.tunnel(ev)
	}
	o, target, refused := c.front.route(&c.q)
	ev.Scheme, ev.Host, ev.Port, ev.Path = o.scheme, o.host, o.port, string(path(target))
	if refused == nil && c.front.fault != "" {
		refused = refuse(403, c.front.fault)
	}
	var v policy.Verdict
	if refused == nil && o.local() {
		return c.local(ev, target)
	}
	if refused == nil {
		if v, refused = c.judgeOn(o, ev.Path); v.Status == 403 {
			v, refused = c.heldOn(o, ev, v, refused)
		}
	}
	if refused == nil {
		ev.Rule = v.Rule()
		refused = c.credentials(v.Route, target)
	}
	defer c.endScan()
	if refused == nil && c.q.upgrade {
		refused = c.askSocket(v.Route)
	}
	defer c.endSocket()
	if refused == nil {
		refused = c.reserve(&v)
	}
	if refused != nil {
		c.rested()
		return c.refuse(ev, refused, c.skipBody())
	}
	return c.forward(ev, place{o, v.Route.Private}, target)
}

// heldOn is judgeOn for what no entry allows, where the policy has it wait.
func (c *client) heldOn(o origin, ev *bottle.Event, v policy.Verdict, refused *refusal) (policy.Verdict, *refusal) {
	judge := func() (policy.Verdict, *refusal) { return c.judgeOn(o, ev.Path) }
	return c.s.hold(ev, v, refused, waiter{judge, c.attend})
}

// endScan ends the scan of the request under way, whatever became of it.
func (c *client) endScan() {
	c.scan.end()
	c.scan = nil
}

// credentials puts the credential of the entry that allows the request in the
// place of the agent's own.
func (c *client) credentials(r *policy.Route, target []byte) *refusal {
	k := c.s.known.Load()
	if refused := k.admit(r, &c.q, target); refused != nil {
		return refused
	}
	s, refused := c.beginScan(k, r, target)
	if refused != nil {
		return refused
	}
	c.scan = s
	k.inject(r, &c.q)
	if c.mask = newMasker(k.echoes[r.Host]); c.mask != nil {
		unpacked(&c.q)
	}
	return nil
}

// head waits for a request. A client may be silent for long between two
// requests, but not within a head.
func (c *client) head() ([]byte, error) {
	if c.stream != nil {
		return c.stream.request(&c.in)
	}
	if len(c.in.buffered()) == 0 {
		if err := c.in.fill(); err != nil {
			return nil, err
		}
	}
	if !c.sock.limited && !bytes.Contains(c.in.buffered(), []byte("\r\n\r\n")) {
		c.sock.limit(c.s.headTime)
	}
	head, err := c.in.head()
	if err == nil {
		c.sock.unlimit()
	}
	return head, err
}

// ended notes a TLS client that never asked anything: programs that check
// certificates late leave so when they do not trust the bottle's CA.
func (c *client) ended(err error) {
	if _, encrypted := c.conn.(*tls.Conn); !encrypted || c.served {
		return
	}
	ev := bottle.Event{Kind: "tls", Host: c.front.bound.host, Port: c.front.bound.port, Detail: err.Error(),
		Reason: reasonLeft}
	if rejected(err) {
		ev.Reason = reasonRejected
	}
	c.s.record(ev)
}

// skipBody drops the body of a request that goes nowhere. It says whether that
// was possible: only what is here already is dropped.
func (c *client) skipBody() bool {
	if c.q.chunked || c.q.length > int64(len(c.in.buffered())) {
		return false
	}
	c.in.discard(int(max(c.q.length, 0)))
	return true
}

// refuse answers a request ourselves; keep says whether the connection could go
// on, and the result whether it does.
func (c *client) refuse(ev *bottle.Event, r *refusal, keep bool) bool {
	// Behind a malformed request nobody knows where the next one begins.
	keep = keep && r.status != 400 && c.q.minor == 1 && !c.q.close && !c.s.draining.Load()
	ours := r.status < 500
	c.more = !keep
	ev.Verdict, ev.Reason, ev.Status = "deny", r.reason, r.status
	if !ours {
		ev.Verdict = "error"
	}
	if r.finding != nil {
		r.finding.note(ev)
	}
	c.record(ev) // before the answer: who hears of it finds it in the log
	return c.send(appendRefusal(getBuf(), r, ours, keep, c.q.method == "HEAD")) == nil && keep
}

// send writes what stands in a buffer and puts the buffer back.
func (c *client) send(out []byte) error {
	_, err := c.conn.Write(out)
	putBuf(out)
	return err
}

func (c *client) record(ev *bottle.Event) {
	ev.Millis = float64(time.Since(ev.Time).Microseconds()) / 1000
	c.s.record(*ev)
}

// judgeTunnel judges what a CONNECT names: what goes through it is judged when it
// comes, where any entry has its port.
func (c *client) judgeTunnel(o origin) (policy.Verdict, *refusal) {
	p := c.s.policy.Load()
	if !o.address && (o.port == policy.DefaultPort(policy.HTTPS) || p.NamesPort(o.port)) {
		return policy.Verdict{Allow: true}, nil
	}
	return judge(p, c.s.uses, &c.q, o, "")
}

// heldTunnel is judgeTunnel for a port that no entry has, where the policy has it
// wait.
func (c *client) heldTunnel(o origin, ev *bottle.Event, v policy.Verdict, refused *refusal) *refusal {
	judge := func() (policy.Verdict, *refusal) { return c.judgeTunnel(o) }
	_, refused = c.s.hold(ev, v, refused, waiter{judge, c.attend})
	return refused
}

// attend begins to look whether the client goes while its request is held.
func (c *client) attend() (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	stop := c.link.attend(cancel)
	return ctx, func() { stop(); cancel() }
}

// tunnel serves CONNECT. It dials nothing: the connection goes on as TLS with
// ourselves, where a refusal can be read.
func (c *client) tunnel(ev *bottle.Event) bool {
	ev.Kind = "connect"
	o, refused := c.front.tunnel(&c.q)
	ev.Host, ev.Port = o.host, o.port
	if refused == nil {
		var v policy.Verdict
		if v, refused = c.judgeTunnel(o); v.Status == 403 {
			refused = c.heldTunnel(o, ev, v, refused)
		}
	}
	if refused != nil {
		return c.refuse(ev, refused, false)
	}
	if _, err := c.conn.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n")); err != nil {
		return false
	}
	c.sock.limit(c.s.headTime)
	if len(c.in.buffered()) == 0 && c.in.fill() != nil {
		return false
	}
	c.front = front{scheme: policy.HTTPS, port: policy.DefaultPort(policy.HTTPS), bound: &o}
	if c.in.buffered()[0] == recordHandshake {
		return c.secure()
	}
	o.scheme = policy.HTTP
	if !c.s.policy.Load().Reaches(o.scheme, o.host, o.port, time.Now()) {
		ev.Verdict, ev.Reason = "deny", "it is not TLS that came after CONNECT"
		c.record(ev)
		c.more = true
		return false
	}
	c.front.scheme, c.front.port = policy.HTTP, policy.DefaultPort(policy.HTTP)
	return true
}
