package dash

import (
	"slices"
	"strings"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/tmux"
)

// pane is one of the two lists.
type pane int

const (
	agents pane = iota
	proposals
)

// list is a pane's cursor. The selection is an identity; the row is where it was
// last, for when it goes.
type list struct {
	selected string
	row      int
	filter   string
}

// settle finds the selection among keys again and says whether another stands
// under the cursor now.
func (l *list) settle(keys []string) bool {
	was := l.selected
	if i := slices.Index(keys, l.selected); i >= 0 {
		l.row = i
		return false
	}
	l.row = max(0, min(l.row, len(keys)-1))
	l.selected = ""
	if len(keys) > 0 {
		l.selected = keys[l.row]
	}
	return l.selected != was
}

func (l *list) move(keys []string, to int) {
	if len(keys) > 0 {
		l.row = max(0, min(to, len(keys)-1))
		l.selected = keys[l.row]
	}
}

// State is all that the dashboard knows. Make it with New.
type State struct {
	W, H   int
	Pane   string   // of tmux, in which the dashboard runs; empty: none
	NoJump bool     // a new proposal does not move the focus
	Env    []string // NAME=value, for programs in a popup

	now       time.Time
	agents    []Agent    // oldest first
	proposals []Proposal // as Proposal.order has them
	focus     pane
	lists     [2]list
	shown     string // the bottle in the right pane
	rightPane string // its id
	message   string // in the status line
	failed    bool   // and it tells of a failure
	modal     modal
	stopping  map[string]bool
	deciding  map[string]bool

	began    bool // what arrives from now on is new
	newest   map[string]time.Time
	lastKey  time.Time
	unseen   bool      // something changed that the operator did not do
	deadFrom time.Time // since when the keyboard is quiet

	asking     bool // whether hands are at the keyboard
	refreshing bool // tmux draws its status line
	stale      bool // and has to once more
	rang       time.Time

	effects []any
}

// New is a dashboard that knows nothing yet. pane is tmux' id of its own pane.
func New(pane string) *State {
	return &State{Pane: pane, W: 80, H: 24, newest: map[string]time.Time{}, stopping: map[string]bool{}, deciding: map[string]bool{}}
}

// Update takes one event in and returns what is to be done: Run, Bell, Quit,
// Suspend.
func (s *State) Update(now time.Time, event any) []any {
	s.now, s.effects = now, nil
	switch e := event.(type) {
	case Key:
		s.key(string(e))
	case Resize:
		s.W, s.H = e.W, e.H
	case Agent:
		s.takeAgent(e)
	case Known:
		s.known(e)
	case Proposal:
		s.takeProposal(e)
	case Fresh:
		s.agents = nil
	case Moved:
		s.lookRight()
	case Back:
		s.lastKey = now
	case Told:
		s.fail(string(e))
	case Done:
		s.done(e)
	case Tick:
		for key, until := range s.newest {
			if !until.After(now) {
				delete(s.newest, key)
			}
		}
		s.sort() // the time of what was held may be over
	}
	return s.effects
}

