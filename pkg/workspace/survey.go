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
		return kind&(fs.ModeNamedPipe|fs.ModeSymlink|fs.ModeDevice) != 0
	case e.Name() == ".gitignore" || e.Name() == ".gitattributes":
		return kind&^(fs.ModeSymlink|fs.ModeDir) != 0
	case e.Name() == ".git" && dir != ".":
		if kind == fs.ModeDir {
			return false
		}
		s, err := c.find(dir)
		return err == nil && s.own == ""
	}
	return false
}
