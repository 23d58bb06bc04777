package dash

import (
	"fmt"
	"slices"
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

// scroll is the part of some lines that is shown.
type scroll struct {
	top    int
	size   int // lines that were drawn last, and rows for them
	height int
}

// key scrolls, if that is what the key does.
func (s *scroll) key(k string) bool {
	half := max(1, s.height/2)
	by, ok := map[string]int{"down": 1, "up": -1, "ctrl-d": half, "pgdn": half, "ctrl-u": -half, "pgup": -half, "home": -s.size, "end": s.size}[k]
	s.top = max(0, min(s.top+by, s.size-s.height))
	return ok
}

// part cuts what is shown out of all lines, and says which it is, where that is
// not all.
func (s *scroll) part(all []string, height int) (lines []string, which string) {
	s.size, s.height = len(all), height
	s.top = max(0, min(s.top, s.size-height))
	end := min(len(all), s.top+height)
	if len(all) > height {
		which = fmt.Sprintf(" (%d-%d of %d)", s.top+1, end, len(all))
	}
	return all[s.top:end], which
}

// page is text that scrolls.
type page struct {
	scroll
	title   string
	lines   []string
	subject string
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
	if moves, ok := map[string]string{"j": "down", "k": "up", " ": "pgdn", "g": "home", "G": "end"}[k]; ok {
		k = moves
	}
	switch k {
	case "esc", "q", "enter", "ctrl-c", "?":
		s.modal = nil
	default:
		if q, ok := s.proposal(p.subject); !p.scroll.key(k) && ok && p.decide && decides[k] != "" {
			dead := s.dead()
			s.modal = nil
			s.decide(q, k, dead)
		}
	}
}

func (p *page) draw(_ *State, width, height int) (string, []string, int) {
	var all []string
	for _, l := range p.lines {
		all = append(all, wrap(l, width)...)
	}
	lines, which := p.part(all, height)
	return p.title + which, lines, -1
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
	if p.left(s.now) > 0 {
		lines = append(lines, "the refused request waits for the answer until "+p.Pending.HeldUntil.Local().Format("15:04:05"))
	}
	section("justification", p.Justification)
	section("asked for", p.payload)
	for _, t := range p.texts {
		section(t.name, t.lines)
	}
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

// question wants y; everything else is no, but for keys that scroll.
type question struct {
	scroll
	subject string
	text    string
	lines   []string
	yes     func(*State)
}

func (q *question) about() string { return q.subject }

func (q *question) keys() []string {
	if q.size > q.height {
		return []string{"y yes", "up down scroll", "any other key: no"}
	}
	return []string{"y yes", "any other key: no"}
}

func (q *question) key(s *State, k string) {
	if q.scroll.key(k) {
		return
	}
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
	asked := wrap(q.text+" [y/N]", width)
	lines, which := q.part(lines, max(1, height-len(asked)))
	return which, append(slices.Clone(lines), asked...), -1
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
