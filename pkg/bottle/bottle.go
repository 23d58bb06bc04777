// Package bottle holds the documents that bottle's programs exchange: what a
// bottle is, and what happened in it. It does no I/O.
package bottle

import (
	"fmt"
	"strings"
	"time"
)

// Status is where a bottle is in its life (docs/STATE.md).
type Status string

const (
	Starting Status = "starting" // being brought up
	Running  Status = "running"
	Degraded Status = "degraded" // the agent lives, a sidecar does not
	Stopped  Status = "stopped"  // containers or volumes are kept, nothing runs
	Lost     Status = "lost"     // the state directory is there, the containers are gone
	Gone     Status = "gone"     // taken down; seen by watchers only
)

// Bottle is metadata.json and one line of bottle-ls. Unknown text fields are
// "?" in a listing; readers must expect more fields than they know.
type Bottle struct {
	Slug      string    `json:"slug"`
	Agent     string    `json:"agent"`
	Bottle    string    `json:"bottle"` // the policy's name
	Program   string    `json:"program"`
	Status    Status    `json:"status"`
	StartedAt time.Time `json:"started_at"`       // RFC 3339, UTC, whole seconds
	Services  []string  `json:"services"`         // those that are up, sorted
	Workspace string    `json:"workspace"`        // copy, mount or none
	Folder    string    `json:"folder,omitempty"` // the operator's folder that was copied, or is mounted
	Project   string    `json:"project"`          // of the Compose file
	StateDir  string    `json:"state_dir"`
	Home      string    `json:"home,omitempty"`   // the id of the $BOTTLE_HOME
	Engine    string    `json:"engine,omitempty"` // the engine's own id
	Sidecars  []string  `json:"sidecars,omitempty"`
	Reason    string    `json:"reason,omitempty"`     // why it is not running
	Disk      *int64    `json:"disk_bytes,omitempty"` // of its volumes; in bottle-ls --size alone
	Ran       bool      `json:"ran,omitempty"`        // its agent may have run: it may hold work
	// Activity is its agent's, in a listing of one that runs.
	Activity      Activity  `json:"activity,omitempty"`
	ActivitySince time.Time `json:"activity_since,omitzero"` // RFC 3339, UTC
	// Stale are the names of credentials that an upstream refuses (401), sorted, in a
	// listing of one that runs.
	Stale []string `json:"stale,omitempty"`
	// Start is the commit of the work as it was at first; empty: nothing was copied.
	Start string `json:"start,omitempty"`
	// Of one that was stopped:
	StoppedAt time.Time `json:"stopped_at,omitzero"` // RFC 3339, UTC, whole seconds
	ExitCode  *int      `json:"exit_code,omitempty"` // its agent's container's: 128 and a signal's number where that ended it
	// In bottle-ls --all alone:
	Resumable bool   `json:"resumable,omitempty"` // bottle-start --resume brings it back, or mends it
	History   string `json:"history,omitempty"`   // the directory of one that is gone
	Bundle    string `json:"bundle,omitempty"`    // the path of its work
	// Pushed are the paths of what it pushed to remotes without an upstream, by
	// their names.
	Pushed map[string]string `json:"pushed,omitempty"`
}

// Note is what is worth telling of a bottle in a line, and what helps.
func (b *Bottle) Note() string {
	if b.Reason != "" || len(b.Stale) == 0 {
		return b.Reason
	}
	return fmt.Sprintf("upstream refuses %s (401): run bottle-start --renew %s", strings.Join(b.Stale, ", "), b.Slug)
}

// isName says whether s is [a-z0-9][a-z0-9-]*. Every program asks, so it costs
// nothing at its start.
func isName(s string) bool {
	for i, c := range []byte(s) {
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' && i > 0) {
			return false
		}
	}
	return s != ""
}

// MaxName is the length of the longest agent or bottle name, in bytes: a slug
// must stay a DNS label.
const MaxName = 48

// CheckName says what is wrong with an agent's or a bottle's name. What passes
// is safe in labels, project names, tmux formats and shells.
func CheckName(s string) error {
	if len(s) > MaxName || !isName(s) {
		return fmt.Errorf("name %q is not of the form [a-z0-9][a-z0-9-]* with at most %d characters", s, MaxName)
	}
	return nil
}

// CheckSlug says what is wrong with a slug.
func CheckSlug(s string) error {
	if len(s) > MaxName+5 || !isName(s) {
		return fmt.Errorf("%q is not a slug: [a-z0-9][a-z0-9-]*, at most %d characters", s, MaxName+5)
	}
	return nil
}
