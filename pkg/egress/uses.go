package egress

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"bottle/pkg/bottle"
	"bottle/pkg/policy"
	"bottle/pkg/spool"
)

// UsesFile in the out directory says how often grants were used that are good
// for a number of requests: the ID of a grant a line, one for each use. A line
// is on the disk before its request is forwarded.
const UsesFile = "uses.log"

const maxUsesLog = 64 << 20

// uses counts them. What was reserved stays used, whatever became of the
// request, and whatever becomes of us.
type uses struct {
	mu      sync.Mutex
	file    *os.File // nil: nobody is told, and a restart forgets
	torn    bool     // the last line may be half a line
	used    map[string]int64
	isSpent func(*policy.Grant) bool // spent, made once
}

// openUses reads what earlier ones of us reserved.
func openUses(dir string) (*uses, error) {
	u := &uses{used: map[string]int64{}}
	u.isSpent = u.spent
	if dir == "" {
		return u, nil
	}
	data, err := spool.ReadFile(dir, UsesFile, maxUsesLog)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot read the uses of grants: %w", err)
	}
	// Half a line is of a use that was never given: it was not on the disk yet.
	whole := data[:bytes.LastIndexByte(data, '\n')+1]
	for line := range bytes.Lines(whole) {
		if id := string(bytes.TrimSuffix(line, []byte("\n"))); id != "" {
			u.used[id]++
		}
	}
	if u.file, err = spool.Append(filepath.Join(dir, UsesFile), 0o600); err == nil && len(whole) < len(data) {
		err = u.file.Truncate(int64(len(whole)))
	}
	if err != nil {
		return nil, fmt.Errorf("cannot write the uses of grants: %w", err)
	}
	return u, spool.Sync(dir)
}

// spent says whether a grant has no use left.
func (u *uses) spent(g *policy.Grant) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return g.Uses > 0 && u.used[g.ID] >= g.Uses
}

// reserve takes one of so many uses of a grant, durably, and says whether one
// was left.
func (u *uses) reserve(id string, of int64) (bool, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.used[id] >= of {
		return false, nil
	}
	if u.file != nil {
		line := id + "\n"
		if u.torn {
			line = "\n" + line
		}
		u.torn = true
		if _, err := u.file.WriteString(line); err != nil {
			return false, err
		}
		if err := u.file.Sync(); err != nil {
			// It may be on the disk or not. It counts, so that it is given to nobody.
			u.torn = false
			u.used[id]++
			return false, err
		}
		u.torn = false
	}
	u.used[id]++
	return true, nil
}

// takeException takes a use of an exception, and says whether one was left.
func (s *Server) takeException(g *policy.Grant) bool {
	left, err := s.uses.reserve(g.ID, g.Uses)
	if err != nil {
		s.record(bottle.Event{Kind: "grant", Verdict: "error", Rule: "grant " + g.ID, Host: g.Host, Reason: "its use could not be recorded", Detail: err.Error()})
	}
	return left
}

// reserve takes the use that an allowed request rests on.
func (c *client) reserve(v *policy.Verdict) *refusal {
	if v.Uses == 0 {
		return nil
	}
	left, err := c.s.uses.reserve(v.Grant, v.Uses)
	switch {
	case err != nil:
		return refuse(503, "the use of a grant could not be recorded")
	case !left: // another request took it meanwhile
		return refuse(403, "the grant for this on "+v.Route.Host+" is used up")
	}
	return nil
}
