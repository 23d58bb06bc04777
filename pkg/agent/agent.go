// Package agent knows the coding agents that a bottle can run: one file each,
// one row in the table. It says what an agent needs; it does no I/O, starts
// nothing, and sees no secret.
package agent

import (
	"errors"
	"fmt"
	"slices"
)

// Program is what a manifest writes under "program": the name of an agent, or a
// command line. Exactly one of the two is set.
type Program struct {
	Name    string
	Command []string
}

// Start is how one session is started, as far as the agent must know.
type Start struct {
	WorkDir    string // absolute, in the container
	PromptFile string // absolute, in the container; empty where there is no prompt
}

// Package is an npm package that holds the agent's program. The zero Package
// means that the agent is in the tools' image already.
type Package struct {
	Name string // such as @scope/name-linux-x64
	File string // the one file that is wanted, as the archive names it
	Into string // its name in the build context
}

// Host is a host that an agent cannot do without, and what it asks there.
type Host struct {
	Name    string   // canonical; by https, on port 443
	Paths   []string // prefixes that end at a segment
	Methods []string // in upper case
	Model   string   // the API by which its model is asked there (policy.CheckModelAPI); empty: none
}

// Agent is one coding agent. Its values are constants: two calls say the same.
type Agent interface {
	// Name is the agent's own, as a manifest writes it; command for a command line.
	Name() string
	// Package is what to fetch for a machine (GOARCH: amd64, arm64).
	Package(arch string) (Package, error)
	// Steps are the Dockerfile lines that put it on top of the tools' image.
	Steps() []string
	// Argv is its command line for a fresh session.
	Argv(Start) []string
	// HomeFiles are what must lie in its home: relative path → content.
	HomeFiles(Start) map[string][]byte
	// Env is what its environment needs.
	Env() map[string]string
	// Hosts are what it must reach to work at all.
	Hosts() []Host
	// Keys are the variables by which it takes the credential for its own hosts.
	Keys() []string
	// Placeholder is the environment in which it works where egress injects its
	// own host's credential into a header (lower case): it must believe that it
	// has one.
	Placeholder(header string) map[string]string
	// SkillsDir is where it looks for skills, relative to its home.
	SkillsDir() string
}

// The table of agents. A new one is a file and a row.
var agents = []Agent{claude{}, shell{}}

// Names returns the names that a manifest may write under "program".
func Names() []string {
	var names []string
	for _, a := range agents {
		names = append(names, a.Name())
	}
	return names
}

// ErrUnknown is Lookup's error for a name that is not in the table.
var ErrUnknown = errors.New("no such program")

// Lookup returns the agent that a manifest names.
func Lookup(p Program) (Agent, error) {
	if len(p.Command) > 0 {
		return command(slices.Clone(p.Command)), nil
	}
	for _, a := range agents {
		if a.Name() == p.Name {
			return a, nil
		}
	}
	return nil, fmt.Errorf("cannot run %q: %w", p.Name, ErrUnknown)
}
