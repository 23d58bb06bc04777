package egress

import (
	"errors"
	"sync/atomic"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/sidecar"
)

const (
	maxInformational = 16                    // 1xx answers before the real one
	settleTime       = 50 * time.Millisecond // for the last write of a body to return
	uploadGrace      = time.Second           // for a body that goes on after its answer
)

// exchange is one allowed request and its answer.
type exchange struct {
	c      *client
	ev     *bottle.Event
	at     place
	target []byte
	out    []byte // the request, as far as it goes out in one piece
	up     *upstream
	upload *upload // nil where the request went out whole
	taken  bool    // the request's body has been read
	began  bool    // something of an answer went to the client
	behind behind  // what pipelock says that it refused
}

// upload sends what is left of a request's body while the answer may come.
type upload struct {
	done    chan struct{}
	read    atomic.Bool // all of it has come in
	aborted atomic.Bool // we end it
	sent    int64       // this and the next are valid once done is closed
	err     error
	ours    bool // err came of our ending it
}

func (u *upload) finished() bool {
	if u == nil {
		return true
	}
	select {
	case <-u.done:
		return true
	default:
		return false
	}
}

// settle gives a body that has come in whole the moment that its last write
// needs to return, and says whether all of it went out.
func (u *upload) settle() bool {
	if u == nil {
		return true
	}
	if !u.finished() && u.read.Load() {
		select {
		case <-u.done:
		case <-time.After(settleTime):
		}
	}
	return u.finished() && u.err == nil
}

// forward sends an allowed request upstream and its answer back. It says
// whether the client's connection can go on.
func (c *client) forward(ev *bottle.Event, at place, target []byte) bool {
	x := &c.exchange
	*x = exchange{c: c, ev: ev, at: at, target: target}
	defer func() { *x = exchange{} }() // an idle connection keeps nothing alive
	head, err := x.ask()
	if err == nil {
		err = x.answer(head)
	}
	return x.finish(err)
}

// ask sends the request and returns the head of the first answer. A pooled
// connection may have died unnoticed; then, and only where asking twice does no
// harm and nothing came back, a fresh one is tried.
func (x *exchange) ask() ([]byte, error) {
	up, err := x.c.upstream(x.at, false)
	if err != nil {
		return nil, err
	}
	x.attach(up)
	x.out = appendRequest(getBuf(), &x.c.q, x.at.origin, x.target)
	if !x.takeBody() {
		x.startUpload()
		return up.in.head()
	}
	defer func() { putBuf(x.out) }()
	head, err := x.sendWhole()
	if err == nil || !up.reused || len(up.in.buffered()) > 0 || !repeatable(x.c.q.method) || x.ended() {
		return head, err
	}
	fresh, err := x.c.upstream(x.at, true)
	if err != nil {
		return nil, err
	}
	up.close()
	x.attach(fresh)
	return x.sendWhole()
}

func (x *exchange) attach(up *upstream) {
	x.up = up
	x.c.up.Store(up)
	if x.ended() { // while we dialled
		up.reset()
	}
}

// ended says whether we ended the upstream ourselves: nobody waits for an answer.
func (x *exchange) ended() bool { return x.c.gone.Load() || x.c.wasCut() }

func (x *exchange) sendWhole() ([]byte, error) {
	if _, err := x.up.conn.Write(x.out); err != nil && x.up.reused {
		return nil, err
	}
	// A new connection that breaks while we send may hold an answer that says why.
	return x.up.in.head()
}

// repeatable says whether a request may be sent twice (RFC 9110, 9.2.2).
func repeatable(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "PUT", "DELETE":
		return true
	}
	return false
}

// takeBody puts a body that is here already behind the head, and says whether
// the request is whole with that.
func (x *exchange) takeBody() bool {
	q, in := &x.c.q, &x.c.in
	if q.chunked || q.length > int64(len(in.buffered())) {
		return false
	}
	if q.length > 0 {
		x.out = append(x.out, in.buffered()[:q.length]...)
		in.discard(int(q.length))
		x.ev.Sent = q.length
	}
	x.taken = true
	return true
}

func (x *exchange) startUpload() {
	u := &upload{done: make(chan struct{})}
	x.upload = u
	b := body{chunked: x.c.q.chunked, length: x.c.q.length, scan: x.c.scan}
	up, in, out := x.up, &x.c.in, x.out
	go func() {
		defer close(u.done)
		u.sent, u.err = b.relay(up.conn, in, out, true, func() { u.read.Store(true) })
		b.scan.end()
		u.ours = u.aborted.Load() && !errors.Is(u.err, errMalformed) && !errors.As(u.err, new(*blocked))
		if side := (*sideError)(nil); errors.As(u.err, &side) && !side.writing {
			// The client broke off: end the upstream's request, and with it the
			// wait for an answer. Where writing failed, an answer may be there.
			up.reset()
		}
	}()
}

// answer passes the answer on, whose first head is here.
func (x *exchange) answer(head []byte) error {
	c, p := x.c, &x.c.p
	for n := 0; ; n++ {
		if err := p.parse(head); err != nil {
			return err
		}
		if c.mask != nil {
			c.mask.head(p)
		}
		if p.status >= 200 {
			break
		}
		if p.status == 101 && c.ws != nil {
			return c.ws.run(x)
		}
		if p.status == 101 || n == maxInformational {
			return malformed("a change of protocol that nobody asked for")
		}
		if c.q.minor == 1 {
			if err := c.send(appendResponse(getBuf(), p, false, -1, true)); err != nil {
				return &sideError{writing: true, err: err}
			}
		}
		var err error
		if head, err = x.up.in.head(); err != nil {
			return err
		}
	}
	return x.final()
}