// Wake is when the screen changes by itself; zero: it does not.
func (s *State) Wake() time.Time {
	var next time.Time
	sooner := func(t time.Time) {
		if t.After(s.now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for _, until := range s.newest {
		sooner(until)
	}
	if s.unseen {
		sooner(s.deadFrom.Add(quietKeys))
	}
	for i := range s.proposals {
		if p := &s.proposals[i]; s.now.Before(p.Pending.HeldUntil) {
			sooner(p.Pending.HeldUntil.Add(time.Second - p.left(s.now))) // when it shows a second less
		}
	}
	return next
}

// say puts a line into the status line; fail does so for what went wrong.
func (s *State) say(text string)  { s.message, s.failed = text, false }
func (s *State) fail(text string) { s.message, s.failed = text, true }

func (s *State) do(effect any) { s.effects = append(s.effects, effect) }

func (s *State) run(job Job, about string, argv ...string) {
	s.do(Run{Job: job, About: about, Argv: argv})
}

// takeAgent notes how a bottle is now.
func (s *State) takeAgent(a Agent) {
	i := slices.IndexFunc(s.agents, func(b Agent) bool { return b.Slug == a.Slug })
	switch {
	case a.Status == bottle.Gone && i < 0:
		return
	case a.Status == bottle.Gone:
		s.agents = slices.Delete(s.agents, i, i+1)
		if s.modal != nil && s.modal.about() == a.Slug {
			s.modal = nil
		}
	case i < 0:
		s.agents = append(s.agents, a)
	default:
		if a.Activity == "waiting" && s.agents[i].Activity != "waiting" {
			s.bell()
		}
		s.agents[i] = a
	}
	slices.SortFunc(s.agents, func(a, b Agent) int {
		if c := a.StartedAt.Compare(b.StartedAt); c != 0 {
			return c
		}
		return strings.Compare(a.Slug, b.Slug)
	})
	s.lists[agents].settle(s.agentKeys())
	s.refresh()
}

// refresh has tmux draw its status line anew, where bottle-ls is asked again.
func (s *State) refresh() {
	switch {
	case s.Pane == "":
	case s.refreshing:
		s.stale = true
	default:
		s.refreshing = true
		s.run(Refresh, "", tmux.Refresh()...)
	}
}

// bell rings once for a burst: an agent may ask a thousand times a second.
func (s *State) bell() {
	if s.now.Sub(s.rang) >= time.Second {
		s.rang = s.now
		s.do(Bell{})
	}
}

// known takes all that waits; the rest is gone. What waits when the dashboard
// begins is not new.
func (s *State) known(e Known) {
	wait := map[string]bool{}
	for _, p := range e.Proposals {
		wait[p.key()] = p.pending()
	}
	for _, p := range slices.Clone(s.proposals) {
		if !wait[p.key()] {
			p.Status = "gone"
			s.takeProposal(p)
		}
	}
	for _, p := range e.Proposals {
		s.takeProposal(p)
	}
	s.began = true
}

// takeProposal notes one that waits, or that waits no more.
func (s *State) takeProposal(p Proposal) {
	i := slices.IndexFunc(s.proposals, func(q Proposal) bool { return q.key() == p.key() })
	switch {
	case !p.pending() && i < 0:
		return
	case !p.pending():
		s.forget(p.key())
	case i >= 0:
		s.proposals[i] = p
		s.sort()
		return
	default:
		s.proposals = append(s.proposals, p)
		s.sort()
		if s.began {
			s.ring(p)
		}
	}
	s.settle()
	s.refresh()
}

// sort puts the proposals in their order. Where others stand beside the cursor
// then, keys that were meant for those before must not count.
func (s *State) sort() {
	order := func(a, b Proposal) int { return a.order(b, s.now) }
	if slices.IsSortedFunc(s.proposals, order) {
		return
	}
	before := s.proposalKeys()
	slices.SortFunc(s.proposals, order)
	if s.began && !slices.Equal(before, s.proposalKeys()) {
		s.disturbed()
		s.settle()
	}
}

// settle finds the proposal under the cursor again, which may be another now.
func (s *State) settle() {
	if s.lists[proposals].settle(s.proposalKeys()) && s.began {
		s.disturbed()
	}
}

// forget drops a proposal that was decided.
func (s *State) forget(key string) {
	s.proposals = slices.DeleteFunc(s.proposals, func(q Proposal) bool { return q.key() == key })
	delete(s.newest, key)
	delete(s.deciding, key)
	if s.modal != nil && s.modal.about() == key {
		s.modal = nil
		s.disturbed()
	}
}

// ring tells of a new proposal, and asks whether hands are at the keyboard.
func (s *State) ring(p Proposal) {
	s.newest[p.key()] = s.now.Add(newFor)
	s.bell()
	if s.NoJump || s.modal != nil || s.asking {
		return
	}
	if s.Pane == "" {
		s.jump(s.lastKey)
		return
	}
	s.asking = true
	s.run(Hands, p.key(), tmux.Clients(s.Pane)...)
}

// jump moves the focus to the earliest new proposal, unless hands are typing.
func (s *State) jump(last time.Time) {
	if s.lastKey.After(last) {
		last = s.lastKey
	}
	if s.modal != nil || s.now.Sub(last) < quietHands {
		return
	}
	keys := s.proposalKeys()
	to := slices.IndexFunc(keys, func(key string) bool { return !s.newest[key].IsZero() })
	if to < 0 {
		return
	}
	if s.Pane != "" {
		s.run(Quiet, "", tmux.Focus(s.Pane)...)
	}
	s.focus = proposals
	s.lists[proposals].move(keys, to)
	s.disturbed()
}

// disturbed: something changed that the operator did not do. Decision keys are
// dead until the keyboard was quiet.
func (s *State) disturbed() { s.unseen, s.deadFrom = true, s.now }

// dead says whether decision keys do nothing now.
func (s *State) dead() bool { return s.unseen && s.now.Sub(s.deadFrom) < quietKeys }

func (s *State) agentKeys() []string {
	var keys []string
	for _, a := range s.agents {
		if matches(s.lists[agents].filter, a.Slug, a.Agent, a.Activity, string(a.Status)) {
			keys = append(keys, a.Slug)
		}
	}
	return keys
}

func (s *State) proposalKeys() []string {
	var keys []string
	for _, p := range s.proposals {
		if !s.deciding[p.key()] && matches(s.lists[proposals].filter, p.Slug, p.Kind, p.Summary) {
			keys = append(keys, p.key())
		}
	}
	return keys
}

func (s *State) keys() []string {
	if s.focus == agents {
		return s.agentKeys()
	}
	return s.proposalKeys()
}

func matches(filter string, fields ...string) bool {
	return filter == "" || strings.Contains(strings.ToLower(strings.Join(fields, " ")), strings.ToLower(filter))
}

func (s *State) agent(slug string) (Agent, bool) {
	i := slices.IndexFunc(s.agents, func(a Agent) bool { return a.Slug == slug })
	if i < 0 {
		return Agent{}, false
	}
	return s.agents[i], true
}

func (s *State) proposal(key string) (Proposal, bool) {
	i := slices.IndexFunc(s.proposals, func(p Proposal) bool { return p.key() == key })
	if i < 0 {
		return Proposal{}, false
	}
	return s.proposals[i], true
}
