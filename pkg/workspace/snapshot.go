package workspace

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// label names a repository in a warning.
func (k *work) label() string {
	if k.rel == "." {
		return "the workspace"
	}
	return inertName(k.rel)
}

// commits learns which of the refs name commits that are there.
func (c *capturer) commits(k *work) error {
	ask := map[string]bool{}
	for name := range k.store.refs {
		ask[k.store.resolve("ref: "+name)] = true
	}
	ask[k.store.resolve(k.store.head)] = true
	if text, err := c.read(path.Join(k.store.own, baseFile), 100); err == nil && k.store.own != "" {
		k.base = strings.TrimSpace(string(text))
		ask[k.base] = true
	}
	var boundary []string
	if text, err := c.read(path.Join(k.store.common, "shallow"), maxRefFile); err == nil && k.store.common != "" {
		boundary = strings.Fields(string(text))
		for _, oid := range boundary {
			ask[oid] = true
		}
	}
	is, err := c.areCommits(ask)
	if err != nil {
		return err
	}
	for _, oid := range boundary {
		if is[oid] {
			k.shallow = append(k.shallow, oid)
		}
	}
	if err := c.writeShallow(k.shallow); err != nil {
		return err
	}
	if !is[k.base] {
		k.base = ""
	}
	k.branches = map[string]string{}
	for name := range k.store.refs {
		oid := k.store.resolve("ref: " + name)
		switch {
		case !is[oid]:
			c.limits.Warn(inertName(name) + " is left out: it names no commit that is there")
		case name == "refs/stash":
			k.stash = oid
		case k.store.own == k.store.common: // else they are the main worktree's
			k.branches[name] = oid
		}
	}
	if oid := k.store.resolve(k.store.head); is[oid] {
		k.head = oid
	} else if oid != "" {
		c.limits.Warn(k.label() + ": HEAD names no commit that is there; its files are captured without a history")
	}
	return nil
}

// areCommits asks git which IDs are commits' IDs.
func (c *capturer) areCommits(ask map[string]bool) (map[string]bool, error) {
	is := map[string]bool{}
	var in bytes.Buffer
	var oids []string
	for oid := range ask {
		if isOID(oid) && (len(oid) == 64) == (c.format == "sha256") {
			oids = append(oids, oid)
			fmt.Fprintln(&in, oid)
		}
	}
	if len(oids) == 0 {
		return is, nil
	}
	out, err := c.g.pipe(c.ctx, in.Bytes(), "cat-file", "--batch-check=%(objectname) %(objecttype)")
	if err == nil {
		for line := range strings.Lines(string(out)) {
			if oid, kind, _ := strings.Cut(strings.TrimSpace(line), " "); kind == "commit" {
				is[oid] = true
			}
		}
		return is, nil
	}
	// One broken object ends the batch: ask one by one.
	for _, oid := range oids[:min(len(oids), 2000)] {
		kind, err := c.g.line(c.ctx, "cat-file", "-t", oid)
		if c.ctx.Err() != nil {
			return nil, context.Cause(c.ctx)
		}
		is[oid] = err == nil && kind == "commit"
	}
	return is, nil
}

