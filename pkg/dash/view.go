package dash

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"bottle/pkg/bottle"
)

// layout: header, two labels, status line and footer take a row each.
const fixedRows = 5

// rows is how many rows a pane has for its list.
func (s *State) rows(p pane) int {
	body := max(2, s.H-fixedRows)
	above := max(1, min(len(s.proposals), body/2))
	if p == proposals {
		return above
	}
	return body - above
}

// View draws the state. Nothing in it changes what a key does.
func (s *State) View() Screen {
	c := newScreen(max(s.W, 1), max(s.H, 1))
	c.line(0, 0, c.W, fmt.Sprintf("bottle  %s  %s", count(len(s.agents), "agent"), count(len(s.proposals), "proposal")), Bold)
	y := s.viewProposals(c, 1)
	s.viewAgents(c, y)
	s.viewModal(c)
	s.viewStatus(c) // after it: the keys of a box depend on what of it is drawn
	return c
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (s *State) label(c Screen, y int, p pane, name string, style Style) {
	if s.focus == p {
		name += " (focused)"
	}
	if f := s.lists[p].filter; f != "" {
		name += " /" + f
	}
	if p == proposals && len(s.newest) > 0 {
		name += " (new!)"
		style |= Bold | Green
	}
	c.put(0, y, c.W, "── "+name+" "+strings.Repeat("─", c.W), style)
}

// mark is what stands before a row that is not under the cursor.
const mark = "  "

// row draws one of a list's rows; the cursor shows in the focused pane only.
func (s *State) row(c Screen, y int, p pane, selected bool, text string, style Style) {
	before := mark
	if selected && s.focus == p {
		before = "> "
		style |= Reverse
	}
	c.line(0, y, c.W, before+text, style)
}

// window is the first key of the part that is shown.
func window(row, n, height int) int { return max(0, min(row-height/2, n-height)) }

func (s *State) viewProposals(c Screen, y int) int {
	s.label(c, y, proposals, "proposals", 0)
	y++
	keys, height := s.proposalKeys(), s.rows(proposals)
	if len(keys) == 0 {
		c.line(2, y, c.W-2, "[nothing waits]", Dim)
	}
	top, w := window(s.lists[proposals].row, len(keys), height), s.widths()
	for i := top; i < min(len(keys), top+height); i++ {
		p, _ := s.proposal(keys[i])
		var style Style
		if !s.newest[keys[i]].IsZero() {
			style = Bold | Green
		}
		s.row(c, y+i-top, proposals, keys[i] == s.lists[proposals].selected, s.proposalRow(p, w), style)
	}
	return y + height
}

// widths are those of the columns whose text differs in length.
type widths struct{ slug, agent, kind int }

func (s *State) widths() (w widths) {
	for i := range s.agents {
		w.slug, w.agent = max(w.slug, len(s.agents[i].Slug)), max(w.agent, len(s.agents[i].Agent))
	}
	for i := range s.proposals {
		w.slug, w.kind = max(w.slug, len(s.proposals[i].Slug)), max(w.kind, len(s.proposals[i].Kind))
	}
	return w
}

// narrowRow is a width below which a proposal's row leaves out what can be looked
// up.
const narrowRow = 70

func (s *State) proposalRow(p Proposal, w widths) string {
	summary := p.Summary
	if strings.Contains(p.host, "xn--") {
		summary = "LOOKALIKE? " + summary
	}
	if left := p.left(s.now); left > 0 {
		summary = fmt.Sprintf("[held %v] %s", left, summary)
	}
	if s.W < narrowRow {
		return fmt.Sprintf("%-*s  %s", w.slug, p.Slug, summary)
	}
	return fmt.Sprintf("%s  %-*s  %-*s  %s", p.CreatedAt.Local().Format(time.TimeOnly), w.slug, p.Slug, w.kind, p.Kind, summary)
}

func (s *State) viewAgents(c Screen, y int) {
	s.label(c, y, agents, "agents", 0)
	y++
	keys, height := s.agentKeys(), s.rows(agents)
	if len(s.agents) == 0 {
		c.line(2, y, c.W-2, "[n starts one]", Dim)
	}
	top, w := window(s.lists[agents].row, len(keys), height), s.widths()
	pending := s.pending()
	drop := s.dropped(w, pending)
	for i := top; i < min(len(keys), top+height); i++ {
		a, _ := s.agent(keys[i])
		var style Style
		if a.Slug == s.shown {
			style = Bold
		}
		s.row(c, y+i-top, agents, a.Slug == s.lists[agents].selected, s.agentRow(a, w, pending[a.Slug], drop), style)
	}
}

// dropped is how many columns the agents' rows leave out, so that none of them is
// cut: first when they started, then the agent's name, then the sidecars.
func (s *State) dropped(w widths, pending map[string]int) int {
	const all = 3
	for drop := range all {
		cut := func(a Agent) bool { return len(mark)+narrow.StringWidth(s.agentRow(a, w, pending[a.Slug], drop)) > s.W }
		if !slices.ContainsFunc(s.agents, cut) {
			return drop
		}
	}
	return all
}

// afterSlug is what the rest of the shortest row takes, such as
// "  (starting)  99 pending".
const afterSlug = 28

func (s *State) agentRow(a Agent, w widths, pending, drop int) string {
	star := " "
	if a.Slug == s.shown {
		star = "*"
	}
	slug := w.slug
	if drop > 2 {
		slug = min(slug, max(8, s.W-afterSlug))
	}
	row := fmt.Sprintf("%s %-*s", star, slug, fit(a.Slug, slug))
	if drop < 2 {
		row += fmt.Sprintf("  %-*s", w.agent, a.Agent)
	}
	if drop < 1 {
		row += "  " + started(a)
	}
	activity, sidecars := s.activity(a), "["+strings.Join(a.up(), " ")+"]"
	if len(a.Stale) > 0 {
		sidecars += " stale credential"
	}
	if len(a.up()) == 0 && slices.Contains(a.Services, "agent") {
		sidecars = "(starting)"
		if drop > 2 {
			activity = sidecars
		}
	}
	row += fmt.Sprintf("  %-8s", activity)
	if drop < 3 {
		row += "  " + sidecars
	}
	if pending > 0 {
		row += fmt.Sprintf("  %d pending", pending)
	}
	return row
}

func started(a Agent) string {
	if a.StartedAt.IsZero() {
		return "--:--:--"
	}
	return a.StartedAt.Local().Format(time.TimeOnly)
}

// activity is what an agent does, and what is up with its bottle where that is not
// simply running.
func (s *State) activity(a Agent) string {
	switch {
	case s.stopping[a.Slug]:
		return "stopping"
	case a.Activity == "" || a.Status != bottle.Running:
		return string(a.Status)
	}
	return a.Activity
}

// pending is how many proposals wait, by slug.
func (s *State) pending() map[string]int {
	n := map[string]int{}
	for i := range s.proposals {
		n[s.proposals[i].Slug]++
	}
	return n
}

// idle is what the status line says when there is nothing to say.
func (s *State) idle() string {
	switch {
	case len(s.agents) == 0:
		return "[no active agents]"
	case s.lists[agents].selected == "":
		return "[no agent selected]"
	}
	a, ok := s.agent(s.lists[agents].selected)
	if !ok {
		return "[no agent selected]"
	}
	text := a.Slug
	if a.Folder != "" {
		text += "  " + a.Folder
	}
	if note := a.Note(); note != "" {
		text += "  " + note
	}
	return text
}

func (s *State) viewStatus(c Screen) {
	text, style := s.message, Style(0)
	if s.failed {
		style = Red
	}
	if text == "" {
		text = s.idle()
	}
	c.line(0, c.H-2, c.W, text, style)
	text, style = s.footer(), 0
	if s.dead() && (s.focus == proposals || s.modal != nil) { // keys of agents count
		style = Dim
	}
	if _, ok := s.modal.(*filtering); ok {
		text = "/" + s.lists[s.focus].filter + "_"
	}
	c.line(0, c.H-1, c.W, text, style)
}

// footer names the keys that apply.
func (s *State) footer() string {
	var keys []string
	a, selected := s.agent(s.lists[agents].selected)
	switch {
	case s.modal != nil:
		keys = s.modal.keys()
	case s.focus == agents && !selected:
		keys = []string{"? help", "n new", "tab proposals", "q quit"}
	case s.focus == agents:
		keys = []string{"? help", "enter attach", "n new", "x stop", "tab proposals", "l log", "e routes", "q quit", "/ filter"}
		if a.hasPipelock() {
			keys = append(keys, "p pipelock")
		}
	case s.lists[proposals].selected == "":
		keys = []string{"? help", "tab agents", "n new", "q quit"}
	default:
		keys = []string{"? help", "enter show", "a approve", "o once", "t 10 minutes", "r reject", "m modify", "tab agents", "q quit", "/ filter"}
	}
	for n := len(keys); n > 0; n-- { // the rest is in the help
		if text := strings.Join(keys[:n], "  "); len(text) <= s.W {
			return text
		}
	}
	return ""
}

var help = []string{
	"tab        the other pane",
	"j k g G    move; ctrl-d ctrl-u by half a page; arrows too",
	"/          filter; esc shows all again",
	"n          start an agent",
	"q          leave; nothing is stopped (ctrl-z: for a while)",
	"",
	"agents",
	"enter      its session, in the right pane",
	"x          stop it: its work is captured",
	"e p        edit its routes, pipelock's file",
	"l          its log, as it grows",
	"",
	"proposals",
	"enter      the whole of it",
	"a o t      approve; for one request; for ten minutes",
	"m          change it in $EDITOR, then approve",
	"r          reject, with a reason",
	"",
	"When a proposal came by itself, these (and n q /) rest until the keyboard",
	"was quiet for a second, and the first one asks for a capital Y.",
}

// viewModal draws a box over the middle.
func (s *State) viewModal(c Screen) {
	if s.modal == nil {
		return
	}
	width := max(1, min(c.W-4, 100))
	title, lines, marked := s.modal.draw(s, width, max(1, c.H-4))
	if title == "" && len(lines) == 0 {
		return
	}
	height := len(lines)
	x, y := (c.W-width-2)/2, max(0, min((c.H-height-2)/2, c.H-height-4)) // above the status line
	border := strings.Repeat("─", width)
	c.line(x, y, width+2, "┌"+border+"┐", 0)
	if title != "" {
		c.put(x+2, y, width-2, fit(" "+title+" ", width-2), Bold)
	}
	for i, l := range lines {
		c.line(x, y+1+i, width+2, "│", 0)
		var style Style
		if i == marked {
			style = Reverse
		}
		c.line(x+1, y+1+i, width, l, style)
		c.put(x+1+width, y+1+i, 1, "│", 0)
	}
	c.line(x, y+1+height, width+2, "└"+border+"┘", 0)
}
