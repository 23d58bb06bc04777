package workspace

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// plant puts every way that git has of running a program into a repository.
func plant(t *testing.T, dir, touch string) {
	program := filepath.Join(t.TempDir(), "program") // where no arguments are taken
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"+touch+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, h := range []string{"pre-commit", "post-commit", "post-index-change", "reference-transaction", "post-checkout", "pre-auto-gc", "fsmonitor-watchman"} {
		write(t, dir, ".git/hooks/"+h, "#!/bin/sh\n"+touch+"\n")
		os.Chmod(filepath.Join(dir, ".git/hooks", h), 0o755)
	}
	for k, v := range map[string]string{
		"core.fsmonitor": touch, "core.hooksPath": filepath.Join(dir, ".git/hooks"), "core.sshCommand": touch, "core.editor": touch,
		"core.pager": touch, "core.askPass": touch, "core.gitProxy": touch, "core.alternateRefsCommand": touch,
		"filter.evil.clean": touch, "filter.evil.smudge": touch, "filter.evil.process": touch, "filter.evil.required": "true",
		"filter.lfs.clean": touch, "filter.lfs.process": touch, "diff.evil.textconv": touch, "diff.evil.command": touch,
		"diff.external": touch, "merge.evil.driver": touch, "gpg.program": program, "commit.gpgSign": "true", "credential.helper": "!" + touch,
		"uploadpack.packObjectsHook": touch, "include.path": filepath.Join(dir, "included"), "alias.ls-files": "!" + touch,
		"remote.origin.url": "ext::" + touch, "remote.origin.promisor": "true", "extensions.partialClone": "origin",
		"core.attributesFile": filepath.Join(dir, "attrs"), "core.worktree": "/", "core.excludesFile": filepath.Join(dir, "all"),
	} {
		run(t, dir, "config", "-f", ".git/config", k, v)
	}
	write(t, dir, "included", "[core]\n\tfsmonitor = "+touch+"\n")
	write(t, dir, "all", "*\n")
	write(t, dir, ".gitattributes", "* filter=evil diff=evil merge=evil\n*.bin filter=lfs\n")
	write(t, dir, "attrs", "* filter=evil\n")
	write(t, dir, "x.bin", "x\n")
	write(t, dir, "new", "x\n")
}

func TestNothingOfTheTreeRunsInACapture(t *testing.T) {
	t.Parallel()
	canary := filepath.Join(t.TempDir(), "canary")
	touch := "touch " + canary
	dir := newRepo(t)
	inner := filepath.Join(dir, "inner")
	run(t, dir, "clone", "-q", newRepo(t), inner)
	plant(t, inner, touch)
	plant(t, dir, touch)
	outside := newRepo(t)
	run(t, outside, "commit", "-q", "--allow-empty", "-m", "nobody else's")
	secret := run(t, outside, "rev-parse", "HEAD")
	write(t, dir, ".git/objects/info/alternates", outside+"/.git/objects\n")
	write(t, dir, ".git/refs/heads/stolen", secret+"\n")
	symlink(t, outside+"/.git/refs/heads/main", dir, ".git/refs/heads/linked")
	symlink(t, outside+"/.git/refs/heads", dir, ".git/refs/heads/dir")
	syscall.Mkfifo(filepath.Join(dir, ".git/refs/heads/fifo"), 0o644)
	syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o644)
	symlink(t, "/etc/passwd", dir, "passwd")
	symlink(t, "/etc", dir, "etc")

	file, _ := grab(t, dir)
	if _, err := os.Stat(canary); err == nil {
		t.Error("something of the tree ran")
	}
	repo := fetched(t, file)
	if got := strings.Join(heads(t, repo), " "); got != "main sub/inner/main sub/inner/wip sub/inner/work wip work" {
		t.Errorf("the heads are %s", got)
	}
	if out, err := tryRun(repo, "cat-file", "-e", secret); err == nil {
		t.Errorf("an alternate was followed: %s", out)
	}
	if got := show(t, repo, "wip:passwd"); got != "/etc/passwd" {
		t.Errorf("a symlink was followed: %q", got)
	}
	if got := show(t, repo, "wip:x.bin") + show(t, repo, "sub/inner/wip:new"); got != "xx" {
		t.Errorf("the files hold %q", got)
	}
}

