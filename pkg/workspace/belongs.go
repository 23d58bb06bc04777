package workspace

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// dirs are where git keeps a repository: what is its own, and what it shares
// with other worktrees. Both without symlinks.
type dirs struct{ own, common string }

func (g git) dirs(ctx context.Context) (d dirs, err error) {
	if d.own, err = g.line(ctx, "rev-parse", "--absolute-git-dir"); err != nil {
		return d, err
	}
	if d.own, err = filepath.EvalSymlinks(d.own); err != nil {
		return d, err
	}
	if d.common, err = g.line(ctx, "rev-parse", "--git-common-dir"); err != nil {
		return d, err
	}
	d.common, err = filepath.EvalSymlinks(from(g.dir, d.common))
	return d, err
}

// belongs fails where the repository with its files at root is kept outside of
// the folder within, by somebody who does not say that it is root's. A folder
// that came from elsewhere could name any repository of this machine.
func belongs(ctx context.Context, g git, root, within string) error {
	d, err := g.dirs(ctx)
	if err != nil {
		return err
	}
	if isBelow(d.own, within) && isBelow(d.common, within) {
		return nil
	}
	// Written by git worktree add, and by git submodule.
	if linked := filepath.Dir(d.own); linked == filepath.Join(d.common, "worktrees") {
		text, err := os.ReadFile(filepath.Join(d.own, "gitdir"))
		if err == nil && same(from(d.own, strings.TrimSuffix(string(text), "\n")), filepath.Join(root, ".git")) {
			return nil
		}
	} else if d.own == d.common {
		if tree, err := g.line(ctx, "config", "--get", "core.worktree"); err == nil && same(from(d.own, tree), root) {
			return nil
		}
	}
	return fmt.Errorf("its .git leads to %s, which does not say that it belongs here; if it does: git config core.worktree %q", d.own, root)
}

func from(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// isBelow is for paths without symlinks.
func isBelow(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

func same(a, b string) bool {
	fa, err := os.Lstat(a)
	if err != nil {
		return false
	}
	fb, err := os.Lstat(b)
	return err == nil && os.SameFile(fa, fb)
}
