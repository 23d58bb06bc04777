package dash

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/cli"
	"bottle/pkg/tmux"
)

// done takes the end of a program in.
func (s *State) done(d Done) {
	if d.Err != "" && d.Run.Job != Quiet && d.Run.Job != Refresh && d.Run.Job != Hands && d.Run.Job != Right {
		s.fail(d.Err)
	}
	if d.Err == "" && d.Run.Then != "" {
		s.say(d.Run.Then)
	}
	switch d.Run.Job {
	case Agents:
		s.choose(d)
	case Preflight:
		s.preflight(d)
	case Refresh:
		again := s.stale
		s.refreshing, s.stale = false, false
		if again {
			s.refresh()
		}
	case Hands:
		s.asking = false
		if d.Err == "" {
			s.jump(unixTime(tmux.ParseClients(d.Out)))
		}
	case Right:
		s.right(d)
	case Decide:
		s.afterDecision(d)
	case Stop:
		s.stopped(d)
	case Start:
		if d.Err == "" {
			s.say("")
		}
		s.lookRight()
	case Attach, Closed:
		s.lookRight()
	case Log:
		if d.Err == "" {
			s.say("")
		}
	case Quiet, Edit: // all that there is to say was said
	}
}

func unixTime(seconds int64) time.Time { return time.Unix(seconds, 0) }

// lookRight asks which bottle the right pane shows.
func (s *State) lookRight() {
	if s.Pane != "" {
		s.run(Right, "", tmux.Panes(s.Pane)...)
	}
}

func (s *State) right(d Done) {
	s.shown, s.rightPane = "", ""
	panes, err := tmux.ParsePanes(d.Out)
	if d.Err != "" || err != nil {
		return
	}
	if p, ok := tmux.Right(panes); ok {
		s.rightPane = p.ID
		if bottle.CheckSlug(p.Shows) == nil {
			s.shown = p.Shows
		}
	}
}

func (s *State) choose(d Done) {
	if _, ok := s.modal.(*waitingFor); !ok {
		return // the operator went on
	}
	s.modal = nil
	all, err := DecodeChoices(d.Out)
	switch {
	case err != nil:
		s.fail(err.Error())
	case len(all) > 0:
		s.modal = &picker{all: all}
	case d.Err != "": // which is told
	case s.Pane == "": // it offers to write a first one
		s.do(Run{Job: Start, Argv: []string{"bottle-start"}, Foreground: true})
	default:
		s.popup(Start, "", "bottle-start", "--pane", "--focus")
	}
}

func (s *State) preflight(d Done) {
	if _, ok := s.modal.(*waitingFor); !ok {
		return
	}
	s.modal = nil
	if d.Err != "" {
		return
	}
	var lines []string
	for line := range strings.Lines(d.Out) {
		lines = append(lines, cli.Inert(strings.TrimRight(line, "\n")))
	}
	name := d.Run.About
	s.modal = &question{text: "start it?", lines: lines, yes: func(s *State) {
		if s.Pane == "" {
			s.do(Run{Job: Start, About: name, Argv: []string{"bottle-start", "--yes", name}, Foreground: true})
			return
		}
		s.say("starting " + name)
		s.run(Start, name, "bottle-start", "--yes", "--pane", "--focus", name)
	}}
}

// afterDecision: what was decided goes when the watcher says so; what was not is
// back.
func (s *State) afterDecision(d Done) {
	if d.Err == "" {
		return
	}
	delete(s.deciding, d.Run.About)
	if s.lists[proposals].settle(s.proposalKeys()) {
		s.disturbed()
	}
}

// work says where a stop has put the work, by what it printed.
func work(out string) string {
	var took struct {
		Bundle string `json:"bundle"`
	}
	if json.Unmarshal([]byte(out), &took) != nil || took.Bundle == "" {
		return ""
	}
	return ": its work is in " + took.Bundle
}

// stopped slides the selection to the bottle that takes the row, and shows it.
func (s *State) stopped(d Done) {
	slug := d.Run.About
	delete(s.stopping, slug)
	if d.Err != "" {
		return
	}
	s.agents = slices.DeleteFunc(s.agents, func(a Agent) bool { return a.Slug == slug })
	text := slug + " is stopped" + work(d.Out)
	if len(s.agents) == 0 {
		text = s.idle() + "  " + text
	}
	s.say(text)
	s.lists[agents].settle(s.agentKeys())
	if s.Pane == "" {
		return
	}
	next, ok := s.agent(s.lists[agents].selected)
	switch {
	case ok && (next.Status == bottle.Running || next.Status == bottle.Degraded):
		s.attach(next.Slug, false)
	case len(s.agents) == 0 && s.rightPane != "":
		s.run(Closed, "", tmux.Close(s.rightPane)...)
	default:
		s.lookRight()
	}
}
