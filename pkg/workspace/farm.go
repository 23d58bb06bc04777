package workspace

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// addObjects lets our repository read a store's objects. Only its packs and
// loose objects are linked in, so its alternates, commit-graph and the like
// count for nothing; alternates within the workspace are added the same way.
func (c *capturer) addObjects(s store) error {
	if s.common == "" {
		return nil
	}
	var farms []string
	todo, seen := []string{path.Join(s.common, "objects")}, map[string]bool{}
	for len(todo) > 0 && len(farms) < 20 {
		dir := todo[0]
		todo = todo[1:]
		if seen[dir] || !c.tree.isDir(dir) {
			continue
		}
		seen[dir] = true
		farm, err := c.farm(dir)
		if err != nil {
			return err
		}
		farms = append(farms, farm)
		text, err := c.read(path.Join(dir, "info/alternates"), 1<<20)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSuffix(line, "\n")
			if to := c.below(dir, line); to != "" && !strings.HasPrefix(line, "#") && to != "." {
				todo = append(todo, to)
			} else if line != "" {
				c.limits.Warn(fmt.Sprintf("objects outside the workspace are left out: %q", line))
			}
		}
	}
	return c.alternates(farms)
}

func (c *capturer) alternates(farms []string) error {
	info := filepath.Join(c.scratch, "repo/objects/info")
	if err := os.MkdirAll(info, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(info, "alternates"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	for _, farm := range farms {
		fmt.Fprintln(f, farm)
	}
	return f.Close()
}

// farm makes an object directory in scratch that links to the regular files of
// a hostile one: a FIFO in there would make git wait for ever.
func (c *capturer) farm(objects string) (string, error) {
	farm, err := os.MkdirTemp(c.scratch, "objects-")
	if err != nil {
		return "", err
	}
	entries, err := c.list(objects)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		fan := len(e.Name()) == 2 && strings.Trim(e.Name(), "0123456789abcdef") == ""
		if !e.IsDir() || !fan && e.Name() != "pack" {
			continue
		}
		if err := c.linkFiles(path.Join(objects, e.Name()), filepath.Join(farm, e.Name())); err != nil {
			return "", err
		}
	}
	return farm, nil
}

// linkFiles links what git needs. Of packs that is the pack and its index:
// bitmaps and the like are hints that may lie.
func (c *capturer) linkFiles(from, to string) error {
	entries, err := c.list(from)
	if err != nil {
		return err
	}
	pack, regular := path.Base(from) == "pack", true
	for _, e := range entries {
		regular = regular && e.Type().IsRegular()
	}
	real := filepath.Join(c.dir, from)
	if regular && !pack {
		return os.Symlink(real, to)
	}
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	for _, e := range entries {
		kind := path.Ext(e.Name())
		if !e.Type().IsRegular() || pack && kind != ".pack" && kind != ".idx" {
			continue
		}
		if err := os.Symlink(filepath.Join(real, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
