package sidecar

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"bottle/pkg/bottle"
	"bottle/pkg/spool"
)

// AppliedFile in the out directory says which policy is in force: a
// bottle.Applied. Whoever changed the policy waits for it.
const AppliedFile = "applied.json"

// WriteApplied replaces AppliedFile in dir.
func WriteApplied(dir string, a bottle.Applied) error {
	data, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("cannot encode %s: %w", AppliedFile, err)
	}
	return spool.WriteFile(filepath.Join(dir, AppliedFile), append(data, '\n'), 0o600)
}
