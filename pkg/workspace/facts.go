package workspace

import (
	"context"
	"fmt"
)

// Facts are what of a repository another must know who takes its work.
type Facts struct {
	Format  string   // of its objects: sha1 or sha256
	Branch  string   // refs/heads/…; empty where HEAD is detached
	Known   []string // what HEAD and its refs name
	Shallow []string // the ends of its history, where that is a shallow one
}

// FactsOf reads them of the repository whose top is root, as Pack would carry it.
func FactsOf(ctx context.Context, root string) (Facts, error) {
	s := &source{ctx: ctx, g: trusted(root), warn: func(string) {}}
	r, err := s.history("")
	if err != nil {
		return Facts{}, fmt.Errorf("cannot read the repository %s: %w", root, err)
	}
	return Facts{Format: r.Format, Branch: r.Branch, Known: s.wants(r), Shallow: r.Shallow}, nil
}
