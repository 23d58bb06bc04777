package egress

import (
	"strings"
	"sync"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/policy"
	"bottle/pkg/proposal"
	"bottle/pkg/sidecar"
)

// Bounds of what egress asks the operator without being asked.
const (
	deniedPerMinute = 10
	deniedPending   = 200
	deniedBehind    = 1000 // refusals that are looked at later; more are not counted
)

// denied turns requests that the policy refuses into proposals: one for a host
// and the first segment of a path. The refused request waits for the answer where
// hold is called, and else does not. The nil denied asks nothing.
type denied struct {
	policy  func() *policy.Policy
	spent   func(*policy.Grant) bool
	queue   *sidecar.Queue
	refused chan refusedRequest
	slots   chan struct{} // one for each request that is held
	mu      sync.Mutex    // whoever looks for a proposal, and makes one where there is none
	stop    chan struct{}
	once    sync.Once
	stopped sync.WaitGroup
}

// openDenied begins to ask, where there is a directory to ask in.
func openDenied(cfg Config, inForce func() *policy.Policy, spent func(*policy.Grant) bool) (*denied, error) {
	if cfg.Out == "" {
		return nil, nil
	}
	queue, err := sidecar.OpenQueue(cfg.In, cfg.Out, sidecar.Limits{Pending: deniedPending, PerMinute: deniedPerMinute})
	if err != nil {
		return nil, err
	}
	d := &denied{policy: inForce, spent: spent, queue: queue, refused: make(chan refusedRequest, deniedBehind), slots: make(chan struct{}, maxHeld),
		stop: make(chan struct{})}
	d.stopped.Go(d.run)
	return d, nil
}

// refusedRequest is a request that no entry allows, or one in which a pattern of
// pipelock's found something.
type refusedRequest struct {
	policy.Request
	pattern string // policy.CheckPattern; empty: no entry allows it
}

// note takes a request that no entry allows.
func (d *denied) note(ev *bottle.Event) { d.found(ev, "") }

// found takes a request in which a pattern of pipelock's found something.
func (d *denied) found(ev *bottle.Event, pattern string) {
	if d == nil {
		return
	}
	select {
	case d.refused <- refusedRequest{d.request(ev), pattern}:
	default:
	}
}

// request is the request that an event tells of.
func (d *denied) request(ev *bottle.Event) policy.Request {
	q := policy.Request{Scheme: ev.Scheme, Host: ev.Host, Port: ev.Port, Method: ev.Method, Path: ev.Path, Now: ev.Time, Spent: d.spent}
	if q.Method == "CONNECT" { // what was to go through it is not known
		q.Scheme, q.Path = tunnelScheme(q.Port), "/"
	}
	return q
}

func (d *denied) close() {
	if d == nil {
		return
	}
	d.once.Do(func() {
		close(d.stop)
		d.stopped.Wait()
		d.queue.Close()
	})
}

func (d *denied) run() {
	for {
		select {
		case <-d.stop:
			return
		case q := <-d.refused:
			if q.pattern != "" {
				d.askException(q.Request, q.pattern)
			} else {
				d.ask(q.Request)
			}
		}
	}
}

// ask counts a refusal with the proposal that waits for its like, or makes one.
func (d *denied) ask(q policy.Request) {
	p := d.policy()
	allowed := q.Method == "CONNECT" && p.NamesPort(q.Port) || policy.Decide(*p, q).Allow // a grant may have come meanwhile
	if allowed || p.Silences(q.Host, q.Port, q.Path) {
		return
	}
	if asked, ok := askedFor(q); ok {
		d.mu.Lock()
		defer d.mu.Unlock()
		like := func(w bottle.Proposal, _ bottle.Pending) bool { return alike(w.Egress, &asked) }
		d.file(bottle.Proposal{Kind: bottle.EgressDenied, Egress: &asked}, q, like, func(*bottle.Pending) {}) // an error: there is no room to ask in
	}
}

// askException counts what pipelock refused with the proposal that waits for its
// like, or makes one, for that very path.
func (d *denied) askException(q policy.Request, pattern string) {
	if d.policy().SilencesPattern(pattern, q.Host, q.Path) {
		return
	}
	asked := bottle.ExceptionAsk{Rule: pattern, Host: q.Host, Path: q.Path, Scanner: policy.Pipelock}
	d.mu.Lock()
	defer d.mu.Unlock()
	like := func(w bottle.Proposal, _ bottle.Pending) bool { return w.Exception != nil && *w.Exception == asked }
	d.file(bottle.Proposal{Kind: bottle.DLPBlock, Exception: &asked}, q, like, func(*bottle.Pending) {}) // an error: there is no room to ask in, or no such exception
}

// file counts a request with a proposal that waits and is like it, or makes one,
// and has note change what is told of it. It returns the proposal's ID. The
// caller holds d.mu, so that two of a kind make one.
func (d *denied) file(asked bottle.Proposal, q policy.Request, like func(bottle.Proposal, bottle.Pending) bool, note func(*bottle.Pending)) (string, error) {
	count := func(w *bottle.Pending) {
		w.Method, w.Last = q.Method, q.Now.UTC().Truncate(time.Millisecond)
		note(w)
	}
	if id := d.queue.Join(like, count); id != "" {
		return id, nil
	}
	made, err := proposal.Make(asked, proposal.Rules{}, q.Now)
	if err == nil {
		made, err = d.queue.Ask(made)
	}
	if err != nil {
		return "", err
	}
	d.queue.Note(made.ID, count)
	return made.ID, nil
}

// askedFor is what the operator is asked where a request is refused. ok is false
// where no entry could allow it.
func askedFor(q policy.Request) (asked bottle.EgressAsk, ok bool) {
	asked = bottle.EgressAsk{Host: q.Host, Scheme: q.Scheme, Port: q.Port, Paths: firstSegment(q.Path)}
	if q.Method != "CONNECT" {
		asked.Methods = []string{q.Method}
	}
	for _, path := range asked.Paths {
		if policy.CheckPrefix(path) != nil {
			return asked, false
		}
	}
	return asked, true
}

// tunnelScheme is what most likely goes through a tunnel to a port.
func tunnelScheme(port int) string {
	if port == policy.DefaultPort(policy.HTTP) {
		return policy.HTTP
	}
	return policy.HTTPS
}

// alike says whether two refusals are for the same place; methods are counted
// together.
func alike(a, b *bottle.EgressAsk) bool {
	return a != nil && a.Host == b.Host && a.Scheme == b.Scheme && a.Port == b.Port && strings.Join(a.Paths, " ") == strings.Join(b.Paths, " ")
}

// firstSegment is the prefix that a refusal is told under; nil for the root
// itself, which no prefix but the whole host covers.
func firstSegment(path string) []string {
	segment, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if segment == "" {
		return nil
	}
	return []string{"/" + segment}
}