func TestNothingOfTheTreeRunsOnTheHost(t *testing.T) {
	t.Parallel()
	canary := filepath.Join(t.TempDir(), "canary")
	dir := newRepo(t)
	inner := filepath.Join(dir, "inner")
	run(t, dir, "clone", "-q", newRepo(t), inner)
	for _, d := range []string{inner, dir} {
		plant(t, d, "touch "+canary)
		// The operator's own word: where the files are, and what is no work.
		run(t, d, "config", "-f", ".git/config", "--unset", "core.worktree")
		run(t, d, "config", "-f", ".git/config", "--unset", "core.excludesFile")
		write(t, d, "a", "modified\n")
		write(t, d, "empty", "")
		// A detached HEAD, signed: its reflog is read.
		signed := evil(t, d, "commit", "tree "+run(t, d, "rev-parse", "HEAD^{tree}")+"\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n"+
			"gpgsig -----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----\n\nx\n")
		run(t, d, "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "update-ref", "--no-deref", "-m", switching+"x to y", "HEAD", signed)
		run(t, d, "config", "-f", ".git/config", "log.showSignature", "true")
	}
	if _, err := os.Stat(canary); err == nil {
		t.Fatal("something ran too early")
	}
	var stream bytes.Buffer
	info, err := Pack(testContext(t), dir, &stream, Options{})
	if err != nil || info.Repos != 2 {
		t.Error(info, err)
	}
	if _, err := os.Stat(canary); err == nil {
		t.Error("something of the tree ran")
	}
	inside := t.TempDir()
	if err := Unpack(testContext(t), &stream, inside); err != nil {
		t.Fatal(err)
	}
	run(t, inside, "status")
	run(t, inside, "add", "--all", "--", ":!inner")
	run(t, inside, "commit", "-qm", "x")
	if _, err := os.Stat(canary); err == nil {
		t.Error("something came along and ran")
	}
	// The trap works: git without our care springs it.
	tryRun(dir, "status")
	if _, err := os.Stat(canary); err != nil {
		t.Error("git status ran nothing: this test shows nothing")
	}
}

// TestTrapsDoNotStopACapture: each of these makes some git wait or fail.
func TestTrapsDoNotStopACapture(t *testing.T) {
	t.Parallel()
	fifo := func(t *testing.T, dir, name string) {
		os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755)
		os.Remove(filepath.Join(dir, name))
		if err := syscall.Mkfifo(filepath.Join(dir, name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	inner := func(t *testing.T, dir string) { run(t, dir, "clone", "-q", dir, filepath.Join(dir, "inner")) }
	for name, plant := range map[string]func(t *testing.T, dir string){
		"gitignore is a FIFO":      func(t *testing.T, dir string) { fifo(t, dir, "d/.gitignore") },
		"gitattributes is a FIFO":  func(t *testing.T, dir string) { fifo(t, dir, ".gitattributes") },
		"gitmodules is a FIFO":     func(t *testing.T, dir string) { module(t, dir, "lib"); fifo(t, dir, ".gitmodules") },
		"a tracked file is a FIFO": func(t *testing.T, dir string) { fifo(t, dir, "a") },
		"symlinks in a circle": func(t *testing.T, dir string) {
			symlink(t, "y", dir, "x")
			symlink(t, "x", dir, "y")
			symlink(t, ".", dir, "z")
		},
		"a tree that unfolds without end": func(t *testing.T, dir string) {
			run(t, dir, "update-ref", "refs/heads/bomb", unfolding(t, dir, 8))
		},
		"gitignore is a directory": func(t *testing.T, dir string) { write(t, dir, "z/.gitignore/x", "x") },
		"HEAD is a FIFO":           func(t *testing.T, dir string) { fifo(t, dir, ".git/HEAD") },
		"index is a FIFO":          func(t *testing.T, dir string) { fifo(t, dir, ".git/index") },
		"config is a FIFO":         func(t *testing.T, dir string) { fifo(t, dir, ".git/config") },
		"packed-refs is a FIFO":    func(t *testing.T, dir string) { fifo(t, dir, ".git/packed-refs") },
		"a pack is a FIFO": func(t *testing.T, dir string) {
			fifo(t, dir, ".git/objects/pack/pack-1.idx")
			fifo(t, dir, ".git/objects/pack/pack-1.pack")
		},
		"inner HEAD is a FIFO":      func(t *testing.T, dir string) { inner(t, dir); fifo(t, dir, "inner/.git/HEAD") },
		"inner ref is a FIFO":       func(t *testing.T, dir string) { inner(t, dir); fifo(t, dir, "inner/.git/refs/heads/main") },
		"inner commondir is a FIFO": func(t *testing.T, dir string) { inner(t, dir); fifo(t, dir, "inner/.git/commondir") },
		"inner git is elsewhere, with a FIFO": func(t *testing.T, dir string) {
			inner(t, dir)
			os.Rename(dir+"/inner/.git", dir+"/meta")
			write(t, dir, "inner/.git", "gitdir: ../meta\n")
			fifo(t, dir, "meta/commondir")
		},
		"inner git is elsewhere, with a FIFO further on": func(t *testing.T, dir string) {
			inner(t, dir)
			os.Rename(dir+"/inner/.git", dir+"/common")
			for _, name := range []string{"HEAD", "commondir"} {
				write(t, dir, "meta/"+name, map[string]string{"HEAD": "ref: refs/heads/main\n", "commondir": "../common\n"}[name])
			}
			write(t, dir, "inner/.git", "gitdir: ../meta\n")
			fifo(t, dir, "common/packed-refs")
			fifo(t, dir, "common/refs/heads/main")
		},
		"gitignore is endless": func(t *testing.T, dir string) {
			write(t, dir, "z/.gitignore", "")
			os.Truncate(dir+"/z/.gitignore", maxRules+1)
		},
		"inner git is a FIFO": func(t *testing.T, dir string) { fifo(t, dir, "inner/.git"); write(t, dir, "inner/x", "x") },
		"inner git is a symlink": func(t *testing.T, dir string) {
			inner(t, dir)
			os.Rename(dir+"/inner/.git", dir+"/real")
			symlink(t, "../real", dir, "inner/.git")
		},
		"inner git leads out": func(t *testing.T, dir string) {
			write(t, dir, "inner/.git", "gitdir: "+newRepo(t)+"/.git\n")
			write(t, dir, "inner/x", "x")
		},
		"git is a symlink": func(t *testing.T, dir string) {
			os.RemoveAll(dir + "/.git")
			symlink(t, newRepo(t)+"/.git", dir, ".git")
		},
		"git leads out": func(t *testing.T, dir string) {
			os.RemoveAll(dir + "/.git")
			write(t, dir, ".git", "gitdir: "+newRepo(t)+"/.git")
		},
		"encoding that is none": func(t *testing.T, dir string) { write(t, dir, ".gitattributes", "* working-tree-encoding\n") },
		"encoding that fails": func(t *testing.T, dir string) {
			write(t, dir, ".gitattributes", "* text working-tree-encoding=UTF-16\n")
		},
		"inner repository, no commit": func(t *testing.T, dir string) {
			os.Mkdir(dir+"/inner", 0o755)
			run(t, dir+"/inner", "init", "-q")
			write(t, dir, "inner/x", "x")
		},
		"config that is none":    func(t *testing.T, dir string) { write(t, dir, ".git/config", "[[[") },
		"commit-graph that lies": func(t *testing.T, dir string) { write(t, dir, ".git/objects/info/commit-graph", "CGPH nonsense") },
		"index names what is missing": func(t *testing.T, dir string) {
			run(t, dir, "update-index", "--add", "--cacheinfo", "100644,"+strings.Repeat("1", 40)+",ghost")
		},
		"deep nesting": func(t *testing.T, dir string) {
			deep, name := dir, strings.Repeat("n", 200)
			for range 30 {
				deep += "/" + name
				if os.Mkdir(deep, 0o755) != nil {
					break
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := newRepo(t)
			write(t, dir, "new", "kept\n")
			plant(t, dir)
			file, warned := grab(t, dir)
			repo := fetched(t, file)
			if got := show(t, repo, "wip:new"); got != "kept" {
				t.Errorf("wip has %q", got)
			}
			if got := show(t, repo, "wip:d/g/h"); got != strings.TrimSuffix(strings.Repeat("d/g/h line\n", 20), "\n") {
				t.Errorf("wip has %q", got)
			}
			if name == "gitignore is endless" && !strings.Contains(strings.Join(warned, "\n"), "mislead") {
				t.Error("git had to read it")
			}
			t.Logf("heads: %q, warned: %q", heads(t, repo), warned)
		})
	}
}

// unfolding makes a commit of 10^depth files out of a few trees.
func unfolding(t *testing.T, dir string, depth int) string {
	tree := run(t, dir, "rev-parse", "HEAD:d/g")
	for range depth {
		var in strings.Builder
		for i := range 10 {
			fmt.Fprintf(&in, "040000 tree %s\t%d\n", tree, i)
		}
		cmd := exec.Command("git", "mktree")
		cmd.Dir, cmd.Stdin = dir, strings.NewReader(in.String())
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		tree = strings.TrimSpace(string(out))
	}
	return run(t, dir, "commit-tree", "-m", "x", tree)
}

// TestEndlessHeadIsTooMuch: git would hold every path in memory.
func TestEndlessHeadIsTooMuch(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	run(t, dir, "update-ref", "HEAD", unfolding(t, dir, 8))
	if err := Capture(testContext(t), dir, &bytes.Buffer{}, Limits{Files: 100_000}); !errors.Is(err, ErrTooMuch) {
		t.Error(err)
	}
}

func TestLimitsHold(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	noise := make([]byte, 20_000)
	rand.Read(noise)
	write(t, dir, "noise", string(noise))
	run(t, dir, "add", "noise")
	run(t, dir, "commit", "-qm", "noise")
	run(t, dir, "rm", "-q", "noise")
	for name, l := range map[string]Limits{"bytes": {Bytes: 100}, "bundle": {Bytes: 10_000}, "files": {Files: 5}} {
		if err := Capture(testContext(t), dir, &bytes.Buffer{}, l); !errors.Is(err, ErrTooMuch) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
