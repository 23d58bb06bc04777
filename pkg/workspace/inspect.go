package workspace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Info tells what Pack takes, and after Pack how much it was.
type Info struct {
	Root   string // the folder that becomes the workspace: absolute, no symlinks in it
	Subdir string // where the operator stands below Root, slash-separated; "" at the top
	Git    bool   // Root is the top of a git repository
	Files  int    // files, symlinks and directories sent
	Bytes  int64  // in those files
	Repos  int    // repositories, submodules included
}

// ErrBare is returned for a repository that has no files.
var ErrBare = errors.New("it is a bare repository, or inside a .git: there are no files to work on")

// Inspect says what Pack would take for the folder dir. Below the top of a
// repository that is the whole repository, unless the repository ignores the
// folder (a home directory under git, say): then it is the folder alone.
func Inspect(ctx context.Context, dir string) (Info, error) {
	top, err := filepath.Abs(dir)
	if err == nil {
		top, err = filepath.EvalSymlinks(top)
	}
	if err != nil {
		return Info{}, fmt.Errorf("cannot use %s as a workspace: %w", dir, err)
	}
	if fi, err := os.Stat(top); err != nil || !fi.IsDir() {
		return Info{}, fmt.Errorf("cannot use %s as a workspace: it is not a directory", dir)
	}
	info, err := inspect(ctx, top)
	if err != nil {
		return Info{}, fmt.Errorf("cannot use %s as a workspace: %w", dir, err)
	}
	return info, nil
}

func inspect(ctx context.Context, top string) (Info, error) {
	plain := Info{Root: top}
	if _, err := exec.LookPath("git"); err != nil {
		if above, ok := dotGitAbove(top); ok {
			return Info{}, fmt.Errorf("%s is a git repository, and git is not installed", above)
		}
		return plain, nil
	}
	g := trusted(top)
	kind, err := g.line(ctx, "rev-parse", "--is-bare-repository", "--is-inside-git-dir")
	if err != nil {
		var ge *gitError
		// Anything else, such as "dubious ownership", is for the operator to see.
		if errors.As(err, &ge) && strings.Contains(ge.Stderr, "not a git repository (or any") {
			return plain, nil
		}
		return Info{}, err
	}
	if kind != "false\nfalse" {
		return Info{}, ErrBare
	}
	root, err := rootOf(ctx, g, top)
	if err != nil {
		return Info{}, err
	}
	sub, err := filepath.Rel(root, top)
	if err != nil {
		return Info{}, err
	}
	if sub == "." {
		return Info{Root: root, Git: true}, nil
	}
	if ignored(ctx, g.in(root), sub) {
		return plain, nil
	}
	return Info{Root: root, Git: true, Subdir: filepath.ToSlash(sub)}, nil
}

// rootOf is the top of the repository's files: the folder, or one above it,
// whose .git is the repository's.
func rootOf(ctx context.Context, g git, top string) (string, error) {
	root, err := g.line(ctx, "rev-parse", "--show-toplevel")
	if err != nil {
		return "", err
	}
	if nearest, _ := dotGitAbove(top); root != nearest {
		// git passes over a .git that is none, and core.worktree may name any folder.
		here, err := g.dirs(ctx)
		if err != nil {
			return "", err
		}
		if there, err := g.in(root).dirs(ctx); err != nil || here != there || !isBelow(top, root) {
			return "", fmt.Errorf("its configuration (core.worktree) says that its files are in %s, which has no such repository", root)
		}
	}
	return root, belongs(ctx, g, root, root)
}

// ignored says whether the repository keeps nothing of its folder sub.
func ignored(ctx context.Context, g git, sub string) bool {
	// This subcommand knows no literal pathspecs, and takes paths as they are.
	if g.with("GIT_LITERAL_PATHSPECS=0").run(ctx, nil, nil, "check-ignore", "-q", "--", sub) != nil {
		return false
	}
	tracked, err := g.out(ctx, "ls-files", "-z", "--", sub)
	return err == nil && len(tracked) == 0
}

func dotGitAbove(dir string) (string, bool) {
	for {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return dir, true
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", false
		}
		dir = up
	}
}
