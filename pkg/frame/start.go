package frame

import "encoding/json"

// Ask is what the host asks of bottle-inside hold, the main process of the
// agent's container, over its standard input: a stream of JSON documents. One
// with Rows tries these walls for Targets; one with Start starts the session and
// is the last.
type Ask struct {
	Rows    []string        `json:"rows,omitempty"`
	Targets json.RawMessage `json:"targets,omitempty"`
	Start   *Start          `json:"start,omitempty"`
}

// Answer ends what bottle-inside says to one Ask, a line of JSON on its standard
// output. Other lines before it are results of probes.
type Answer struct {
	Done bool   `json:"done"` // true: a result has no such field
	Code int    `json:"code"` // 0: as asked; otherwise as the subcommand exits
	Said string `json:"said,omitempty"`
}

// Start says what to run as the agent of a new session: what bottle-inside start
// reads from its standard input, as JSON. Env holds secrets; nobody writes a
// document that has it to a disk.
type Start struct {
	Argv []string          `json:"argv"` // a fresh session
	Dir  string            `json:"dir"`
	Env  map[string]string `json:"env,omitempty"`

	// Resume wants the last conversation to go on: Continue is run in Argv's
	// place. Where it ends as a failure before the agent has told of itself, there
	// was nothing to continue, and Argv follows in the same pane.
	Resume   bool     `json:"resume,omitempty"`
	Continue []string `json:"continue,omitempty"` // none: the agent keeps no conversations

	// Typed is typed in as soon as the agent reads keys, as bottle-inside send does.
	Typed string `json:"typed,omitempty"`
	// Terminal says that the agent does not tell itself what it does: its bell and
	// its title do.
	Terminal bool `json:"terminal,omitempty"`
}
