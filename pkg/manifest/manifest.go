// Package manifest reads what the operator writes: bottles/NAME.md, a policy,
// and agents/NAME.md, who runs under it. Each is YAML front matter and free
// text. It reads files and checks them; it looks into no environment, makes
// nothing, and knows no engine.
package manifest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"bottle/pkg/agent"
	"bottle/pkg/policy"
	"bottle/pkg/tokenref"
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
	Routes     []Route
	// Credentials are what the agent may ask to have injected.
	Credentials []Credential
	Git         Git
	Model       policy.Model // what the model's provider may do
	MaxBody     int64        // bytes of a body that are scanned; 0: policy.DefaultMaxBody
	// AskTimeout is how long a refused request is held for the operator; 0: not at all.
	AskTimeout time.Duration
	Runtime    string // auto, runc or runsc
	Supervise  bool   // the agent can ask its operator for more
	Pipelock   Pipelock
	AgentFile  string // absolute paths
	BottleFile string
	Dockerfile string   // the operator's own last step of the image; empty: none
	Warnings   []string // one line each
}

// Route is a route, and what only the host may know of it.
type Route struct {
	policy.Route
	Ref   tokenref.Ref // what is behind Auth.Credential
	Keys  []string     // the keys that the manifest wrote; the others are defaults
	Where string       // file:line, for errors
}

// Wrote says whether the manifest has this key, whatever its value.
func (r *Route) Wrote(key string) bool { return slices.Contains(r.Keys, key) }

// Credential is one that the agent may ask for by its name, for these hosts.
type Credential struct {
	Auth  policy.Auth // Auth.Credential is its name
	Ref   tokenref.Ref
	Hosts []string // canonical
	Where string
}

// Pipelock is the second scanner that stands behind egress.
type Pipelock struct {
	Image string // a reference, as the engine knows it; empty: there is none
	// Passthrough are hosts whose TLS it does not open, canonical. Set says that the
	// manifest named them; otherwise they are the agent's model's.
	Passthrough []string
	Set         bool
}

// Skill is a folder of the operator's that the agent gets a copy of.
type Skill struct {
	Name string
	Dir  string // absolute
}

// EnvVar is one variable of the agent's environment: a literal, or the value
// behind a reference, which is treated as a secret.
type EnvVar struct {
	Name    string
	Literal string
	From    tokenref.Ref // zero: Literal holds
	Hosts   []string     // canonical; where the value may travel in a credential header
	Where   string       // file:line, for errors
}

// Secret says whether the value is the operator's secret.
func (v *EnvVar) Secret() bool { return v.From.Set() }

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
