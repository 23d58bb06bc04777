package workspace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Mountable is Inspect for a folder that an agent is to work in itself. Where it
// is a repository, its .git is a directory, which a mount can cover, and there is
// no other one below: a later start would find it elsewhere, had the agent moved
// the folder above it. What the operator's own git reads and runs must not lie
// where the agent writes.
func Mountable(ctx context.Context, dir string) (Info, error) {
	info, err := Inspect(ctx, dir)
	if err != nil {
		return Info{}, err
	}
	if err := mountable(ctx, info); err != nil {
		return Info{}, fmt.Errorf("cannot mount %s: %w", info.Root, err)
	}
	return info, nil
}

func mountable(ctx context.Context, info Info) error {
	if info.Git {
		if fi, err := os.Lstat(filepath.Join(info.Root, ".git")); err != nil || !fi.IsDir() {
			return errors.New("its .git is not a directory (a linked worktree, or a submodule)")
		}
		if err := ownGitStaysOut(ctx, info.Root); err != nil {
			return err
		}
	}
	return eachOf(ctx, info.Root, func(rel string, d fs.DirEntry) error {
		if strings.EqualFold(d.Name(), ".git") && rel != ".git" {
			return fmt.Errorf("there is another repository in it, %s", filepath.Dir(rel))
		}
		return nil
	})
}

// ownGitStaysOut refuses a repository whose configuration has the operator's git
// run hooks, or read settings, from where the agent writes.
func ownGitStaysOut(ctx context.Context, root string) error {
	// Whatever quiet says of hooks: this is about what the operator's own git does.
	g := trusted(root)
	g.args = nil
	out, err := g.out(ctx, "config", "--list", "--show-origin", "-z")
	if err != nil {
		return err
	}
	fields := zsplit(out)
	for i := 0; i+1 < len(fields); i += 2 {
		origin, setting := fields[i], fields[i+1]
		key, value, _ := strings.Cut(setting, "\n")
		if file, ok := strings.CutPrefix(origin, "file:"); ok && agents(root, file) {
			return fmt.Errorf("your git reads settings from %s, which the agent could write", file)
		}
		if key == "core.hookspath" && value != "" && agents(root, value) {
			return fmt.Errorf("your git runs hooks from %s (core.hooksPath), which the agent could write", value)
		}
	}
	return nil
}

// agents says whether an agent that works in root can write a path, or what it
// leads to.
func agents(root, path string) bool {
	if strings.HasPrefix(path, "~") {
		if home, err := os.UserHomeDir(); err == nil {
			path = filepath.Join(home, strings.TrimPrefix(path, "~"))
		}
	}
	path = from(root, path)
	paths := []string{path}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		paths = append(paths, real)
	}
	for _, p := range paths {
		if rel, err := filepath.Rel(root, p); err == nil && filepath.IsLocal(rel) && rel != ".git" && !strings.HasPrefix(rel, ".git/") {
			return true
		}
	}
	return false
}

// eachOf calls do for all below root but what is in its .git, and symlinks are
// what they are.
func eachOf(ctx context.Context, root string, do func(rel string, d fs.DirEntry) error) error {
	return filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, fs.ErrNotExist) && name != root:
			return nil // it vanished meanwhile
		case err != nil:
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		if err := do(rel, d); err != nil {
			return err
		}
		if rel == ".git" && d.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
}
