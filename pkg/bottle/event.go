package bottle

import (
	"fmt"
	"time"
)

// Allowed is the verdict of what was let through.
const Allowed = "allow"

// Event is one line of a sidecar's events.jsonl: something that happened, in
// the order of Time. Fields that do not apply are left out. What an agent wrote
// (hosts, paths) stands in it as it came: show it through cli.Inert.
type Event struct {
	Time    time.Time `json:"time"`   // RFC 3339, UTC, milliseconds
	Source  string    `json:"source"` // the sidecar: egress, …
	Kind    string    `json:"kind"`   // request, connect, dns, tls, start, stop
	Verdict string    `json:"verdict,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	Rule    string    `json:"rule,omitempty"` // the entry that allowed it: "route 2", "grant ID"
	Method  string    `json:"method,omitempty"`
	Scheme  string    `json:"scheme,omitempty"`
	Host    string    `json:"host,omitempty"`
	Port    int       `json:"port,omitempty"`
	Path    string    `json:"path,omitempty"` // without the query
	Status  int       `json:"status,omitempty"`
	Sent    int64     `json:"sent,omitempty"`     // bytes of body from the agent
	Recv    int64     `json:"received,omitempty"` // bytes of body to the agent
	Millis  float64   `json:"ms,omitempty"`
	Held    float64   `json:"held_ms,omitempty"` // of these, how long it waited for the operator
	// Of what the scan refused: the rule, where in the request, and the secret's
	// fingerprint, never the secret.
	Finding     string `json:"finding,omitempty"`
	Where       string `json:"where,omitempty"`
	Fingerprint string `json:"fingerprint,omitempty"`
	Refs        string `json:"refs,omitempty"`    // of a push: "refs/heads/main 3f9ac1d..9ab1c2d, …"
	Objects     int64  `json:"objects,omitempty"` // that a push brought
	Detail      string `json:"detail,omitempty"`
}

// Lacking is the Detail of an event of the kind "secrets": of n values that the
// policy rests on there are none.
func Lacking(n int) string { return fmt.Sprintf("%d values are lacking", n) }
