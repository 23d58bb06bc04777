package lifecycle

import (
	"io"
	"os"
	"path/filepath"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/plan"
	"bottle/pkg/spool"
)

// activityDir is the one directory on the host that an agent may write in.
func activityDir(stateDir string) string { return filepath.Join(stateDir, plan.AgentService, "out") }

// doing is what an agent does, and since when. It is the agent's word. The time
// is the host's: the file is not the agent's, who can write it and no more, and
// cannot set its time.
type doing struct {
	what  bottle.Activity
	since time.Time
}

func readActivity(stateDir string) (d doing) {
	f, err := spool.OpenFile(activityDir(stateDir), bottle.ActivityFile)
	if err != nil {
		return d // of a version that had none
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() != bottle.ActivitySize {
		return d
	}
	record, err := io.ReadAll(io.LimitReader(f, bottle.ActivitySize))
	if a, _, ok := bottle.ParseActivity(record); err == nil && ok {
		d = doing{a, info.ModTime().UTC().Truncate(time.Millisecond)}
	}
	return d
}

// Acting adds to a bottle what its agent does.
func Acting(b bottle.Bottle) bottle.Bottle { return acting(b, readActivity(b.StateDir)) }

// acting adds it if the agent can do anything.
func acting(b bottle.Bottle, d doing) bottle.Bottle {
	if b.Status != bottle.Running && b.Status != bottle.Degraded {
		d = doing{}
	}
	b.Activity, b.ActivitySince = d.what, d.since
	return b
}

// activityFile makes the file that the agent writes: in it, and nothing beside
// it, so that nothing can be planted there.
func (t *tree) activityFile() {
	dir := activityDir("")
	t.dir(dir, 0o755)
	t.put(filepath.Join(dir, bottle.ActivityFile), bottle.ActivityRecord(bottle.Idle, 0), 0o644)
	if t.err == nil {
		t.err = os.Chmod(filepath.Join(t.root, dir, bottle.ActivityFile), 0o666)
	}
}
