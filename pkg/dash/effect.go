package dash

import "time"

// What Update is told.
type (
	Key    string // a character, or enter, esc, tab, up, ctrl-d, …
	Resize struct{ W, H int }
	// Known are all proposals that wait, before a watcher tells of changes.
	Known struct{ Proposals []Proposal }
	// Tick: the time that Wake named has come.
	Tick struct{}
	// Back: a program that had the terminal has given it back.
	Back struct{}
	// Told is a line of a program that runs on, about itself.
	Told string
	// Done is the end of a Run.
	Done struct {
		Run  Run
		Out  string
		Err  string // its first line of error; empty: it went well
		Code int
	}
	// Fresh: the watcher of bottles begins anew, and tells all again.
	Fresh struct{}
	// Moved: the right pane shows something else.
	Moved struct{}
)

// What Update wants done.
type (
	// Run runs a program. In the foreground it has the terminal.
	Run struct {
		Job        Job
		About      string // the slug, agent or proposal it is for
		Argv       []string
		Foreground bool
		Then       string // what the status line says when it went well
	}
	Bell    struct{}
	Quit    struct{}
	Suspend struct{}
)

// Job says what a Run is for.
type Job int

const (
	Quiet     Job = iota // nobody waits for it
	Attach               // a session into the right pane
	Agents               // what can be started
	Preflight            // what a start would allow
	Start
	Stop
	Decide
	Edit
	Log
	Right   // which bottle the right pane shows
	Refresh // tmux' status line
	Hands   // when a key was last pressed, anywhere in the session
	Closed  // the right pane
)

// How long things last.
const (
	quietHands = 3 * time.Second // before the focus may move by itself
	quietKeys  = time.Second     // before a decision key counts again
	newFor     = 5 * time.Second // a proposal is called new
	tenMinutes = "10m"
)
