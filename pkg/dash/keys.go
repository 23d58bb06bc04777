package dash

import (
	"slices"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/tmux"
)

// key takes one key press in.
func (s *State) key(k string) {
	dead := s.dead()
	if dead && s.now.After(s.deadFrom) { // a key may be older than the change
		s.deadFrom = s.now
	}
	s.lastKey = s.now
	if k == "ctrl-z" {
		s.do(Suspend{})
		return
	}
	if s.modal != nil {
		s.modal.key(s, k)
		return
	}
	s.say("")
	if dead && s.focus == proposals && (k == "q" || k == "n" || k == "/") {
		return // typed for another pane, perhaps
	}
	switch k {
	case "q", "ctrl-c":
		s.do(Quit{})
	case "tab":
		s.focus = 1 - s.focus
	case "/":
		s.modal = &filtering{}
	case "esc":
		s.lists[s.focus].filter = ""
		s.settled()
	case "?":
		s.modal = &page{title: "keys", lines: help}
	case "n":
		s.modal = &waitingFor{text: "reading the agents"}
		s.run(Agents, "", "bottle-ls", "agents")
	default:
		switch {
		case s.moveKey(k):
		case s.focus == agents:
			s.agentKey(k)
		default:
			s.proposalKey(k, dead)
		}
	}
}

// settled finds the selection again after the operator changed what is listed.
func (s *State) settled() { s.lists[s.focus].settle(s.keys()) }

func (s *State) moveKey(k string) bool {
	l, keys := &s.lists[s.focus], s.keys()
	half := max(1, s.rows(s.focus)/2)
	steps := map[string]int{"j": 1, "down": 1, "k": -1, "up": -1, "ctrl-d": half, "pgdn": half, "ctrl-u": -half, "pgup": -half,
		"g": -len(keys), "home": -len(keys), "G": len(keys), "end": len(keys)}
	by, ok := steps[k]
	if ok {
		l.move(keys, l.row+by)
	}
	return ok
}

func (s *State) agentKey(k string) {
	if decides[k] != "" && len(s.proposals) > 0 {
		s.say("Tab into the proposals pane")
		return
	}
	slug := s.lists[agents].selected
	if !slices.Contains([]string{"enter", "x", "e", "p", "l"}, k) {
		return
	}
	a, ok := s.agent(slug)
	if !ok {
		s.say(s.idle())
		return
	}
	switch k {
	case "enter":
		s.attach(slug, true)
	case "x":
		s.modal = &question{subject: slug, text: "stop " + slug + "? its work is captured", yes: func(s *State) { s.stop(slug) }}
	case "e":
		s.do(Run{Job: Edit, About: slug, Argv: []string{"bottle-edit", slug, "routes"}, Foreground: true})
	case "p":
		if !a.hasPipelock() {
			s.say(slug + " runs no pipelock")
			return
		}
		s.do(Run{Job: Edit, About: slug, Argv: []string{"bottle-edit", slug, "pipelock"}, Foreground: true})
	case "l":
		s.log(slug)
	}
}

// attach shows a session: in the right pane, or here where there is none.
func (s *State) attach(slug string, focus bool) {
	if s.Pane == "" {
		s.do(Run{Job: Attach, About: slug, Argv: []string{"bottle-attach", slug}, Foreground: true})
		return
	}
	argv := []string{"bottle-attach", "--pane", slug}
	if focus {
		argv = append(argv, "--focus")
	}
	s.run(Attach, slug, argv...)
}

func (s *State) stop(slug string) {
	s.stopping[slug] = true
	s.say("stopping " + slug)
	s.run(Stop, slug, "bottle-stop", "--pane", slug)
}

func (s *State) log(slug string) {
	argv := []string{"bottle-log", "-f", "-o", "text", slug}
	if s.Pane == "" {
		s.do(Run{Job: Log, About: slug, Argv: argv, Foreground: true})
		return
	}
	s.say("ctrl-c leaves the log")
	s.popup(Log, slug, argv...)
}

// popup runs a program over the panes. tmux has its own environment there.
func (s *State) popup(job Job, about string, argv ...string) {
	s.run(job, about, tmux.Popup(s.Pane, tmux.Process{Argv: slices.Concat([]string{"env"}, s.Env, argv)})...)
}

// hint is for keys of the other pane.
const hint = "Tab into the agents pane"

func (s *State) proposalKey(k string, dead bool) {
	p, ok := s.proposal(s.lists[proposals].selected)
	switch {
	case k == "e" || k == "p" || k == "x" || k == "l":
		s.say(hint)
	case !ok:
	case k == "enter":
		s.modal = s.whole(p)
	case decides[k] != "":
		s.decide(p, k, dead)
	}
}

// decides are the keys that decide, and what they do.
var decides = map[string]string{"a": "approve", "o": "approve", "t": "approve", "m": "edit and approve", "r": "reject"}

// decide does what a decision key says, if the operator can have meant what
// stands under the cursor.
func (s *State) decide(p Proposal, k string, dead bool) {
	switch {
	case dead:
	case s.unseen:
		s.modal = &capital{subject: p.key(), text: decides[k] + " " + p.subject() + life(p, k) + "?",
			yes: func(s *State) { s.unseen = false; s.decided(p, k) }}
	default:
		s.decided(p, k)
	}
}

// life is how long an approval holds.
func life(p Proposal, k string) string {
	switch {
	case k == "r":
		return " of " + p.Slug
	case k == "o":
		return " for " + p.Slug + ", one request"
	case k == "t":
		return " for " + p.Slug + ", 10 minutes"
	case p.seconds > 0:
		return " for " + p.Slug + ", " + bottle.Span(time.Duration(p.seconds)*time.Second)
	}
	return " for " + p.Slug + ", the bottle's life"
}

func (s *State) decided(p Proposal, k string) {
	run := Run{Job: Decide, About: p.key(), Argv: []string{"bottle-approve", "--yes"}, Then: "approved " + p.subject() + life(p, k)}
	switch k {
	case "o":
		run.Argv = append(run.Argv, "--once")
	case "t":
		run.Argv = append(run.Argv, "--for", tenMinutes)
	case "m":
		run.Argv, run.Foreground = []string{"bottle-approve", "--edit"}, true
		run.Then = "" // what it became, and whether, the program has told
	case "r":
		s.modal = &asking{subject: p.key(), label: "reject " + p.subject() + ", because", enter: func(s *State, reason string) {
			run.Argv, run.Then = []string{"bottle-approve", "--reject", "--reason=" + reason}, "rejected "+p.subject()+life(p, k)
			s.send(run)
		}}
		return
	}
	s.send(run)
}

// send hands a decision over and goes on to the next proposal.
func (s *State) send(run Run) {
	run.Argv = append(run.Argv, run.About)
	if !run.Foreground {
		s.deciding[run.About] = true
	}
	s.modal = nil
	s.lists[proposals].settle(s.proposalKeys())
	s.do(run)
}
