package bottle

// Gate is gate.json in the git gate's in directory: its remotes, and what may
// be pushed. It holds no secret: keys and tokens are named, and handed over as
// Secrets.
type Gate struct {
	Remotes map[string]GateRemote `json:"remotes"`
	Push    GatePush              `json:"push"`
	// Needs are the names of all values that the gate must have been handed
	// before anything may be pushed: those it looks for, and its own keys.
	Needs []string `json:"needs,omitempty"`
	// Known are commits that the operator's own folder had: what belongs to them
	// is not news where it stays on this machine.
	Known []string `json:"known,omitempty"`
	// Refs are that folder's branches and tags, which GateSeed has.
	Refs map[string]string `json:"refs,omitempty"`
	// Shallow are the ends of that folder's history where it is a shallow one.
	Shallow []string `json:"shallow,omitempty"`
	Format  string   `json:"format,omitempty"` // of that folder's objects: sha1 or sha256
	Branch  string   `json:"branch,omitempty"` // the one it was on: refs/heads/…
}

// GateSeed is the file beside the gate's configuration that has, as a git pack,
// what a remote without an upstream begins with.
const GateSeed = "seed.pack"

// GateRemote is a repository that the gate has under a name.
type GateRemote struct {
	// Upstream is ssh://[user@]host[:port]/path or https://[user@]host[:port]/path;
	// empty: the gate keeps what is pushed.
	Upstream   string `json:"upstream,omitempty"`
	Private    bool   `json:"private,omitempty"`     // it may have a private address
	Key        string `json:"key,omitempty"`         // name of the ssh key's value
	Token      string `json:"token,omitempty"`       // name of the token's value
	Refresh    int64  `json:"refresh,omitempty"`     // how old the token may become, seconds; 0: it does not age
	KnownHosts string `json:"known_hosts,omitempty"` // lines of a known_hosts file
}

// GatePush is what may be pushed.
type GatePush struct {
	Refs            []string `json:"refs"` // whole names; a * at the end stands for anything
	RequireApproval bool     `json:"require_approval,omitempty"`
	MaxSize         int64    `json:"max_size"` // bytes of a push as it is sent
}

// GateURL is where a bottle's git finds a remote of the gate.
func GateURL(remote string) string { return "http://git-gate/" + remote + ".git" }
