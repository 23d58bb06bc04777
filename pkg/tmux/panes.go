package tmux

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// What is tracked of the right pane lives in tmux itself, so that whoever shows
// a bottle uses the same pane, and nobody's end forgets it.
const (
	PaneOption = "@bottle_pane" // of a window: the id of its right pane
	SlugOption = "@bottle_slug" // of a pane: the bottle that it shows
	DashOption = "@bottle_dash" // of the dashboard's pane: on
)

// Pane is one pane of a window.
type Pane struct {
	ID     string // such as %3
	Right  string // the id that the window tracks as its right pane; empty: none
	Shows  string // the slug of the bottle in it; empty: none
	Dash   bool   // the dashboard runs in it
	Active bool
}

// Process is what a pane runs. tmux gives a pane its own server's environment:
// what else the program needs stands in Env.
type Process struct {
	Dir  string
	Env  []string // NAME=value; other users of the machine can read it for a moment
	Argv []string // two words or more: tmux hands a single one to a shell
}

// Kept are the variables that bottle's programs in a pane or popup need as their
// caller has them. None of them is secret.
var Kept = []string{"PATH", "BOTTLE_HOME", "BOTTLE_LIBEXEC", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH",
	"DOCKER_TLS_VERIFY", "NO_COLOR"}

func (p Process) args() []string {
	var a []string
	if p.Dir != "" {
		a = append(a, "-c", Literal(p.Dir)) // Literal: tmux expands formats there
	}
	for _, e := range p.Env {
		a = append(a, "-e", Argument(e))
	}
	a = append(a, "--")
	for _, arg := range p.Argv {
		a = append(a, Argument(arg))
	}
	return a
}

// Copy makes a buffer of standard input, and puts it on the clipboard of the
// terminal of the caller's client.
func Copy() []string { return []string{"tmux", "load-buffer", "-w", "-"} }

// Panes lists the panes of the window that has this pane, for ParsePanes.
func Panes(pane string) []string {
	return []string{"tmux", "list-panes", "-t", pane, "-F",
		"#{pane_id},#{" + PaneOption + "},#{" + SlugOption + "},#{" + DashOption + "},#{pane_active}"}
}

// ParsePanes reads what Panes printed.
func ParsePanes(out string) ([]Pane, error) {
	var all []Pane
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ",")
		if len(f) != 5 || !isPane(f[0]) {
			return nil, fmt.Errorf("cannot understand tmux' list of panes: %q", line)
		}
		all = append(all, Pane{ID: f[0], Right: f[1], Shows: f[2], Dash: f[3] == "on", Active: f[4] == "1"})
	}
	return all, nil
}

// Right returns the right pane among a window's. One that was closed, or that
// went to another window, counts as none.
func Right(panes []Pane) (Pane, bool) {
	for _, p := range panes {
		if p.ID == p.Right {
			return p, true
		}
	}
	return Pane{}, false
}

func isPane(id string) bool {
	n, ok := strings.CutPrefix(id, "%")
	_, err := strconv.ParseUint(n, 10, 32)
	return ok && err == nil
}

// ParsePane reads the id of a pane, such as $TMUX_PANE has.
func ParsePane(id string) (string, error) {
	id = strings.TrimSpace(id)
	if !isPane(id) {
		return "", fmt.Errorf("cannot understand tmux: %q is no pane", id)
	}
	return id, nil
}

// hasRight is a format: true where the window has the pane that it tracks.
const hasRight = "#{m:* #{" + PaneOption + "} *, #{P:#{pane_id} }}"

// Open makes the right pane of the window that has a pane, unless it has one,
// and prints its id, twice where it was made. tmux does all of it before
// anything that somebody else asks for, so that ten who want one make one. It
// runs nothing of use, and closes by itself if nothing comes of it; the keyboard
// stays where it is. beside is what ParsePane returned.
func Open(beside string) []string {
	split := []string{"split-window -h -P -F '#{pane_id}' -t " + beside + " -- sleep 60",
		"set-option -w -F " + PaneOption + " '#{pane_id}'", "last-pane -t " + beside}
	return []string{"tmux", "if-shell", "-F", "-t", beside, hasRight, "", strings.Join(split, " ; "), ";",
		"display-message", "-p", "-t", beside, "#{" + PaneOption + "}"}
}

// ParseOpen reads what Open printed.
func ParseOpen(out string) (id string, made bool, err error) {
	first, second, twice := strings.Cut(strings.TrimSpace(out), "\n")
	if id, err = ParsePane(first); err == nil && twice && second != first {
		err = fmt.Errorf("cannot understand tmux: it made %s, and tracks %q", first, second)
	}
	return id, twice, err
}

// Respawn replaces what a pane runs. slug is what it shows from then on; empty:
// no bottle. The mark comes first: whoever asks from within the pane dies here.
func Respawn(pane, slug string, p Process) []string {
	return append(append(Mark(pane, slug), ";", "respawn-pane", "-k", "-t", pane), p.args()...)
}

// Mark notes that a pane is its window's right one, and which bottle it shows.
func Mark(pane, slug string) []string {
	return []string{"tmux", "set-option", "-w", "-t", pane, PaneOption, pane, ";",
		"set-option", "-p", "-t", pane, SlugOption, Argument(slug), ";", "wait-for", "-S", moved}
}

// moved is the channel that tells of marks.
const moved = "bottle-moved"

// Moved ends at the next mark of any pane.
func Moved() []string { return []string{"tmux", "wait-for", moved} }

// MarkDash notes that the dashboard runs in a pane; off: no more.
func MarkDash(pane string, on bool) []string {
	if !on {
		return []string{"tmux", "set-option", "-p", "-u", "-t", pane, DashOption}
	}
	return []string{"tmux", "set-option", "-p", "-t", pane, DashOption, "on"}
}

// Focus gives a pane the keyboard, and its window the screen.
func Focus(pane string) []string {
	return []string{"tmux", "select-window", "-t", pane, ";", "select-pane", "-t", pane}
}

// Then is one command line for two, of which the second runs if the first went
// well: starting tmux takes longer than what it does.
func Then(first, second []string) []string {
	return append(append(slices.Clone(first), ";"), second[1:]...)
}

// Close ends a pane, and what it shows.
func Close(pane string) []string { return []string{"tmux", "kill-pane", "-t", pane} }

// Refresh draws the status lines of all clients anew.
func Refresh() []string { return []string{"tmux", "refresh-client", "-S"} }

// Clients prints, a line each, when a key was last pressed at the clients that
// show the session of a pane: whole seconds since 1970. Keys that go into a
// popup or the command prompt are not in it.
func Clients(pane string) []string {
	return []string{"tmux", "list-clients", "-t", pane, "-F", "#{client_activity}"}
}

// ParseClients returns the newest of the times that Clients printed; 0: none.
func ParseClients(out string) int64 {
	var newest int64
	for word := range strings.FieldsSeq(out) {
		if n, err := strconv.ParseInt(word, 10, 64); err == nil {
			newest = max(newest, n)
		}
	}
	return newest
}

// KeepFailed has a pane stay whose program ends with an error.
func KeepFailed(pane string) []string {
	return []string{"tmux", "set-option", "-p", "-t", pane, "remain-on-exit", "failed"}
}

// Popup shows a program over the panes until it ends.
func Popup(pane string, p Process) []string {
	return append([]string{"tmux", "display-popup", "-t", pane, "-w", "90%", "-h", "80%", "-E"}, p.args()...)
}
