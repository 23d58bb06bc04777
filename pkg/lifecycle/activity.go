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

// Acting adds to a bottle what its agent does. It is the agent's word. The time
// is the host's: the file is not the agent's, who can write it and no more, and
// cannot set its time.
func Acting(b bottle.Bottle) bottle.Bottle {
	b.Activity, b.ActivitySince = "", time.Time{}
	if b.Status != bottle.Running && b.Status != bottle.Degraded {
		return b
	}
	f, err := spool.OpenFile(activityDir(b.StateDir), bottle.ActivityFile)
	if err != nil {
		return b // of a version that had none
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() != bottle.ActivitySize {
		return b
	}
	record, err := io.ReadAll(io.LimitReader(f, bottle.ActivitySize))
	if a, _, ok := bottle.ParseActivity(record); err == nil && ok {
		b.Activity, b.ActivitySince = a, info.ModTime().UTC().Truncate(time.Millisecond)
	}
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