func (c *capturer) writeShallow(oids []string) error {
	if len(oids) == 0 {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(c.scratch, "repo/shallow"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	f.Write(lines(oids))
	return f.Close()
}

// snapshot makes k.wip: the commit of what is not committed.
func (c *capturer) snapshot(k *work) error {
	s := &shot{c: c, k: k, modes: map[string]string{}}
	s.abs = filepath.Join(c.dir, k.rel)
	s.g = c.g.in(s.abs).with("GIT_WORK_TREE="+s.abs, "GIT_INDEX_FILE="+filepath.Join(c.scratch, "index"))
	os.Remove(filepath.Join(c.scratch, "index"))
	if err := s.settings(); err != nil {
		return err
	}
	if err := s.seed(); err != nil {
		return err
	}
	if err := s.untracked(); err != nil {
		return err
	}
	if err := s.fill(); err != nil {
		return err
	}
	if err := s.keepPointers(); err != nil {
		return err
	}
	return s.commit()
}

// shot is a snapshot in the making. Its index is its own; paths are relative
// to the repository's top.
type shot struct {
	c     *capturer
	k     *work
	g     git
	abs   string
	modes map[string]string // tracked path → mode
	skip  map[string]bool   // tracked, and not meant to be in the tree
	plain []string          // neither tracked nor ignored
}

// rel is a path of the shot as one of the workspace.
func (s *shot) rel(p string) string { return path.Join(s.k.rel, p) }

// settings takes from the work's configuration what says how files are stored.
// git only parses it, as a file: nothing is included or run.
func (s *shot) settings() error {
	exclude, _ := s.c.read(path.Join(s.k.store.common, "info/exclude"), 1<<20)
	name := filepath.Join(s.c.scratch, "exclude")
	if err := os.WriteFile(name, exclude, 0o600); err != nil {
		return err
	}
	s.g = s.g.set("core.excludesFile=" + name)
	config, err := s.c.read(path.Join(s.k.store.common, "config"), 1<<20)
	if err != nil || s.k.store.common == "" {
		return nil
	}
	name = filepath.Join(s.c.scratch, "config")
	if err := os.WriteFile(name, config, 0o600); err != nil {
		return err
	}
	list, err := s.c.g.out(s.c.ctx, "config", "--no-includes", "-z", "--list", "--file", name)
	if err != nil {
		return nil // not a configuration
	}
	for _, set := range choose(list, func(string) {}) {
		switch set.Key {
		case "core.autocrlf", "core.eol", "core.filemode", "core.symlinks":
			s.g = s.g.set(set.Key + "=" + set.Value)
		}
	}
	return nil
}

// seed fills the index with what the work's own index has, or else HEAD.
func (s *shot) seed() error {
	if s.k.head != "" {
		if err := s.countHead(); err != nil {
			return err
		}
		if err := s.g.run(s.c.ctx, nil, nil, "read-tree", s.k.head); err != nil {
			return fmt.Errorf("cannot read HEAD's files: %w", err)
		}
	}
	s.skip = map[string]bool{}
	entries, err := s.entries(s.g, "")
	if err != nil {
		return err
	}
	data, err := s.c.read(path.Join(s.k.store.own, "index"), maxIndex)
	if err == nil && s.k.store.own != "" {
		name := filepath.Join(s.c.scratch, "index-theirs")
		if err := os.WriteFile(name, data, 0o600); err != nil {
			return err
		}
		if theirs, err := s.entries(s.g, name); err == nil {
			return s.merge(entries, theirs)
		}
		s.c.limits.Warn(s.k.label() + ": the index cannot be read; what it alone says is left out")
	}
	return s.merge(entries, entries)
}

// countHead holds HEAD to the limit on files: a few trees can name one another
// so often that no memory would do for the index.
func (s *shot) countHead() error {
	files := &ends{left: s.c.limits.Files}
	err := s.g.run(s.c.ctx, nil, files, "ls-tree", "-r", "-z", "--name-only", s.k.head)
	switch {
	case files.left < 0:
		return fmt.Errorf("more than %d files in HEAD: %w", s.c.limits.Files, ErrTooMuch)
	case err != nil:
		return fmt.Errorf("cannot read HEAD's files: %w", err)
	}
	return nil
}

// ends counts records that end in NUL, and fails where there are too many.
type ends struct{ left int }

func (e *ends) Write(p []byte) (int, error) {
	if e.left -= bytes.Count(p, []byte{0}); e.left < 0 {
		return 0, ErrTooMuch
	}
	return len(p), nil
}

// entries lists an index; "" means the shot's own. The paths are checked.
func (s *shot) entries(g git, index string) ([]indexEntry, error) {
	if index != "" {
		g = g.with("GIT_INDEX_FILE=" + index)
	}
	out, err := g.out(s.c.ctx, "ls-files", "-s", "-v", "-z")
	if err != nil {
		return nil, err
	}
	var list []indexEntry
	for _, rec := range zsplit(out) {
		if e, ok := parseIndexLine(rec); ok && checkPath(e.path) == nil {
			list = append(list, e)
		}
	}
	return list, nil
}

// merge makes the index name what theirs does and ours does not, and nothing
// that theirs does not. Any stage of a conflict will do: the file counts.
func (s *shot) merge(ours, theirs []indexEntry) error {
	var in bytes.Buffer
	for _, e := range ours {
		s.modes[e.path] = "" // until theirs has it
	}
	for _, e := range theirs {
		if s.modes[e.path] == "" {
			fmt.Fprintf(&in, "%s %s\t%s\x00", e.mode, e.oid, e.path)
		}
		s.modes[e.path] = e.mode
		if e.skip {
			s.skip[e.path] = true
		}
	}
	var gone bytes.Buffer
	for p, mode := range s.modes {
		if mode == "" {
			fmt.Fprintf(&gone, "0 %s\t%s\x00", s.zero(), p)
			delete(s.modes, p)
		}
	}
	gone.Write(in.Bytes())
	return s.indexInfo(gone.Bytes())
}

func (s *shot) indexInfo(in []byte) error {
	if len(in) == 0 {
		return nil
	}
	_, err := s.g.pipe(s.c.ctx, in, "update-index", "-z", "--index-info")
	return err
}

func (s *shot) zero() string {
	if s.c.format == "sha256" {
		return strings.Repeat("0", 64)
	}
	return strings.Repeat("0", 40)
}
