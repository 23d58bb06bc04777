package egress

import (
	"bottle/pkg/dlp"
	"bottle/pkg/policy"
)

// fromClient sends upstream what the client sends, as far as it was scanned,
// until the client's close frame, or until one side is gone.
func (w *webSocket) fromClient() {
	defer close(w.done)
	defer w.drop()
	in, d, out := &w.c.in, deframer{masked: true}, framer{dst: w.up.conn, masked: true}
	for {
		n, p, err := d.next(in.buffered())
		if err != nil {
			w.end(w.endingOf(err))
			return
		}
		if n == 0 {
			if out.flush() != nil {
				w.upstreamBroke()
				return
			}
			in.rest()
			if in.fill() != nil {
				w.end(clientLeft)
				return
			}
			continue
		}
		in.discard(n)
		if err := w.look(p); err != nil {
			w.end(w.endingOf(err))
			return
		}
		if w.release(&out, p) != nil || p.op == opClose && out.flush() != nil {
			w.upstreamBroke()
			return
		}
		if w.closed = p.op == opClose; w.closed {
			return
		}
	}
}

// look scans a piece. Nothing of it may leave before look returned nil.
func (w *webSocket) look(p piece) error {
	if p.op.control() {
		if len(p.data) == 0 {
			return nil
		}
		s, err := w.begin(p)
		if err == nil {
			err = w.next(s, p)
			s.end()
		}
		return err
	}
	if p.first {
		var err error
		if w.scan, err = w.begin(p); err != nil {
			return err
		}
	}
	s := w.scan
	if !s.stream && s.size+int64(len(p.data))+p.left > s.most {
		return s.tooLarge()
	}
	if err := w.next(s, p); err != nil {
		return err
	}
	if p.last {
		s.end()
		w.scan = nil
	}
	return nil
}

// begin begins the scan of a message, by the entry and the values in force now.
func (w *webSocket) begin(p piece) (*scan, error) {
	share := int64(scanMost)
	if p.fin {
		share = min(scanLeast+scanRatio*min(p.size, scanMost), scanMost)
	}
	k := w.c.s.known.Load()
	s := w.c.s.newScan(w.c.restsOn(), share, func(rules dlp.Policy) *dlp.Request {
		return k.scanner.Message(rules, w.x.ev.Path, &w.talk)
	})
	if s == nil {
		return nil, &ending{code: 1013, reason: reasonBusy, verdict: "error"}
	}
	var err error
	if s.body, err = s.q.Body("", ""); err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

// next scans a piece, and takes in what its message has shown when it ends.
func (w *webSocket) next(s *scan, p piece) error {
	err := s.next(p.data, p.last)
	if err == nil {
		err = s.excepted()
	}
	if err == nil && p.last && !s.passes {
		w.talk.Sent(s.q)
	}
	return err
}

// release sends what was scanned. The end of a message waits until all of it was,
// and with it all of one that is not large.
func (w *webSocket) release(out *framer, p piece) error {
	w.sent += int64(len(p.data))
	if p.op.control() {
		return out.frame(true, p.op, p.data)
	}
	if p.last && len(w.held) == 0 {
		return out.message(p.op, p.data, true)
	}
	w.held = append(w.held, p.data...)
	ready := len(w.held)
	if !p.last {
		if ready -= holdBack; ready < holdMore-holdBack {
			return nil
		}
	}
	err := out.message(p.op, w.held[:ready], p.last)
	w.held = w.held[:copy(w.held, w.held[ready:])]
	if p.last {
		w.held = nil // a silent connection holds nothing
	}
	return err
}

// drop gives back what a message that did not end held.
func (w *webSocket) drop() {
	w.scan.end()
	w.held = nil
}

// restsOn is the entry by which what is under way is allowed.
func (c *client) restsOn() *policy.Route {
	c.rest.mu.Lock()
	defer c.rest.mu.Unlock()
	return c.rest.route
}
