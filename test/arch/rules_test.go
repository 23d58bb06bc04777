package arch

// rule says what of this module a package may import itself, and why no more.
type rule struct {
	may []string // below bottle/; none: a leaf
	why string
	// pure packages decide with values: they open, dial, run and wait for nothing.
	pure bool
}

// rules has one row for each package of the module. A new package needs a row:
// deciding what it may know is part of making it.
var rules = map[string]rule{
	"pkg/agent":      {pure: true, why: "what an agent needs is said once, for whoever asks: a leaf"},
	"pkg/bottle":     {pure: true, why: "all programs exchange these documents, sidecars too: a leaf"},
	"pkg/ca":         {pure: true, why: "makes keys and certificates as values, for host and sidecar: a leaf"},
	"pkg/cli":        {why: "command lines know nothing of bottles or engines: a leaf"},
	"pkg/dlp":        {pure: true, why: "what is a secret is one judgement, for egress and for the git gate: a leaf"},
	"pkg/dockerfile": {pure: true, why: "what an agent may ask to have built is one reading, at the tool, for people and for who carries it out: a leaf"},
	"pkg/frame":      {pure: true, why: "both ends of the stream into a container speak it: a leaf"},
	"pkg/npm":        {why: "runs the host's npm and knows no agent: a leaf"},
	"pkg/policy":     {pure: true, why: "one judgement for manifests, sidecars and what people are shown: a leaf"},
	"pkg/probe":      {why: "attacks run inside, in a program that has nothing of the host: a leaf"},
	"pkg/spool":      {why: "a directory as a queue, whatever lies in it: a leaf"},
	"pkg/tokenref":   {why: "resolves what an operator calls a secret by, for the host alone: a leaf"},
	"pkg/tmux":       {pure: true, why: "builds tmux's command lines; who runs them is another's business: a leaf"},
	"pkg/tunnel":     {why: "both ends of a tunnel into a container speak it: a leaf"},
	"pkg/workspace":  {why: "packs and captures with git alone, on either side of the wall: a leaf"},

	"pkg/dlp/rulegen": {may: []string{"pkg/dlp"}, why: "a build step: it turns gitleaks' rules into a table, and is in no program"},

	"pkg/dlp/ruleids": {pure: true, why: "names of rules, for who checks what an operator wrote without the scanner: a leaf"},

	"pkg/proposal": {may: []string{"pkg/bottle", "pkg/dlp/ruleids", "pkg/dockerfile", "pkg/pipelock", "pkg/policy"}, pure: true,
		why: "what a proposal is and what its approval changes, as values: for sidecars that ask and for the host that decides"},
	"pkg/pipelock": {may: []string{"pkg/policy"}, pure: true,
		why: "what pipelock is told is a function of a policy and of the file as it stands, so that golden files can show it"},
	"pkg/manifest": {may: []string{"pkg/agent", "pkg/bottle", "pkg/dlp/ruleids", "pkg/policy", "pkg/tokenref"},
		why: "reads what the operator wrote, by the names and hosts that these call good; it makes nothing"},
	"pkg/proxy": {may: []string{"pkg/bottle", "pkg/tokenref"},
		why: "what the way out is, of what is written and what is in the environment; who goes it is others' business"},
	"pkg/plan": {may: []string{"pkg/agent", "pkg/bottle", "pkg/manifest"}, pure: true,
		why: "a plan is a function of manifest and host, so that golden files can show it"},
	"pkg/image": {may: []string{"pkg/agent"}, pure: true,
		why: "what an image is made of depends on the agent alone, so that its tag can be known before it exists"},
	"pkg/engine": {may: []string{"pkg/plan"},
		why: "an engine makes what a plan says, and has no idea of bottles' lives"},
	"pkg/engine/docker": {may: []string{"pkg/engine", "pkg/plan"},
		why: "one engine among others: whatever else it knew, the next one would have to know"},
	"pkg/engine/enginetest": {may: []string{"pkg/engine", "pkg/plan"},
		why: "the suite tries the contract, and no engine in particular"},
	"pkg/audit": {may: []string{"pkg/spool"},
		why: "a record of what was decided, whoever decides: it knows nothing of what the words mean"},
	"pkg/state": {may: []string{"pkg/bottle", "pkg/proposal", "pkg/spool"},
		why: "the state directory's layout is a contract of its own: the disk can be read with the engine down, and what sidecars wrote is checked where it is read"},
	"pkg/decision": {may: []string{"pkg/audit", "pkg/bottle", "pkg/manifest", "pkg/pipelock", "pkg/policy", "pkg/proposal", "pkg/spool", "pkg/state"},
		why: "carries decisions out through the state directory; how a sidecar is told and an image made are its caller's functions"},
	"pkg/eventlog": {may: []string{"pkg/bottle", "pkg/spool"},
		why: "reads what sidecars recorded, on the host; who wrote it and what it led to is others' business"},
	"pkg/inside": {may: []string{"pkg/bottle", "pkg/frame", "pkg/tmux", "pkg/tunnel"},
		why: "runs beside the agent: what is not in it cannot be taken from it"},
	"pkg/session": {may: []string{"pkg/engine", "pkg/plan", "pkg/tmux", "pkg/tunnel", "pkg/frame"},
		why: "the operator's end of a session; a bottle's life is not its business"},
	"pkg/sidecar": {may: []string{"pkg/bottle", "pkg/proposal", "pkg/spool"},
		why: "what sidecars share, and nothing that only the host may know"},
	"pkg/egress": {may: []string{"pkg/dlp", "pkg/pipelock", "pkg/policy", "pkg/proposal", "pkg/sidecar", "pkg/bottle", "pkg/ca", "pkg/spool"},
		why: "faces the agent: it knows its policy and its CA, and nothing of the host"},
	"pkg/relay": {may: []string{"pkg/bottle", "pkg/sidecar"},
		why: "leads a build's fetches to a proxy: it meets nobody's agent, and knows nothing of images"},
	"pkg/supervise": {may: []string{"pkg/bottle", "pkg/proposal", "pkg/sidecar"},
		why: "faces the agent: it knows what may be asked, and nothing of the host"},
	"pkg/gitgate": {may: []string{"pkg/bottle", "pkg/dlp", "pkg/proposal", "pkg/sidecar", "pkg/spool"},
		why: "faces the agent: it knows its remotes and what a secret is, and nothing of the host"},
	"pkg/lifecycle": {may: []string{"pkg/agent", "pkg/bottle", "pkg/ca", "pkg/dockerfile", "pkg/engine", "pkg/frame", "pkg/image", "pkg/manifest", "pkg/npm",
		"pkg/pipelock", "pkg/plan", "pkg/policy", "pkg/probe", "pkg/proposal", "pkg/session", "pkg/spool", "pkg/state", "pkg/workspace"},
		why: "the one place where engine and state meet; it asks nobody and prints nothing"},
	"pkg/dash": {may: []string{"pkg/bottle", "pkg/cli", "pkg/tmux"},
		why: "the dashboard has no powers of its own: it reads what the programs print, and runs them"},
	"pkg/pane": {may: []string{"pkg/tmux"}, why: "runs tmux for programs that show something; what they show is not its business"},
	"pkg/operator": {may: []string{"pkg/agent", "pkg/bottle", "pkg/cli", "pkg/decision", "pkg/engine", "pkg/engine/docker", "pkg/lifecycle", "pkg/manifest", "pkg/plan", "pkg/policy",
		"pkg/proposal", "pkg/proxy", "pkg/session", "pkg/state", "pkg/tokenref"},
		why: "what the host's programs share at their command line: home, engine, errors as people see them"},

	"cmd/bottle-start": {may: []string{"pkg/agent", "pkg/bottle", "pkg/cli", "pkg/frame", "pkg/lifecycle", "pkg/manifest", "pkg/operator", "pkg/pane", "pkg/plan",
		"pkg/policy", "pkg/session", "pkg/spool", "pkg/tokenref", "pkg/workspace"}, why: "flags, the preflight, then one call"},
	"cmd/bottle-attach": {may: []string{"pkg/bottle", "pkg/cli", "pkg/engine", "pkg/lifecycle", "pkg/operator", "pkg/pane", "pkg/plan", "pkg/session", "pkg/state"},
		why: "flags, then one call"},
	"cmd/bottle-ls":       {may: []string{"pkg/bottle", "pkg/cli", "pkg/decision", "pkg/lifecycle", "pkg/manifest", "pkg/operator", "pkg/plan"}, why: "flags, then one call"},
	"cmd/bottle-approve":  {may: []string{"pkg/bottle", "pkg/cli", "pkg/decision", "pkg/operator", "pkg/proposal", "pkg/state"}, why: "flags, the queue, then one call"},
	"cmd/bottle-edit":     {may: []string{"pkg/bottle", "pkg/cli", "pkg/decision", "pkg/lifecycle", "pkg/operator", "pkg/pipelock", "pkg/policy", "pkg/state"}, why: "flags, the editor, then one call"},
	"cmd/bottle-log":      {may: []string{"pkg/audit", "pkg/bottle", "pkg/cli", "pkg/eventlog", "pkg/operator", "pkg/state"}, why: "flags, then one call"},
	"cmd/bottle-stop":     {may: []string{"pkg/bottle", "pkg/cli", "pkg/engine", "pkg/lifecycle", "pkg/operator", "pkg/pane"}, why: "flags, then one call"},
	"cmd/bottle-dash":     {may: []string{"pkg/cli", "pkg/dash"}, why: "flags, then one call"},
	"cmd/bottle-egress":   {may: []string{"pkg/bottle", "pkg/cli", "pkg/egress", "pkg/relay", "pkg/sidecar"}, why: "a sidecar's main: flags, then one call"},
	"cmd/bottle-git-gate": {may: []string{"pkg/cli", "pkg/gitgate", "pkg/sidecar"}, why: "a sidecar's main: flags, then one call"},
	"cmd/bottle-inside":   {may: []string{"pkg/frame", "pkg/inside", "pkg/probe", "pkg/workspace"}, why: "what runs in the agent's container, a row a command"},
	"cmd/bottle-supervise": {may: []string{"pkg/cli", "pkg/sidecar", "pkg/supervise"},
		why: "a sidecar's main: flags, then one call"},

	"test/arch":          {why: "reads the sources, and imports none of them"},
	"test/asker":         {why: "an MCP client like an agent's, which knows nothing of ours"},
	"test/bench":         {may: []string{"pkg/bottle", "test/rig"}, why: "measures the programs as they are installed"},
	"test/crash":         {may: []string{"test/rig", "pkg/bottle", "pkg/plan"}, why: "kills the programs, and reads what they left as others would"},
	"test/bench/egress":  {may: []string{"pkg/bottle", "pkg/ca", "pkg/egress", "pkg/pipelock", "pkg/policy", "pkg/sidecar"}, why: "egress as it is, on loopback, to be measured"},
	"test/bench/gate":    {may: []string{"pkg/bottle", "pkg/gitgate", "pkg/sidecar"}, why: "the git gate as it is, on loopback, to be measured"},
	"test/bench/goproxy": {may: []string{"pkg/ca"}, why: "what egress is compared with has nothing of ours but a CA"},
	"test/bench/peer":    {may: []string{"pkg/ca"}, why: "both ends of what is measured, and nothing of what is between"},
	"test/install":       {may: []string{"test/rig"}, why: "sees what make install leaves, as its user does"},
	"test/programs":      {may: []string{"test/rig"}, why: "sees the programs as their user does, by their command line alone"},
	"test/dialer":        {may: []string{"test/pipe"}, why: "opens connections from inside a bottle, and knows nothing of ours"},
	"test/decide":        {may: []string{"pkg/bottle", "test/rig"}, why: "writes what a sidecar writes, and meets the programs as their user does"},
	"test/scripts":       {why: "runs the scripts as people do, on a PATH of its own"},
	"test/dash":          {may: []string{"test/rig"}, why: "sees the dashboard as its user does, in a tmux of its own"},
	"test/engines":       {may: []string{"test/rig"}, why: "runs the other suites, elsewhere"},
	"test/escape":        {may: []string{"pkg/bottle", "pkg/proposal", "test/rig"}, why: "meets the programs as their user does, through the rig, and writes what a hostile sidecar would"},
	"test/lifecycle":     {may: []string{"pkg/bottle", "test/rig"}, why: "meets the programs as their user does, through the rig"},
	"test/session":       {may: []string{"test/rig"}, why: "meets the programs as their user does, through the rig"},
	"test/gate":          {may: []string{"pkg/bottle", "test/rig"}, why: "meets the programs as their user does, through the rig"},
	"test/forward":       {why: "a company's proxy, for whoever tests behind one: a leaf"},
	"test/pipe":          {why: "two streams as a connection: a leaf"},
	"test/gitserver":     {why: "git's own server, for whoever tests against one: a leaf"},
	"test/upstream":      {may: []string{"pkg/ca", "pkg/spool", "test/forward", "test/gitserver"}, why: "the suite's internet, in a container of its own"},
	"test/pipelock":      {may: []string{"pkg/ca"}, why: "pipelock's stand-in reads the file by itself, as the real one does"},
	"test/behind":        {may: []string{"pkg/bottle", "test/rig"}, why: "meets the programs as their user does, through the rig"},
	"test/rig": {may: []string{"pkg/agent", "pkg/bottle", "pkg/engine/docker", "pkg/lifecycle", "pkg/manifest", "pkg/plan", "pkg/proposal", "pkg/spool", "pkg/state", "test/pipe"},
		why: "builds, starts and weakens bottles for the suites"},
}

