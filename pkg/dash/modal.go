package dash

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"bottle/pkg/cli"
)

// modal has the keyboard while it is there. One that was answered is gone.
type modal interface {
	key(s *State, k string)
	about() string  // the slug or the proposal that it rests on; empty: none
	keys() []string // for the footer
	// draw fills a box's lines, and says whether its last line is a prompt.
	draw(s *State, width, height int) (title string, lines []string, marked int)
}

// page is text that scrolls.
type page struct {
	title   string
	lines   []string
	subject string
	top     int
	size    int // lines that were drawn last
	height  int
	decide  bool // decision keys count here too
}

func (p *page) about() string { return p.subject }

func (p *page) keys() []string {
	if p.decide {
		return []string{"esc leaves", "a approve", "o once", "t 10 minutes", "r reject", "m modify", "j k scroll"}
	}
	return []string{"esc leaves", "j k scroll"}
}

func (p *page) key(s *State, k string) {
	half := max(1, p.height/2)
	switch k {
	case "j", "down":
		p.top++
	case "k", "up":
		p.top--
	case "ctrl-d", "pgdn", " ":
		p.top += half
	case "ctrl-u", "pgup":
		p.top -= half
	case "g", "home":
		p.top = 0
	case "G", "end":
		p.top = p.size
	case "esc", "q", "enter", "ctrl-c", "?":
		s.modal = nil
	default:
		if q, ok := s.proposal(p.subject); ok && p.decide && decides[k] != "" {
			dead := s.dead()
			s.modal = nil
			s.decide(q, k, dead)
		}
	}
	p.top = max(0, min(p.top, p.size-p.height))
}

func (p *page) draw(_ *State, width, height int) (string, []string, int) {
	var all []string
	for _, l := range p.lines {
		all = append(all, wrap(l, width)...)
	}
	p.size, p.height = len(all), height
	p.top = max(0, min(p.top, p.size-height))
	end := min(len(all), p.top+height)
	title := p.title
	if len(all) > height {
		title += fmt.Sprintf(" (%d-%d of %d)", p.top+1, end, len(all))
	}
	return title, all[p.top:end], -1
}

// whole is a proposal with everything that is known of it.
func (s *State) whole(p Proposal) modal {
	lines := []string{p.Kind + " of " + p.Slug + " (" + p.Agent + "), " + p.CreatedAt.Local().Format("15:04:05"), p.Summary}
	section := func(title, text string) {
		if text == "" {
			return
		}
		lines = append(lines, "", title)
		for line := range strings.Lines(text) {
			lines = append(lines, "  "+cli.Inert(strings.TrimRight(strings.ReplaceAll(line, "\t", "    "), "\n")))
		}
	}
	section("justification", p.Justification)
	section("asked for", p.payload)
	section("what approval changes", p.Diff)
	section("no diff", p.Note)
	return &page{title: "proposal", lines: lines, subject: p.key(), decide: true}
}

// waitingFor says that a program is at work.
type waitingFor struct{ text string }

func (*waitingFor) about() string { return "" }

func (*waitingFor) keys() []string { return []string{"esc leaves"} }

func (*waitingFor) key(s *State, k string) {
	if k == "esc" || k == "ctrl-c" || k == "q" {
		s.modal = nil
	}
}

func (w *waitingFor) draw(*State, int, int) (string, []string, int) {
	return w.text, []string{"…"}, -1
}

// question wants y; everything else is no.
type question struct {
	subject string
	text    string
	lines   []string
	yes     func(*State)
}

func (q *question) about() string { return q.subject }

func (*question) keys() []string { return []string{"y yes", "any other key: no"} }

func (q *question) key(s *State, k string) {
	s.modal = nil
	if k == "y" || k == "Y" {
		q.yes(s)
	}
}

func (q *question) draw(_ *State, width, height int) (string, []string, int) {
	var lines []string
	for _, l := range q.lines {
		lines = append(lines, wrap(l, width)...)
	}
	if len(lines) > height-1 {
		lines = append(lines[:max(0, height-2)], fmt.Sprintf("… %d more lines: bottle-start --dry-run shows all", len(lines)-height+2))
	}
	return "", append(lines, wrap(q.text+" [y/N]", width)...), -1
}

