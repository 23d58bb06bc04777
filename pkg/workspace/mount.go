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
// where the agent writes, and nobody may listen there.
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
		if err := errors.Join(ownGitStaysOut(ctx, info.Root), noSubmodules(ctx, info.Root)); err != nil {
			return err
		}
	}
	return eachOf(ctx, info.Root, func(rel string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case rel == ".git":
			return passOver(d)
		case strings.EqualFold(d.Name(), ".git"):
			return fmt.Errorf("there is another repository in it, %s", filepath.Dir(rel))
		case d.Type()&fs.ModeSocket != 0:
			return fmt.Errorf("there is a socket in it, %s, by which the agent could speak to a program of yours: remove it", rel)
		}
		return nil
	})
}

// eachOf calls do for root and all below, and symlinks are what they are. Of a
// directory that cannot be read do hears a second time, with the error.
func eachOf(ctx context.Context, root string, do func(rel string, d fs.DirEntry, err error) error) error {
	return filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, fs.ErrNotExist) && name != root:
			return nil // it vanished meanwhile
		case d == nil:
			return err
		}
		rel, lost := filepath.Rel(root, name)
		if lost != nil {
			return lost
		}
		return do(rel, d, err)
	})
}

// passOver goes on behind a file or directory.
func passOver(d fs.DirEntry) error {
	if d.IsDir() {
		return fs.SkipDir
	}
	return nil
}