// walls are imports that must not happen at any remove.
var walls = []struct {
	from, to []string
	why      string
}{
	{sidecars, []string{"pkg/state", "pkg/plan", "pkg/engine", "pkg/engine/docker", "pkg/lifecycle", "pkg/manifest", "pkg/session"},
		"a sidecar faces the agent: it must not be able to reach the engine, or to read what the host remembers"},
	{host, []string{"pkg/sidecar", "pkg/egress", "pkg/supervise", "pkg/gitgate", "pkg/inside", "pkg/relay"},
		"host programs run nothing of what faces an agent: a flaw there must stay in its container"},
	{[]string{"cmd/bottle-dash"}, []string{"pkg/state", "pkg/engine", "pkg/engine/docker", "pkg/lifecycle", "pkg/operator", "pkg/session"},
		"the dashboard can do what a shell line can, and nothing else"},
	{[]string{"cmd/bottle-inside"}, []string{"pkg/state", "pkg/plan", "pkg/engine", "pkg/lifecycle", "pkg/sidecar", "pkg/session"},
		"it runs in the agent's reach, and needs nothing of the host's"},
}

var (
	sidecars = []string{"cmd/bottle-egress", "cmd/bottle-git-gate", "cmd/bottle-supervise"}
	host     = []string{"cmd/bottle-start", "cmd/bottle-attach", "cmd/bottle-ls", "cmd/bottle-approve", "cmd/bottle-edit", "cmd/bottle-log", "cmd/bottle-stop", "cmd/bottle-dash"}
)

// doors are the standard library's ways to the outside, which pure packages do
// without.
var doors = []string{"os", "os/exec", "net", "net/http", "syscall", "io/ioutil", "log"}
