// Package manifest reads what the operator writes: bottles/NAME.md, a policy,
// and agents/NAME.md, who runs under it. Each is YAML front matter and free
// text. It reads files and checks them; it looks into no environment, makes
// nothing, and knows no engine.
package manifest

import (
	"errors"
	"fmt"

	"bottle/pkg/agent"
	"bottle/pkg/policy"
)

// Manifest is an agent and the bottle it runs in.
type Manifest struct {
	Agent      string
	BottleName string
	Program    agent.Program
	Version    string // exact; empty: the newest when the image is made
	Skills     []Skill
	Prompt     string
	Env        []EnvVar // in the order of the file
	Routes     []policy.Route
	Runtime    string // auto, runc or runsc
	AgentFile  string // absolute paths
	BottleFile string
	Dockerfile string   // the operator's own last step of the image; empty: none
	Warnings   []string // one line each
}

// Skill is a folder of the operator's that the agent gets a copy of.
type Skill struct {
	Name string
	Dir  string // absolute
}

// EnvVar is one variable of the agent's environment: a literal, or the value of
// a variable of the operator's, which is treated as a secret.
type EnvVar struct {
	Name    string
	Literal string
	FromEnv string // the operator's variable; empty: Literal holds
	Where   string // file:line, for errors
}

// Runtimes that a manifest may demand.
const (
	RuntimeAuto  = "auto"
	RuntimeRunc  = "runc"
	RuntimeRunsc = "runsc"
)

// ErrNoAgent is wrapped by the error for an agent that has no manifest.
var ErrNoAgent = errors.New("no such agent")

// Error is a mistake in a manifest, told in one line.
type Error struct {
	File string // relative to the home, such as agents/dev.md
	Line int    // 1 for the first; 0 where the file as a whole is meant
	Msg  string
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.File, e.Msg)
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Msg)
}
