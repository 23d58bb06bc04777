package egress

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/dlp"
	"bottle/pkg/policy"
)

// Limits of WebSockets.
const (
	maxSockets = 256               // of the bottle
	closeTime  = 5 * time.Second   // for one side to answer the other's close frame
	maxReason  = maxControl - 2    // bytes of a close frame's reason
	holdBack   = 64 << 10          // bytes of a message that wait for what follows them
	holdMore   = holdBack + 16<<10 // from here on what need not wait is sent
)

// webSocket is one connection of WebSocket, between the client's handshake and
// the last frame. What the client sends is scanned, message by message; what the
// upstream sends is passed on. All frames are written anew, and in fragments of
// our own where a message is large.
type webSocket struct {
	*handshake
	c     *client
	x     *exchange
	up    *upstream
	began bool          // the answer was 101
	done  chan struct{} // closed when nothing more is read from the client

	mu    sync.Mutex
	ended *ending // the first reason that it ended for

	sent, recv int64 // bytes of payload; sent and closed are valid once done is closed
	closed     bool  // the client's close frame went upstream
	talk       dlp.Conversation
	scan       *scan  // of the message under way
	held       []byte // of that, what has not been sent
}

// ending is why a WebSocket ended: what the client is told, and what is recorded.
type ending struct {
	code    int // 0: the client is told nothing
	reason  string
	verdict string
	detail  string
	blocked *blocked
}

func (e *ending) Error() string { return e.reason }

var (
	agreed     = &ending{verdict: bottle.Allowed} // by close frames
	goingAway  = &ending{code: 1001, reason: "egress ends", verdict: bottle.Allowed}
	cutOff     = &ending{code: 1008, reason: reasonCut, verdict: "deny"}
	clientLeft = &ending{reason: "the client left", verdict: "error"}
)

// askSocket readies a request for WebSocket that an entry allows.
func (c *client) askSocket(r *policy.Route) *refusal {
	if r.Model != "" {
		return refuse(403, "a WebSocket to the model's own host is not allowed: nobody could tell what it asks the model's provider to do")
	}
	h, refused := c.q.shake()
	switch {
	case refused != nil:
		return refused
	case (r.Auth.Set() || r.RefuseForeign) && h.carriesCredential():
		return refuse(403, "a subprotocol of WebSocket has a credential that the bottle was not given for "+r.Host)
	case c.s.sockets.Add(1) > maxSockets:
		c.s.sockets.Add(-1)
		return refuse(503, fmt.Sprintf("the bottle has %d WebSockets open", maxSockets))
	}
	c.ws = &webSocket{handshake: h, c: c, done: make(chan struct{})}
	return nil
}

// endSocket gives back what askSocket took.
func (c *client) endSocket() {
	if c.ws != nil {
		c.open.Store(nil)
		c.ws = nil
		c.s.sockets.Add(-1)
	}
}

// run relays, from the answer that changed the protocol to the end. Its error is
// of an answer that may not; then nothing went to the client.
func (w *webSocket) run(x *exchange) error {
	c, p := w.c, &w.c.p
	if err := w.accepted(p); err != nil {
		return err
	}
	w.x, w.up, w.began = x, x.up, true
	x.began, x.ev.Status = true, p.status
	c.sock.wait()
	w.up.sock.wait()
	opened := *x.ev
	opened.Verdict = bottle.Allowed
	c.record(&opened)
	c.open.Store(w)
	if c.s.draining.Load() { // Drain may have missed it
		w.end(goingAway)
	}
	if err := c.send(w.appendSwitch(getBuf(), p)); err != nil {
		w.end(clientLeft)
	}
	go w.fromClient()
	w.toClient()
	select {
	case <-w.done: // the upstream has the client's close frame: it is not reset
	default:
		w.up.sock.reset()
		c.sock.expire()
		<-w.done
	}
	return nil
}

// end notes why it ends, and ends it; the first reason counts.
func (w *webSocket) end(e *ending) {
	w.mu.Lock()
	if w.ended == nil {
		w.ended = e
	}
	w.mu.Unlock()
	w.up.sock.reset()
	w.c.sock.SetWriteDeadline(time.Now().Add(cutTime))
}

