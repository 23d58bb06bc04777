package workspace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// survey counts what there is, before git is let near it, and looks for what
// git would wait on for ever or follow out of the workspace: it opens the
// files that say what is ignored, and those in the .git of a folder inside.
func (c *capturer) survey() error {
	// The outermost .git is ours to read, unless a .git file inside leads git
	// back into it.
	own, inward := false, false
	defer func() { c.traps = c.traps || own && inward }()
	todo := []string{"."}
	for len(todo) > 0 {
		if c.ctx.Err() != nil {
			return context.Cause(c.ctx)
		}
		dir := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		entries, err := c.list(dir)
		if errors.Is(err, ErrTooMuch) {
			return err
		}
		if err != nil {
			c.limits.Warn(fmt.Sprintf("%q cannot be read: %v", dir, err))
			continue
		}
		inGit := dir == ".git" || strings.HasPrefix(dir, ".git/") || strings.HasSuffix(dir, "/.git") || strings.Contains(dir, "/.git/")
		for _, e := range entries {
			rel := path.Join(dir, e.Name())
			if c.isTrap(dir, rel, e, inGit) {
				if inGit && (dir == ".git" || strings.HasPrefix(dir, ".git/")) {
					own = true
				} else {
					c.traps = true
				}
			}
			inward = inward || e.Name() == ".git" && dir != "." && e.Type() == 0
			if e.IsDir() && len(rel) <= maxPath {
				todo = append(todo, rel)
			}
		}
	}
	return nil
}

func (c *capturer) isTrap(dir, rel string, e fs.DirEntry, inGit bool) bool {
	kind := e.Type()
	switch {
	case inGit:
		return isOdd(e)
	case e.Name() == ".gitignore" || e.Name() == ".gitattributes":
		return kind&^(fs.ModeSymlink|fs.ModeDir) != 0 || kind == 0 && isLarge(e)
	case e.Name() == ".git" && dir != ".":
		if kind == fs.ModeDir {
			return false
		}
		s, err := c.find(dir)
		return err == nil && (s.own == "" || c.isOddStore(s.own) || c.isOddStore(s.common))
	}
	return false
}

// isOdd says whether git could wait for the entry, or be led elsewhere by it.
func isOdd(e fs.DirEntry) bool {
	return e.Type()&(fs.ModeNamedPipe|fs.ModeSymlink|fs.ModeDevice) != 0
}

// maxRules is more than anybody writes, and little enough for git to hold.
const maxRules = 4 << 20

func isLarge(e fs.DirEntry) bool {
	fi, err := e.Info()
	return err != nil || fi.Size() > maxRules
}

// isOddStore looks through a directory that a .git file leads to. survey does
// that for those that are in a .git.
func (c *capturer) isOddStore(dir string) bool {
	if dir == ".git" || strings.HasPrefix(dir, ".git/") || strings.Contains(dir+"/", "/.git/") {
		return false
	}
	if odd, known := c.odd[dir]; known {
		return odd
	}
	c.odd[dir] = true // also while it is looked through
	entries, err := c.list(dir)
	odd := err != nil
	for _, e := range entries {
		odd = odd || isOdd(e) || e.IsDir() && c.isOddStore(path.Join(dir, e.Name()))
	}
	c.odd[dir] = odd
	return odd
}
