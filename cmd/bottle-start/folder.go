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
	look, hint := workspace.Inspect, "cd into a project, or give --workspace none"
	switch spec.Workspace {
	case lifecycle.WorkspaceNone:
		return nil
	case lifecycle.WorkspaceMount:
		look, hint = workspace.Mountable, "give --workspace copy: the agent works on a copy, and its commits come back by git"
	}
	info, err := look(ctx, ".")
	if err != nil {
		return cli.Error{Code: cli.Failed, Msg: err.Error(), Hint: hint}
	}
	if err := worthHanding(info.Root, bottleHome); err != nil {
		return err
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

// worthHanding refuses folders that nobody means to hand to an agent.
func worthHanding(folder, bottleHome string) error {
	home, _ := os.UserHomeDir()
	hint := "cd into a project, or give --workspace none"
	if real, err := filepath.EvalSymlinks(home); err == nil {
		home = real
	}
	switch {
	case folder == "/":
		return cli.Error{Code: cli.Usage, Msg: "the workspace is /: all of this machine", Hint: hint}
	case home != "" && folder == home:
		return cli.Error{Code: cli.Usage, Msg: "the workspace is your home, with its keys and passwords", Hint: hint}
	}
	if rel, err := filepath.Rel(folder, bottleHome); err == nil && filepath.IsLocal(rel) {
		return cli.Error{Code: cli.Usage, Msg: "the workspace holds $BOTTLE_HOME, with every bottle's keys", Hint: hint}
	}
	return nil
}
