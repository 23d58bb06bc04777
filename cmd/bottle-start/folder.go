package main

import (
	"context"
	"os"
	"path/filepath"

	"bottle/pkg/cli"
	"bottle/pkg/lifecycle"
	"bottle/pkg/manifest"
	"bottle/pkg/workspace"
)

// takeFolder makes the current folder, or the repository that it is in, the
// workspace, as --workspace says.
func takeFolder(ctx context.Context, spec *lifecycle.Spec, bottleHome string) error {
	if spec.Workspace == lifecycle.WorkspaceNone {
		return nil
	}
	info, err := workspace.Inspect(ctx, ".")
	if err != nil {
		return cli.Error{Code: cli.Failed, Msg: err.Error(), Hint: elsewhere}
	}
	if err := worthHanding(info.Root, bottleHome); err != nil {
		return err
	}
	if spec.Workspace == lifecycle.WorkspaceMount {
		if info, err = workspace.Mountable(ctx, "."); err != nil {
			return cli.Error{Code: cli.Failed, Msg: err.Error(), Hint: "give --workspace copy: the agent works on a copy, and its commits come back by git"}
		}
	}
	if info.Git && len(spec.Manifest.Git.Remotes) == 0 { // then it has a gate all the same
		spec.Manifest.Git.Remotes = []manifest.Remote{manifest.Kept(manifest.DefaultRemote)}
	}
	spec.Folder = filepath.Join(info.Root, filepath.FromSlash(info.Subdir))
	if spec.Workspace == lifecycle.WorkspaceMount {
		spec.Folder, spec.Mount = info.Root, info
	}
	return nil
}

const elsewhere = "cd into a project, or give --workspace none"

// worthHanding refuses folders that nobody means to hand to an agent. folder is
// free of symlinks.
func worthHanding(folder, bottleHome string) error {
	home, _ := os.UserHomeDir()
	home, bottleHome = realPath(home), realPath(bottleHome)
	refused := func(why string) error {
		return cli.Error{Code: cli.Usage, Msg: "the workspace " + why, Hint: elsewhere}
	}
	switch {
	case folder == "/":
		return refused("is /: all of this machine")
	case folder == home:
		return refused("is your home, with its keys and passwords")
	case holds(folder, home):
		return refused("holds your home, with its keys and passwords")
	case holds(folder, bottleHome) || holds(folder, realPath(filepath.Join(bottleHome, "state"))):
		return refused("holds $BOTTLE_HOME, with every bottle's keys")
	case holds(bottleHome, folder):
		return refused("lies in $BOTTLE_HOME, with every bottle's keys and policy")
	}
	return nil
}

// realPath is where a path leads, or the path.
func realPath(path string) string {
	if to, err := filepath.EvalSymlinks(path); err == nil {
		return to
	}
	return path
}

// holds says whether path is dir, or below it.
func holds(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}
