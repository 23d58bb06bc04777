package bottle

import "time"

// Kind says what a proposal asks for.
type Kind string

const (
	EgressBlock     Kind = "egress-block"     // the agent asks for a host
	EgressDenied    Kind = "egress-denied"    // egress tells what it refused, without being asked
	DLPBlock        Kind = "dlp-block"        // the agent holds a finding to be harmless
	CapabilityBlock Kind = "capability-block" // the agent asks for another image
	PipelockBlock   Kind = "pipelock-block"   // the agent asks for a host on pipelock's list
	GitPush         Kind = "git-push"         // the gate holds a push back
)

// Proposal is state/<slug>/<source>/out/proposals/<id>.json: what waits for the
// operator's decision. It is immutable, and all text in it may be an agent's:
// show it through cli.Inert. Exactly one of the payloads is there, the one of
// its kind.
type Proposal struct {
	// ID is the kind, a dash, and the first 16 characters of a-z2-7 of the
	// SHA-256 of the document with ID, Slug and Agent empty. Its writer makes it.
	ID            string    `json:"id"`
	Kind          Kind      `json:"kind"`
	Source        string    `json:"source"`     // the sidecar that wrote it
	CreatedAt     time.Time `json:"created_at"` // RFC 3339, UTC, milliseconds
	Justification string    `json:"justification,omitempty"`

	Egress     *EgressAsk     `json:"egress,omitempty"`     // egress-block, egress-denied
	Exception  *ExceptionAsk  `json:"exception,omitempty"`  // dlp-block
	Capability *CapabilityAsk `json:"capability,omitempty"` // capability-block
	Push       *PushAsk       `json:"push,omitempty"`       // git-push
	Pipelock   *PipelockAsk   `json:"pipelock,omitempty"`   // pipelock-block

	// Slug and Agent are not in the file: the reader knows them by the path.
	Slug  string `json:"slug,omitempty"`
	Agent string `json:"agent,omitempty"`
}

// EgressAsk is a host, and in which way it is asked for.
type EgressAsk struct {
	Host       string   `json:"host"` // canonical
	Scheme     string   `json:"scheme"`
	Port       int      `json:"port"`
	Paths      []string `json:"path_allowlist,omitempty"` // none: the whole host
	Methods    []string `json:"methods,omitempty"`        // none: all
	Credential string   `json:"credential,omitempty"`     // a name under egress.credentials
	Seconds    int64    `json:"seconds,omitempty"`        // how long; 0: the bottle's life
}

// ExceptionAsk is a finding that is to be let through: a rule, on a host, below
// a path prefix.
type ExceptionAsk struct {
	Rule string `json:"rule"`
	Host string `json:"host"`
	Path string `json:"path"`
	// Scanner is whose rule it is: "pipelock", which egress asks for when it hears
	// that something was refused; empty: egress', which the agent asks for.
	Scanner string `json:"scanner,omitempty"`
}

// CapabilityAsk is the whole text of the Dockerfile that is to be in force.
type CapabilityAsk struct {
	Dockerfile string `json:"dockerfile"`
}

// PipelockAsk is a host that is to be on pipelock's list, and on no other.
type PipelockAsk struct {
	Host string `json:"host"` // canonical
}

// PushAsk is a push that the gate holds.
type PushAsk struct {
	Remote   string        `json:"remote"`
	Updates  []PushUpdate  `json:"updates"`
	Findings []PushFinding `json:"findings,omitempty"`
	Commits  []string      `json:"commits,omitempty"`  // one line each, newest first, bounded
	Diffstat string        `json:"diffstat,omitempty"` // bounded
}

// PushUpdate is one ref, and what it is and is to be: object ids, all zero for
// one that is not there.
type PushUpdate struct {
	Ref string `json:"ref"`
	Old string `json:"old"`
	New string `json:"new"`
}

// PushFinding is where a secret stands. The secret is not in it.
type PushFinding struct {
	Rule        string `json:"rule"`
	Where       string `json:"where"`  // such as README.md:12
	Object      string `json:"object"` // the commit or object that holds it
	Fingerprint string `json:"fingerprint"`
}

// Pending is one entry of state/<slug>/<source>/out/pending.json, an object by
// proposal id: what changes about a proposal while it waits. The sidecar alone
// writes it, and it is advice: a proposal waits with or without an entry here.
type Pending struct {
	Waiting bool      `json:"waiting"`         // a call of the agent's waits for the answer
	Count   int64     `json:"count,omitempty"` // how often it was refused, or asked for
	Method  string    `json:"method,omitempty"`
	First   time.Time `json:"first,omitzero"` // RFC 3339, UTC, milliseconds
	Last    time.Time `json:"last,omitzero"`
	// Held is how many refused requests wait for the answer themselves; HeldUntil
	// is when they are told no, or were: RFC 3339, UTC, milliseconds.
	Held      int       `json:"held,omitempty"`
	HeldUntil time.Time `json:"held_until,omitzero"`
}

// Holds says whether a request waits for the answer now.
func (p *Pending) Holds(now time.Time) bool { return p.Held > 0 && now.Before(p.HeldUntil) }
