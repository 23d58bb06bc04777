package rig

import (
	"fmt"
	"os"
	"sync"
)

var pipelockBuilt struct {
	sync.Once
	image string
	err   error
}

// PipelockImage is the image of pipelock: the one that BOTTLE_PIPELOCK_IMAGE names,
// or else the tests' stand-in. real says that it is the former.
func (r *Rig) PipelockImage() (image string, real bool) {
	r.t.Helper()
	if named := os.Getenv("BOTTLE_PIPELOCK_IMAGE"); named != "" {
		return named, true
	}
	program := ownProgram(r.t, "pipelock")
	pipelockBuilt.Do(func() {
		pipelockBuilt.image, pipelockBuilt.err = importProgram(program)
	})
	if pipelockBuilt.err != nil {
		r.t.Fatalf("cannot make pipelock's image: %v", pipelockBuilt.err)
	}
	return pipelockBuilt.image, false
}

// JoinPipelock connects a bottle's pipelock, and nobody else, to this internet.
func (u *Upstream) JoinPipelock(slug string) {
	u.r.t.Helper()
	container := fmt.Sprintf("bottle-%s-pipelock-1", slug)
	u.r.Docker("network", "connect", u.Network, container)
	u.r.t.Cleanup(func() { client("network", "disconnect", "-f", u.Network, container) }) // a bottle that is gone has left already
}
