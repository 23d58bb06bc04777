package workspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// untracked lists what is neither tracked nor ignored. Repositories among it
// become works of their own.
func (s *shot) untracked() error {
	if s.c.traps {
		s.c.limits.Warn(s.k.label() + ": something here is made to mislead git; everything is captured, byte for byte")
		return s.walk(".")
	}
	out, err := s.g.out(s.c.ctx, "ls-files", "--others", "--exclude-standard", "-z")
	if err != nil {
		return err
	}
	for _, name := range zsplit(out) {
		if dir, ok := strings.CutSuffix(name, "/"); ok {
			if err := s.inner(dir); err != nil {
				return err
			}
			continue
		}
		s.plain = append(s.plain, name)
	}
	return nil
}

// walk is untracked without git, and without anything being ignored.
func (s *shot) walk(dir string) error {
	if s.c.ctx.Err() != nil {
		return context.Cause(s.c.ctx)
	}
	entries, err := s.c.list(s.rel(dir))
	if err != nil {
		if errors.Is(err, ErrTooMuch) {
			return err
		}
		return nil // told by survey
	}
	for _, e := range entries {
		p := path.Join(dir, e.Name())
		switch {
		case checkPath(p) != nil:
		case !e.IsDir():
			if s.modes[p] == "" {
				s.plain = append(s.plain, p)
			}
		case s.modes[p] == gitlink: // fill takes it, also where it is a directory no more
		case s.c.isRepo(s.rel(p)):
			err = s.inner(p)
		default:
			err = s.walk(p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *capturer) isRepo(rel string) bool {
	found, err := c.find(rel)
	return err != nil || found.own != ""
}

const maxRepos = 500

// inner adds the repository at p to what is captured.
func (s *shot) inner(p string) error {
	if len(s.c.repos) > maxRepos {
		return fmt.Errorf("more than %d repositories: %w", maxRepos, ErrTooMuch)
	}
	k, err := s.c.open(s.rel(p))
	if err != nil {
		return err
	}
	s.c.repos = append(s.c.repos, k)
	return nil
}

// fill takes the files into the index.
func (s *shot) fill() error {
	var gone bytes.Buffer
	var take []string
	for _, p := range sortedKeys(s.modes) {
		if s.modes[p] == gitlink && s.c.tree.isDir(s.rel(p)) {
			if err := s.submodule(p, &gone); err != nil {
				return err
			}
			continue
		}
		switch is, err := s.takes(p); {
		case err != nil:
			return err
		case is:
			take = append(take, p)
		case !s.skip[p]:
			fmt.Fprintf(&gone, "0 %s\t%s\x00", s.zero(), p)
		}
	}
	for _, p := range s.plain {
		switch is, err := s.takes(p); {
		case err != nil:
			return err
		case is:
			take = append(take, p)
		}
	}
	// Removals first: a file may stand where a directory was.
	if err := s.indexInfo(gone.Bytes()); err != nil || len(take) == 0 {
		return err
	}
	if !s.c.traps {
		err := s.add(take)
		if err == nil || s.c.ctx.Err() != nil {
			return err
		}
		s.c.limits.Warn(fmt.Sprintf("%s: captured byte for byte, since attributes got in the way (%v)", s.k.label(), err))
	}
	return s.addRaw(take)
}

// takes says whether a path is a file or symlink that can be captured.
func (s *shot) takes(p string) (bool, error) {
	if checkPath(p) != nil || len(s.rel(p)) > maxPath {
		s.c.limits.Warn(fmt.Sprintf("%q is left out: no file in a repository may have that name", s.rel(p)))
		return false, nil
	}
	fi, err := s.c.tree.lstat(s.rel(p))
	if errors.Is(err, fs.ErrPermission) {
		s.leaveOut(p)
		return false, nil
	}
	if err != nil {
		return false, nil
	}
	switch fi.Mode().Type() {
	case fs.ModeSymlink:
		return true, nil
	case 0:
		f, _, err := s.c.tree.open(s.rel(p))
		if err != nil {
			s.leaveOut(p)
			return false, nil
		}
		f.Close()
		if s.c.bytes += fi.Size(); s.c.bytes > s.c.limits.Bytes {
			return false, fmt.Errorf("more than %d bytes of files: %w", s.c.limits.Bytes, ErrTooMuch)
		}
		return true, nil
	}
	if !fi.IsDir() {
		s.c.limits.Warn(fmt.Sprintf("%q is left out: it is not a file", s.rel(p)))
	}
	return false, nil
}

// leaveOut keeps what HEAD has for a path that cannot be read: it was not
// deleted.
func (s *shot) leaveOut(p string) {
	s.c.limits.Warn(fmt.Sprintf("%q is left out: it cannot be read", s.rel(p)))
	s.skip[p] = true
}

// submodule sets a submodule's entry to the commit it is at.
func (s *shot) submodule(p string, info *bytes.Buffer) error {
	if _, err := s.c.tree.lstat(path.Join(s.rel(p), ".git")); err != nil {
		return nil // never initialised
	}
	if err := s.inner(p); err != nil {
		return err
	}
	k := s.c.repos[len(s.c.repos)-1]
	if oid := k.store.resolve(k.store.head); len(oid) == len(s.zero()) {
		fmt.Fprintf(info, "%s %s\t%s\x00", gitlink, oid, p)
	}
	return nil
}

// add has git store files as a git add would, line ends converted.
func (s *shot) add(paths []string) error {
	in := strings.NewReader(strings.Join(paths, "\x00") + "\x00")
	return s.g.run(s.c.ctx, in, nil, "update-index", "--add", "--replace", "-z", "--stdin")
}

// addRaw stores files as they are, with no .gitattributes read.
func (s *shot) addRaw(paths []string) error {
	var names, links bytes.Buffer
	var files, modes []string
	for _, p := range paths {
		fi, err := s.c.tree.lstat(s.rel(p))
		if err != nil {
			return err
		}
		if fi.Mode()&fs.ModeSymlink != 0 {
			links.WriteString(p + "\x00")
			continue
		}
		mode := "100644"
		if fi.Mode()&0o100 != 0 {
			mode = "100755"
		}
		files, modes = append(files, p), append(modes, mode)
		names.WriteString(quoteC(p) + "\n")
	}
	out, err := s.g.pipe(s.c.ctx, names.Bytes(), "hash-object", "-w", "--no-filters", "--stdin-paths")
	if err != nil {
		return err
	}
	oids := strings.Fields(string(out))
	if len(oids) != len(files) {
		return fmt.Errorf("%d of %d files stored", len(oids), len(files))
	}
	var info bytes.Buffer
	for i, p := range files {
		fmt.Fprintf(&info, "%s %s\t%s\x00", modes[i], oids[i], p)
	}
	if err := s.indexInfo(info.Bytes()); err != nil || links.Len() == 0 {
		return err
	}
	return s.g.run(s.c.ctx, &links, nil, "update-index", "--add", "--replace", "-z", "--stdin")
}

// quoteC quotes a path for git's line-based input.
func quoteC(p string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(p) {
		if c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			fmt.Fprintf(&b, `\%03o`, c)
		} else {
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// commit makes the snapshot's commit, unless there is nothing in it that HEAD
// has not.
func (s *shot) commit() error {
	tree, err := s.g.line(s.c.ctx, "write-tree", "--missing-ok")
	if err != nil {
		return err
	}
	args := []string{"commit-tree", "-m", "wip: what was not committed", tree}
	if s.k.head != "" {
		have, err := s.g.line(s.c.ctx, "rev-parse", s.k.head+"^{tree}")
		if err != nil {
			return err
		}
		if have == tree {
			s.k.wip = s.k.head
			return nil
		}
		args = append(args, "-p", s.k.head)
	} else if empty, err := s.g.line(s.c.ctx, "hash-object", "-t", "tree", "--stdin"); err != nil || empty == tree {
		return err
	}
	s.k.wip, err = s.g.line(s.c.ctx, args...)
	return err
}
