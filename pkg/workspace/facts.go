package workspace

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
)

// Facts are what of a repository another must know who takes its work.
type Facts struct {
	Format  string   // of its objects: sha1 or sha256
	Branch  string   // refs/heads/…; empty where HEAD is detached
	Known   []string // what HEAD and its refs name
	Shallow []string // the ends of its history, where that is a shallow one
	// Refs are its branches and tags. A partial clone has none that another could
	// do with.
	Refs map[string]string

	root string
}

// FactsOf reads them of the repository whose top is root, as Pack would carry it.
func FactsOf(ctx context.Context, root string) (Facts, error) {
	s := &source{ctx: ctx, g: trusted(root), warn: func(string) {}}
	r, err := s.history("")
	if err != nil {
		return Facts{}, fmt.Errorf("cannot read the repository %s: %w", root, err)
	}
	f := Facts{Format: r.Format, Branch: r.Branch, Known: s.wants(r), Shallow: r.Shallow, Refs: map[string]string{}, root: root}
	for _, ref := range r.Refs {
		if !s.partial && (strings.HasPrefix(ref.Name, "refs/heads/") || strings.HasPrefix(ref.Name, "refs/tags/")) {
			f.Refs[ref.Name] = ref.OID
		}
	}
	return f, nil
}

// Seed writes what the refs lead to as a git pack.
func (f Facts) Seed(ctx context.Context, w io.Writer) error {
	list := &bytes.Buffer{}
	for _, id := range f.Refs {
		fmt.Fprintln(list, id)
	}
	if err := trusted(f.root).packed(ctx, list, w, "--revs"); err != nil {
		return fmt.Errorf("cannot read the repository %s: %w", f.root, err)
	}
	return nil
}
