package bottle

import "time"

// Verdict is what became of a proposal.
type Verdict string

const (
	Approved Verdict = "approved"
	Modified Verdict = "modified" // approved, in another form than asked for
	Rejected Verdict = "rejected"
)

// Decision is state/<slug>/<source>/in/decisions/<id>.json, the answer to the
// proposal of that id. It appears whole and never changes; who creates it first
// has decided.
type Decision struct {
	Proposal string    `json:"proposal"` // the id, and with it the content
	Kind     Kind      `json:"kind"`
	Verdict  Verdict   `json:"verdict"`
	Reason   string    `json:"reason,omitempty"` // the operator's words
	Detail   string    `json:"detail,omitempty"` // what was done, one line: "already reachable by route 2"
	Time     time.Time `json:"time"`             // RFC 3339, UTC, milliseconds
	By       string    `json:"by"`               // the operator's user name
	Program  string    `json:"program"`          // what decided: bottle-approve, …
	Grant    *Grant    `json:"grant,omitempty"`  // what approval gave, where it gave something
	// As is the form in which it was approved, where the operator changed it; what
	// was asked for stays in the proposal's own file.
	As *Proposal `json:"as,omitempty"`
	// Push is what of a held push may pass: these refs to these object ids with
	// these findings, and nothing else.
	Push *PushAsk `json:"push,omitempty"`
}

// Grant is what an approval gave, as bottle-ls grants prints it. What enforces
// it is the entry of the same id in the policy of the sidecar.
type Grant struct {
	ID         string     `json:"id"`
	Proposal   string     `json:"proposal"`
	Slug       string     `json:"slug"`
	Kind       Kind       `json:"kind"`
	Host       string     `json:"host,omitempty"`
	Scheme     string     `json:"scheme,omitempty"`
	Port       int        `json:"port,omitempty"`
	Paths      []string   `json:"path_allowlist,omitempty"`
	Methods    []string   `json:"methods,omitempty"`
	Credential string     `json:"credential,omitempty"`
	Rule       string     `json:"rule,omitempty"`    // of an exception
	Scanner    string     `json:"scanner,omitempty"` // whose rule that is: pipelock; absent: egress
	CreatedAt  time.Time  `json:"created_at"`
	Expires    *time.Time `json:"expires,omitempty"` // RFC 3339, UTC, whole seconds; absent: the bottle's life
	Uses       int64      `json:"uses,omitempty"`    // how many requests it is good for; 0: any number
	Used       int64      `json:"used,omitempty"`
	Saved      bool       `json:"saved,omitempty"` // it is in the manifest too
}
