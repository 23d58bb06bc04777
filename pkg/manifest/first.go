package manifest

import _ "embed" // the first manifests are files, so that they can be read as such

// FirstBottle and FirstAgent are bottles/dev.md and agents/dev.md for a home
// that has no manifests yet.
var (
	//go:embed first/bottle.md
	FirstBottle []byte
	//go:embed first/agent.md
	FirstAgent []byte
)
