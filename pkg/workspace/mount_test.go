package workspace

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhatCanBeMounted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(t *testing.T, dir string)
		want   string
	}{
		"a repository":        {func(t *testing.T, dir string) {}, ""},
		"hooks elsewhere":     {func(t *testing.T, dir string) { run(t, dir, "config", "core.hooksPath", "/usr/share/hooks") }, ""},
		"hooks in .git":       {func(t *testing.T, dir string) { run(t, dir, "config", "core.hooksPath", ".git/hooks") }, ""},
		"hooks in the folder": {func(t *testing.T, dir string) { run(t, dir, "config", "core.hooksPath", ".husky") }, "hooks from .husky"},
		"hooks by its path":   {func(t *testing.T, dir string) { run(t, dir, "config", "core.hooksPath", dir+"/x") }, "hooks from"},
		"settings of its own": {func(t *testing.T, dir string) {
			write(t, dir, ".gitconfig", "[user]\n\tname = x\n")
			run(t, dir, "config", "include.path", "../.gitconfig")
		}, "reads settings from"},
		"settings that are yet to come": {func(t *testing.T, dir string) { run(t, dir, "config", "include.path", "../.gitconfig") }, "reads settings from ../.gitconfig"},
		"settings on a condition":       {func(t *testing.T, dir string) { run(t, dir, "config", "includeIf.onbranch:x.path", "../x.config") }, "reads settings from"},
		"settings in .git":              {func(t *testing.T, dir string) { run(t, dir, "config", "include.path", "more") }, ""},
		"a filter in the folder":        {func(t *testing.T, dir string) { run(t, dir, "config", "filter.x.clean", "./tools/clean %f") }, "runs ./tools/clean (filter.x.clean)"},
		"a script for a filter": {func(t *testing.T, dir string) {
			write(t, dir, "clean.py", "")
			run(t, dir, "config", "filter.x.clean", "python3 'clean.py' %f")
		}, "runs clean.py"},
		"commands elsewhere": {func(t *testing.T, dir string) {
			write(t, dir, "log/README", "")
			run(t, dir, "config", "alias.l", "log --format=%h/%s -- log/README")
			run(t, dir, "config", "alias.m", "!git log --format=%h/%s log")
			run(t, dir, "config", "credential.helper", "store --file ~/.credentials")
			run(t, dir, "config", "core.fsmonitor", "true")
			run(t, dir, "config", "remote.origin.url", "log/README")
		}, ""},
		"an alias in the folder": {func(t *testing.T, dir string) {
			write(t, dir, "tools/x", "")
			run(t, dir, "config", "alias.x", "!sh tools/x")
		}, "runs tools/x (alias.x)"},
		"a hook that is a symlink": {func(t *testing.T, dir string) {
			if err := errors.Join(os.MkdirAll(dir+"/.git/hooks", 0o755), os.Symlink("../../tools/hook", dir+"/.git/hooks/pre-commit")); err != nil {
				t.Fatal(err)
			}
		}, ".git/hooks/pre-commit is a symlink to ../../tools/hook"},
		"a submodule that is not here": {func(t *testing.T, dir string) {
			run(t, dir, "update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("12", 20)+",sub/module")
		}, "it has a submodule, sub/module"},
		"who listens there": {func(t *testing.T, dir string) {
			l, err := net.Listen("unix", dir+"/control")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
		}, "a socket in it, control"},
		"another below":         {func(t *testing.T, dir string) { run(t, dir, "init", "-q", "sub/other") }, "another repository in it, sub/other"},
		"a worktree's file":     {func(t *testing.T, dir string) { write(t, dir, "sub/.git", "gitdir: /nowhere\n") }, "another repository in it, sub"},
		"one of another system": {func(t *testing.T, dir string) { write(t, dir, "sub/.GIT/config", "") }, "another repository in it, sub"},
		"hooks by a symlink": {func(t *testing.T, dir string) {
			link := filepath.Join(t.TempDir(), "hooks")
			write(t, dir, "hooks/x", "")
			if err := os.Symlink(dir+"/hooks", link); err != nil {
				t.Fatal(err)
			}
			run(t, dir, "config", "core.hooksPath", link)
		}, "hooks from"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			run(t, dir, "init", "-q")
			c.change(t, dir)
			info, err := Mountable(t.Context(), dir)
			if c.want == "" {
				if err != nil || !info.Git {
					t.Errorf("%+v, %v", info, err)
				}
			} else if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
	dir := t.TempDir()
	run(t, dir, "init", "-q")
	run(t, dir, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x")
	linked := filepath.Join(t.TempDir(), "linked")
	run(t, dir, "worktree", "add", "-q", linked)
	if _, err := Mountable(t.Context(), linked); err == nil || !strings.Contains(err.Error(), "linked worktree") {
		t.Errorf("%v", err)
	}
}

func TestARepositoryIsMadeForFilesThatAreThere(t *testing.T) {
	t.Parallel()
	host := newRepo(t)
	for _, name := range []string{"same", "changed", "gone"} {
		write(t, host, name, "1")
	}
	run(t, host, "add", ".")
	run(t, host, "commit", "-q", "-m", "first")
	write(t, host, "changed", "2")
	write(t, host, "new", "1")
	if err := os.Remove(filepath.Join(host, "gone")); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := Pack(t.Context(), host, &b, Options{InPlace: true}); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b.Bytes(), []byte("tree/")) {
		t.Error("there are files in the stream")
	}
	inside := t.TempDir()
	if out, err := exec.Command("cp", "-a", host+"/.", inside).CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	if err := os.RemoveAll(filepath.Join(inside, ".git")); err != nil {
		t.Fatal(err)
	}
	if err := Unpack(t.Context(), bytes.NewReader(b.Bytes()), inside); err == nil {
		t.Error("a folder without an empty .git was taken")
	}
	if err := os.Mkdir(filepath.Join(inside, ".git"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Unpack(t.Context(), bytes.NewReader(b.Bytes()), inside); err != nil {
		t.Fatal(err)
	}
	sameStatus(t, host, inside)
	if err := Unpack(t.Context(), bytes.NewReader(b.Bytes()), inside); err == nil {
		t.Error("a repository was written over")
	}
}
