package cli

import "fmt"

// Exit codes, one table for all programs.
const (
	Done        = 0
	Failed      = 1
	Usage       = 2
	NotFound    = 3   // no such bottle, proposal or agent
	Declined    = 4   // the operator said no
	NoEngine    = 5   // the engine cannot be reached
	Conflict    = 6   // already decided, stale, locked
	SomeFailed  = 7   // of several, some
	Interrupted = 130 // SIGINT
)

// Error is what a user sees: one line, a remedy, and an exit code.
type Error struct {
	Code int
	Msg  string
	Hint string
}

func (e Error) Error() string { return e.Msg }

// Status ends a program with an exit code and without a message: the command
// that was run for the user, or a line already printed, said it all.
type Status int

func (s Status) Error() string { return fmt.Sprintf("exit status %d", int(s)) }