// final passes the final answer on; its head is parsed.
func (x *exchange) final() error {
	c, p := x.c, &x.c.p
	b, err := answerBody(c.q.method, p)
	if err != nil {
		return err
	}
	if b.mask = c.mask; c.mask != nil && p.isGRPC() {
		c.mask.calls = &messages{}
	}
	toEnd := !b.chunked && b.length < 0
	whole := !toEnd && x.upload.settle() // both messages have an end that both sides know
	keep := whole && c.q.minor == 1 && !c.q.close && !c.s.draining.Load()
	c.more = !keep
	rechunk := b.chunked && c.q.minor == 1
	length := b.length
	if b.length == 0 && bodiless(c.q.method, p.status) {
		length = p.length // HEAD and 304 tell of a body that does not come
		if p.status == 204 {
			length = -1
		}
	}
	x.began, x.ev.Status = true, p.status
	c.s.answered(c.q.injected, p.status)
	if x.upload.finished() {
		c.in.rest() // for as long as the answer takes; nobody looks at the request's bytes any more
	}
	out := appendResponse(getBuf(), p, rechunk, length, keep)
	x.behind = x.refusedBehind(b)
	x.ev.Recv, err = b.relay(c.conn, &x.up.in, out, rechunk, nil)
	if err != nil {
		return err
	}
	// A 204 that tells of a body may be followed by one.
	reusable := whole && p.minor == 1 && !p.close && !(p.status == 204 && (p.chunked || p.length > 0))
	// Whoever takes it out of c.up owns it: us, or the sweep that ends it.
	if reusable && c.up.CompareAndSwap(x.up, nil) && x.up.drained() {
		c.s.pool.put(x.up, time.Duration(p.seconds)*time.Second*9/10)
		x.up = nil
	}
	return nil
}

func bodiless(method string, status int) bool {
	return method == "HEAD" || status == 204 || status == 304
}

// answerBody says how the body of an answer is framed.
func answerBody(method string, p *response) (body, error) {
	switch {
	case p.chunked && p.minor == 0:
		return body{}, malformed("HTTP/1.0 with Transfer-Encoding")
	case bodiless(method, p.status):
		return body{}, nil
	}
	return body{chunked: p.chunked, length: p.length}, nil
}

// finish ends the exchange, answers for an upstream that did not, and records.
// It says whether the client's connection can go on.
func (x *exchange) finish(err error) bool {
	c := x.c
	c.up.Store(nil)
	cut := c.rested()
	x.endUpload(err == nil)
	if x.up != nil {
		x.up.close()
	}
	if c.ws != nil && c.ws.began {
		return c.ws.finish(cut)
	}
	if err == nil {
		x.tellBehind()
		c.record(x.ev)
		return !c.more
	}
	x.ev.Verdict, x.ev.Detail = "error", err.Error()
	if cut {
		return x.finishCut()
	}
	if fault := x.clientsFault(err); fault != nil {
		var b *blocked
		switch {
		case errors.As(fault, &b):
			return x.finishBlocked(b)
		case errors.Is(fault, errMalformed) && !x.began:
			return c.refuse(x.ev, refuse(400, fault.Error()), false)
		}
		x.ev.Reason = "the client left"
	} else if !x.began {
		status := 502
		if errors.Is(err, sidecar.ErrRefused) {
			status = 403
		}
		keep := x.upload == nil && (x.taken || c.skipBody())
		return c.refuse(x.ev, refuse(status, "cannot reach "+showHost(x.at.host)+": "+why(err)), keep)
	} else {
		x.ev.Reason = why(err)
	}
	c.broken = true
	c.record(x.ev)
	return false
}

// finishBlocked ends an exchange of which something must not leave: the upstream
// was reset before it had all of the request.
func (x *exchange) finishBlocked(b *blocked) bool {
	r := refuseBlocked(b, &x.c.q)
	if !x.began {
		return x.c.refuse(x.ev, r, false)
	}
	x.ev.Verdict, x.ev.Reason = "deny", r.reason
	r.finding.note(x.ev)
	x.c.broken = true
	x.c.record(x.ev)
	return false
}

// finishCut ends an exchange whose permission is gone.
func (x *exchange) finishCut() bool {
	if !x.began {
		return x.c.refuse(x.ev, refuse(403, reasonCut), false)
	}
	x.ev.Verdict, x.ev.Reason = "deny", reasonCut
	x.c.broken = true
	x.c.record(x.ev)
	return false
}

// endUpload waits until nobody but the caller uses the client's connection and
// the upstream. After an answer, a body may go on for a moment.
func (x *exchange) endUpload(answered bool) {
	u := x.upload
	if u == nil {
		return
	}
	if answered && !u.finished() && x.c.stream == nil { // a stream's answer ends when we do
		select {
		case <-u.done:
		case <-time.After(uploadGrace):
		}
	}
	if !u.finished() {
		u.aborted.Store(true)
		x.up.reset()
		x.c.link.expire()
	}
	<-u.done
	x.ev.Sent = u.sent
}

// clientsFault returns the error of the client's side that ended the exchange,
// or nil where it was the upstream's.
func (x *exchange) clientsFault(err error) error {
	side := (*sideError)(nil)
	if u := x.upload; u != nil && errors.As(u.err, &side) && !side.writing && !u.ours {
		return u.err
	}
	if errors.As(err, &side) && side.writing || x.c.gone.Load() {
		return err
	}
	return nil
}
