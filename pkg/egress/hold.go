package egress

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/policy"
)

// maxHeld bounds the requests that wait for the operator at once. A held request
// costs its connection, and what of it was read already: its body stays where it
// is. So many leave most of MaxConns to others.
const maxHeld = 256

// maxTold is how much of the operator's reason stands in a status line.
const maxTold = 200

// signal tells those who wait that something happened.
type signal struct {
	mu sync.Mutex
	ch chan struct{}
}

// next returns what the next tell closes.
func (s *signal) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}

// waiter is a request that can wait for the operator's answer.
type waiter struct {
	// judge judges it anew, from the start.
	judge func() (policy.Verdict, *refusal)
	// attend begins to look whether its client is still there: ctx ends when it is
	// not. end ends the looking, and is called before the request goes on.
	attend func() (ctx context.Context, end func())
}

// hold is what becomes of a request that no entry allows: where the policy says
// so, it waits for the operator's answer, and is judged anew at each change of
// the policy until then. v and refused are the judgement so far. Nothing is
// looked up or read meanwhile.
func (s *Server) hold(ev *bottle.Event, v policy.Verdict, refused *refusal, w waiter) (policy.Verdict, *refusal) {
	timeout := s.policy.Load().AskTimeout
	if s.denied == nil {
		return v, refused
	}
	if timeout == 0 {
		s.denied.note(ev)
		return v, refused.because(s.denied.rejected(ev))
	}
	h, why := s.denied.hold(ev, timeout)
	if h == nil {
		return v, refused.because(why)
	}
	defer h.release()
	began := time.Now()
	defer func() { ev.Held = float64(time.Since(began).Microseconds()) / 1000 }()
	ctx, end := w.attend()
	defer end()
	over, outcome := time.NewTimer(time.Until(h.until)), unanswered(timeout)
	defer over.Stop()
	for {
		changed := s.changed.next() // before judging, so that no change falls between
		v, refused = w.judge()
		if v.Status != 403 || s.policy.Load().AskTimeout == 0 {
			return v, refused
		}
		if before := s.denied.rejected(ev); before != "" { // its own decision is about to come, or was another's
			outcome = before
			over.Reset(min(time.Until(h.until), decisionTime))
		}
		select {
		case <-changed:
		case <-h.decided:
			if v, refused = w.judge(); v.Status == 403 { // what was decided is in force already
				refused = refused.because(h.verdict())
			}
			return v, refused
		case <-over.C:
			return v, refused.because(outcome)
		case <-ctx.Done():
			return v, refused.because("the client left while it was held for the operator")
		case <-s.ending:
			return v, refused.because("it was held for the operator, and egress is stopping")
		}
	}
}

// decisionTime is how long after the policy a decision is looked for: it is
// written last, and a lost file event is made up for within 2 seconds.
const decisionTime = 3 * time.Second

func unanswered(timeout time.Duration) string {
	return fmt.Sprintf("the operator was asked and did not answer within %s", bottle.Span(timeout))
}

// because returns the refusal with more of its reason.
func (r *refusal) because(why string) *refusal {
	if why == "" {
		return r
	}
	more := *r
	more.reason += "; " + clipText(why, maxTold)
	more.body = []byte("egress: " + printable(r.reason) + "; " + why + "\n")
	return &more
}

// clipText returns as much of a text as so many bytes hold.
func clipText(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

// holding is the wait of one request.
type holding struct {
	d       *denied
	id      string
	until   time.Time
	decided <-chan struct{}
	release func()
}

// verdict is what the agent is told of a decision that does not let it pass.
func (h *holding) verdict() string {
	d, err := h.d.queue.Decision(h.id)
	if err != nil {
		return ""
	}
	said := "the operator approved something else"
	switch {
	case d.Verdict == bottle.Rejected:
		said = "the operator rejected it"
	case d.Verdict == bottle.Approved && d.Reason == "":
		return "" // such as a use that another took
	}
	if reason := strings.Join(strings.Fields(d.Reason), " "); reason != "" {
		said += ": " + reason
	}
	return said
}

// hold asks the operator for a request, or joins it to those that are held for
// its like. It returns nil, and why, where the request is refused at once.
func (d *denied) hold(ev *bottle.Event, timeout time.Duration) (*holding, string) {
	q := d.request(ev)
	asked, ok := askedFor(q)
	if !ok {
		return nil, ""
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if before := d.rejected(ev); before != "" {
		return nil, before
	}
	until := q.Now.Add(timeout)
	h := &holding{d: d}
	var err error
	h.id, err = d.file(bottle.Proposal{Kind: bottle.EgressDenied, Egress: &asked}, q, likeHeld(&asked, q.Now), func(w *bottle.Pending) {
		if w.HeldUntil.IsZero() {
			w.HeldUntil = until.UTC().Truncate(time.Millisecond)
		}
		h.until = w.HeldUntil
	})
	switch {
	case err != nil:
		return nil, "the operator cannot be asked: " + err.Error()
	case !time.Now().Before(h.until):
		return nil, unanswered(timeout)
	}
	select {
	case d.slots <- struct{}{}:
	default:
		return nil, fmt.Sprintf("the operator was asked, and %d requests wait for an answer already", maxHeld)
	}
	decided, release := d.queue.Hold(h.id)
	h.decided, h.release = decided, func() { release(); <-d.slots }
	return h, ""
}

// rejected is what the agent is told of a request whose like the operator rejected
// before; empty: he did not.
func (d *denied) rejected(ev *bottle.Event) string {
	q := d.request(ev)
	silence, yes := d.policy().SilencedBy(q.Host, q.Port, q.Path)
	switch {
	case !yes:
		return ""
	case silence.Reason == "":
		return "the operator rejected it before"
	}
	return "the operator rejected it before: " + silence.Reason
}

// likeHeld finds what a request waits with: what asks for its method too, since
// it is that which is approved; and what was held in vain, whatever its method.
// So a place is held for once, and what is held for it ends at the same time.
func likeHeld(asked *bottle.EgressAsk, now time.Time) func(bottle.Proposal, bottle.Pending) bool {
	return func(w bottle.Proposal, p bottle.Pending) bool {
		over := !p.HeldUntil.IsZero() && !now.Before(p.HeldUntil)
		return alike(w.Egress, asked) && (over || slices.Equal(w.Egress.Methods, asked.Methods))
	}
}
