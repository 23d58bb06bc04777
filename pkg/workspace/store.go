package workspace

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

// store is where a hostile repository keeps its data, as paths below the
// workspace that no symlink is part of. Empty paths: there is none.
type store struct {
	own    string // HEAD and index
	common string // objects and refs; another directory in a linked worktree
	head   string // content of HEAD
	refs   map[string]string
}

const (
	maxRefs    = 100_000
	maxRefFile = 64 << 20
	maxIndex   = 512 << 20
)

var errReftable = errors.New("its refs are in a format that cannot be read")

// find looks for the repository whose files are at rel.
func (c *capturer) find(rel string) (store, error) {
	none := store{}
	dot := path.Join(rel, ".git")
	fi, err := c.tree.lstat(dot)
	switch {
	case err != nil:
		return none, nil
	case fi.Mode().IsRegular():
		text, err := c.read(dot, 4096)
		if err != nil {
			return none, nil
		}
		to, ok := strings.CutPrefix(strings.TrimSpace(string(text)), "gitdir: ")
		if dot = c.below(rel, to); !ok || dot == "" {
			return none, nil
		}
	case !fi.IsDir():
		return none, nil
	}
	s := store{own: dot, common: dot}
	if text, err := c.read(path.Join(dot, "commondir"), 4096); err == nil {
		if s.common = c.below(dot, strings.TrimSpace(string(text))); s.common == "" {
			return none, nil
		}
	}
	if !c.tree.isDir(path.Join(s.common, "objects")) {
		return none, nil
	}
	if c.tree.isDir(path.Join(s.common, "reftable")) {
		return none, errReftable
	}
	text, err := c.read(path.Join(s.own, "HEAD"), 4096)
	if err != nil {
		return none, nil
	}
	s.head = strings.TrimSpace(string(text))
	s.refs, err = c.readRefs(s.common)
	return s, err
}

// below is the path that a file at base means by to, if it stays below the
// workspace and is a directory reached without symlinks; else "".
func (c *capturer) below(base, to string) string {
	if !filepath.IsAbs(to) {
		to = filepath.Join(c.dir, base, to)
	}
	rel, err := filepath.Rel(c.dir, to)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") || !c.tree.isDir(rel) {
		return ""
	}
	return rel
}

// read reads a regular file of at most max bytes.
func (c *capturer) read(rel string, max int64) ([]byte, error) {
	if !c.tree.isDir(path.Dir(rel)) {
		return nil, fs.ErrNotExist
	}
	f, fi, err := c.tree.open(rel)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if fi.Size() > max {
		return nil, fmt.Errorf("%s: %w", rel, ErrTooMuch)
	}
	return io.ReadAll(io.LimitReader(f, max))
}

// readRefs reads packed and loose refs below refs/heads, and the stash.
func (c *capturer) readRefs(common string) (map[string]string, error) {
	refs := map[string]string{}
	packed, err := c.read(path.Join(common, "packed-refs"), maxRefFile)
	if errors.Is(err, ErrTooMuch) {
		return nil, err
	}
	for line := range bytes.Lines(packed) {
		oid, name, ok := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
		if ok && isOID(oid) && isWorkRef(name) {
			refs[name] = oid
		}
	}
	if text, err := c.read(path.Join(common, "refs/stash"), 1024); err == nil {
		refs["refs/stash"] = strings.TrimSpace(string(text))
	}
	err = c.looseRefs(common, "refs/heads", 0, refs)
	if err == nil && len(refs) > maxRefs {
		err = fmt.Errorf("%d refs: %w", len(refs), ErrTooMuch)
	}
	return refs, err
}

func isWorkRef(name string) bool {
	return validRef(name) && (strings.HasPrefix(name, "refs/heads/") || name == "refs/stash")
}

func (c *capturer) looseRefs(common, dir string, depth int, refs map[string]string) error {
	at := path.Join(common, dir)
	if depth > 100 || !c.tree.isDir(at) {
		return nil
	}
	entries, err := c.list(at)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := dir + "/" + e.Name()
		switch {
		case len(refs) > maxRefs:
			return nil
		case e.IsDir():
			if err := c.looseRefs(common, name, depth+1, refs); err != nil {
				return err
			}
		case e.Type().IsRegular() && isWorkRef(name):
			if text, err := c.read(path.Join(common, name), 1024); err == nil {
				refs[name] = strings.TrimSpace(string(text))
			}
		}
	}
	return nil
}

// list reads a directory and counts its entries.
func (c *capturer) list(rel string) ([]fs.DirEntry, error) {
	d, err := c.tree.root.OpenFile(rel, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	var all []fs.DirEntry
	for {
		some, err := d.ReadDir(1000)
		all = append(all, some...)
		if c.entries += len(some); c.entries > c.limits.Files {
			return nil, fmt.Errorf("more than %d files: %w", c.limits.Files, ErrTooMuch)
		}
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// format guesses from the IDs how objects are named.
func (s store) format() string {
	sample := s.resolve(s.head)
	for _, v := range s.refs {
		if sample == "" && isOID(v) {
			sample = v
		}
	}
	if len(sample) == 64 {
		return "sha256"
	}
	return "sha1"
}

// resolve follows "ref: NAME" to an object ID; "" if it leads to none.
func (s store) resolve(value string) string {
	for range 5 {
		if isOID(value) {
			return value
		}
		name, ok := strings.CutPrefix(value, "ref: ")
		if !ok {
			return ""
		}
		value = s.refs[strings.TrimSpace(name)]
	}
	return ""
}
