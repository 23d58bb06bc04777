// Package agent knows the coding agents that a bottle can run: one file each,
// one row in the table. It says what an agent needs; it does no I/O, starts
// nothing, and sees no secret.
package agent

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// Program is what a manifest writes under "program": the name of an agent, or a
// command line. Exactly one of the two is set.
type Program struct {
	Name    string
	Command []string
	Remote  bool // it may be driven from elsewhere, by its maker's service
}

// MayBeRemote says whether Remote means anything to the program.
func (p Program) MayBeRemote() bool { return p.Name == claude{}.Name() }

// Start is what an agent must know of the bottle and of the session to start.
// What a bottle offers to its agent, such as a server, is a field here: the
// agent's file makes settings of it, or a line of its prompt.
type Start struct {
	WorkDir    string   // absolute, in the container
	InDir      string   // absolute: where Files are, read-only
	Inside     string   // absolute path of bottle-inside, for the agent's hooks
	Prompt     string   // its text; empty: there is none
	PromptFile string   // absolute, where it lies; empty where there is none
	Task       string   // what it is to do first; empty: it waits for its operator
	Hosts      []string // those of its own that a route leads to
	Supervise  string   // URL of the MCP server by which it asks its operator; empty: there is none
}

// Session is how one session is started.
type Session struct {
	Argv     []string // afresh
	Continue []string // to go on with the last conversation; nil: none is kept
	// Typed is what must be typed in once it reads keys: a task that the command
	// lines do not carry.
	Typed string
}

// Files are what an agent finds, by relative path.
type Files struct {
	In   map[string][]byte // in Start.InDir, read-only
	Home map[string][]byte // in its home, where they are its own to change
}

// Package is an npm package that holds something of the agent's program.
type Package struct {
	Name    string // such as @scope/name-linux-x64
	Version string // exact; empty: the manifest's, or the newest
	Suffix  string // of the version that is for the machine; empty: the name says it
	File    string // the one file that is wanted, as the archive names it; empty: the archive
	Into    string // its name in the build context
}

// Host is a host that an agent cannot do without, and what it asks there.
type Host struct {
	Name    string   // canonical; by https, on port 443
	Paths   []string // prefixes that end at a segment
	Methods []string // in upper case
	Foreign bool     // it logs in there by itself: no credential is known to be its own
	Choice  bool     // one of several that it can do with: only where a manifest has a route there
}

// Agent is one coding agent. Its values are constants: two calls say the same.
type Agent interface {
	// Name is the agent's own, as a manifest writes it; command for a command line.
	Name() string
	// Packages are what to fetch for a machine (GOARCH: amd64, arm64). The first one's
	// version is the agent's. None: the agent is in the tools' image already.
	Packages(arch string) ([]Package, error)
	// Steps are the Dockerfile lines that put it on top of the tools' image.
	Steps() []string
	// Session says how a session is started.
	Session(Start) Session
	// Files are what must lie ready for it.
	Files(Start) Files
	// Hooks says whether it tells bottle-inside itself what it does (activity).
	// Where it does not, the terminal's bell and title do.
	Hooks() bool
	// Env is what its environment needs.
	Env() map[string]string
	// Hosts are what it must reach to work at all.
	Hosts() []Host
	// Keys are the variables by which it takes the credential for its own hosts.
	Keys() []string
	// Placeholder is the environment in which it works where egress injects the
	// credential of a host of its own into a header (lower case): it must believe
	// that it has one.
	Placeholder(host, header string) map[string]string
	// SkillsDir is where it looks for skills, relative to its home.
	SkillsDir() string
	// Conversations is the pattern of the files that it keeps them in, relative to its
	// home, of which each part is a name or one with a * in it; empty: none can be read.
	Conversations() string
	// Transcript writes conversations as Markdown. The agent wrote what it reads:
	// lines that it does not understand are passed over.
	Transcript(conversations io.Reader, w io.Writer) error
}

// The table of agents. A new one is a file and a row.
var agents = []Agent{claude{}, codex{}, gemini{}, opencode{}, shell{}}

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
		if a.Name() != p.Name {
			continue
		}
		if c, ok := a.(claude); ok {
			c.remote = p.Remote
			return c, nil
		}
		return a, nil
	}
	return nil, fmt.Errorf("cannot run %q: %w", p.Name, ErrUnknown)
}