// capital wants a capital Y: what stands under the cursor came by itself.
type capital struct {
	subject string
	text    string
	yes     func(*State)
}

func (c *capital) about() string { return c.subject }

func (*capital) keys() []string { return []string{"Y yes", "any other key: no"} }

func (c *capital) key(s *State, k string) {
	s.modal = nil
	if k == "Y" {
		c.yes(s)
	}
}

func (c *capital) draw(_ *State, width, _ int) (string, []string, int) {
	return "this came by itself", wrap(c.text+" [capital Y]", width), -1
}

// asking wants a line of text.
type asking struct {
	subject string
	label   string
	text    string
	enter   func(*State, string)
}

func (a *asking) about() string { return a.subject }

func (*asking) keys() []string { return []string{"enter rejects", "esc leaves", "ctrl-u clears"} }

func (a *asking) key(s *State, k string) {
	switch k {
	case "enter":
		s.modal = nil
		a.enter(s, a.text)
	case "esc", "ctrl-c":
		s.modal = nil
	default:
		a.text = typed(a.text, k)
	}
}

func (a *asking) draw(*State, int, int) (string, []string, int) {
	return a.label, []string{"> " + a.text + "_"}, -1
}

// filtering narrows the focused pane with each key.
type filtering struct{}

func (*filtering) about() string { return "" }

func (*filtering) keys() []string { return nil } // what is typed stands there

func (*filtering) key(s *State, k string) {
	l := &s.lists[s.focus]
	switch k {
	case "enter":
		s.modal = nil
	case "esc", "ctrl-c":
		s.modal, l.filter = nil, ""
	default:
		l.filter = typed(l.filter, k)
	}
	s.settled()
}

func (*filtering) draw(*State, int, int) (string, []string, int) { return "", nil, -1 } // the footer shows it

// picker chooses the agent to start.
type picker struct {
	all    []Choice
	filter string
	row    int
}

func (*picker) about() string { return "" }

func (*picker) keys() []string {
	return []string{"enter starts", "esc leaves", "up down move", "type to filter"}
}

func (p *picker) some() []Choice {
	var some []Choice
	for _, c := range p.all {
		if matches(p.filter, c.Agent) {
			some = append(some, c)
		}
	}
	return some
}

func (p *picker) key(s *State, k string) {
	some := p.some()
	switch k {
	case "esc":
		if p.filter == "" {
			s.modal = nil
		}
		p.filter, p.row = "", 0
	case "ctrl-c":
		s.modal = nil
	case "down":
		p.row = min(p.row+1, len(some)-1)
	case "up":
		p.row = max(p.row-1, 0)
	case "enter":
		if len(some) > 0 {
			name := some[p.row].Agent
			s.modal = &waitingFor{text: "what " + name + " would be allowed"}
			s.run(Preflight, name, "bottle-start", "--dry-run", name)
		}
	default:
		p.filter = typed(p.filter, k)
		p.row = 0
	}
}

func (p *picker) draw(_ *State, _, height int) (string, []string, int) {
	some := p.some()
	height = max(1, height-1)
	top := max(0, min(p.row-height/2, len(some)-height))
	lines := []string{"> " + p.filter + "_"}
	for _, c := range some[top:min(len(some), top+height)] {
		lines = append(lines, fmt.Sprintf("%s (%d running)", c.Agent, c.Running))
	}
	if len(some) == 0 {
		return "start an agent", append(lines, "[no agent matches]"), -1
	}
	return "start an agent", lines, 1 + p.row - top
}

// typed is text after a key was pressed in it.
func typed(text, k string) string {
	switch {
	case k == "backspace":
		_, size := utf8.DecodeLastRuneInString(text)
		return text[:len(text)-size]
	case k == "ctrl-u":
		return ""
	case utf8.RuneCountInString(k) == 1 && cli.Inert(k) == k && len(text) < 400:
		return text + k
	}
	return text
}