// toClient passes on what the upstream sends, until its close frame was answered
// or one side is gone.
func (w *webSocket) toClient() {
	in, d, out := &w.up.in, deframer{}, framer{dst: w.c.conn}
	for {
		n, p, err := d.next(in.buffered())
		switch {
		case err != nil:
			out.flush() // of what came before
			w.end(&ending{code: 1002, reason: "the upstream's frames are malformed", verdict: "error", detail: err.Error()})
			return
		case n == 0:
			if err = out.flush(); err != nil {
				w.end(clientLeft)
				return
			}
			in.rest()
			if err = in.fill(); err != nil {
				w.end(&ending{reason: why(noEOF(err)), verdict: "error", detail: err.Error()})
				return
			}
			continue
		}
		in.discard(n)
		w.recv += int64(len(p.data))
		if err = w.pass(&out, p); err == nil && p.op == opClose {
			err = out.flush()
		}
		if err != nil {
			w.end(clientLeft)
			return
		}
		if p.op == opClose {
			w.waitForClose()
			return
		}
	}
}

// pass sends a piece of what the upstream sent, with an injected credential
// masked.
func (w *webSocket) pass(out *framer, p piece) error {
	m := w.c.mask
	if p.op.control() {
		if m != nil {
			m.cover(p.data)
		}
		return out.frame(true, p.op, p.data)
	}
	data := p.data
	if m != nil {
		data = m.next(data, p.last)
	}
	if len(data) == 0 && !p.last {
		return nil
	}
	return out.message(p.op, data, p.last)
}

// waitForClose gives the client the time to answer a close frame.
func (w *webSocket) waitForClose() {
	select {
	case <-w.done:
	case <-time.After(closeTime):
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended == nil {
		w.ended = agreed
	}
}

// finish tells the client why it ended, where it can be told, and records. It
// says whether the client's connection can go on, which it cannot.
func (w *webSocket) finish(cut bool) bool {
	c, ev := w.c, w.x.ev
	w.mu.Lock()
	e := w.ended
	w.mu.Unlock()
	switch {
	case e == agreed:
	case cut:
		e = cutOff
	case (c.gone.Load() || e == clientLeft) && w.closed:
		e = agreed // it need not wait for the answer
	case c.gone.Load():
		e = clientLeft
	}
	ev.Kind, ev.Sent, ev.Recv = "websocket", w.sent, w.recv
	ev.Verdict, ev.Reason, ev.Detail = e.verdict, e.reason, e.detail
	if e.blocked != nil {
		told := e.blocked.explain()
		ev.Reason = told.Reason
		told.note(ev)
	}
	if e.code != 0 {
		c.sock.hurry(cutTime)
		c.send(appendFrame(getBuf(), true, opClose, false, closePayload(e.code, e.reason)))
	}
	c.more = true
	c.record(ev)
	return false
}

// closePayload is that of a close frame of our own.
func closePayload(code int, reason string) []byte {
	reason = "egress: " + printable(reason)
	return append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason[:min(len(reason), maxReason)]...)
}

// endingOf turns what stopped a message of the client's into what it is told. A
// secret is not shown, nor where it stood: a reason has little room.
func (w *webSocket) endingOf(err error) *ending {
	var (
		e       *ending
		finding *dlp.Finding
		refusal *dlp.Refusal
	)
	switch b := (&blocked{w.x.at.host, err}); {
	case errors.As(err, &e):
		return e
	case errors.As(err, &finding) && finding.Rule == dlp.KnownRule:
		return &ending{code: 1008, reason: "a secret of the bottle's own may not go there (" + finding.Rule + ")", verdict: "deny", blocked: b}
	case errors.As(err, &finding):
		return &ending{code: 1008, reason: "a secret (" + finding.Rule + ") was not let out; if it is none, ask with dlp-block", verdict: "deny", blocked: b}
	case errors.As(err, &refusal) && refusal.Reason == dlp.TooLarge:
		return &ending{code: 1009, reason: refusal.Error(), verdict: "deny", blocked: b}
	case errors.As(err, &refusal):
		return &ending{code: 1008, reason: refusal.Error(), verdict: "deny", blocked: b}
	case errors.Is(err, errMalformed):
		return &ending{code: 1002, reason: err.Error(), verdict: "deny"}
	}
	return clientLeft
}

// upstreamBroke is an error of writing to the upstream. What it has sent may say
// why, and is passed on for a moment.
func (w *webSocket) upstreamBroke() {
	w.up.sock.SetReadDeadline(time.Now().Add(closeTime))
}
