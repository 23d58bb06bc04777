package workspace

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// grab captures dir into a bundle file, which git says is one.
func grab(t testing.TB, dir string) (file string, warned []string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "work.bundle")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	err = Capture(testContext(t), dir, f, Limits{Temp: t.TempDir(), Warn: func(s string) { warned = append(warned, s) }})
	if err != nil {
		t.Fatal(err)
	}
	return file, warned
}

// fetch is the line that the operator is told, in his repository.
func fetch(t testing.TB, repo, file string) {
	t.Helper()
	run(t, repo, "-c", "transfer.fsckObjects=true", "fetch", "-q", "--no-tags", "--no-recurse-submodules", file, "refs/heads/*:refs/heads/bottle/web-a1b2/*")
}

// fetched fetches into a new repository and returns it.
func fetched(t testing.TB, file string) string {
	t.Helper()
	dir := t.TempDir()
	run(t, dir, "init", "-q", "--bare")
	run(t, dir, "bundle", "verify", "-q", file)
	fetch(t, dir, file)
	run(t, dir, "fsck", "--strict", "--full")
	return dir
}

func heads(t testing.TB, repo string) []string {
	return strings.Fields(run(t, repo, "for-each-ref", "--format=%(refname:lstrip=4)", "refs/heads/bottle/web-a1b2"))
}

func show(t testing.TB, repo, rev string) string {
	return run(t, repo, "show", "bottle/web-a1b2/"+rev)
}

func TestWorkComesBack(t *testing.T) {
	outside := newRepo(t)
	write(t, outside, "b", "changed before\n")
	inside, _ := carry(t, outside)
	run(t, inside, "checkout", "-qb", "feature/x")
	write(t, inside, "a", "agent\n")
	run(t, inside, "commit", "-qam", "the agent's")
	write(t, inside, "a", "not committed\n")
	write(t, inside, "new/file", "untracked\n")
	write(t, inside, "staged", "staged\n")
	write(t, inside, "x.log", "ignored\n")
	write(t, inside, "forced.log", "tracked though ignored\n")
	run(t, inside, "add", "staged")
	run(t, inside, "add", "-f", "forced.log")
	os.Remove(filepath.Join(inside, "c"))
	os.Chmod(filepath.Join(inside, "readme"), 0o755)
	before := run(t, inside, "status", "--porcelain=v2")

	file, warned := grab(t, inside)
	if len(warned) > 0 {
		t.Errorf("warned: %q", warned)
	}
	if after := run(t, inside, "status", "--porcelain=v2"); after != before {
		t.Errorf("the capture changed the work:\n%s", after)
	}
	fetch(t, outside, file)
	if got := strings.Join(heads(t, outside), " "); got != "feature/x main wip work" {
		t.Errorf("the heads are %s", got)
	}
	if got := show(t, outside, "work:a"); got != "agent" {
		t.Errorf("work has %q", got)
	}
	want := "M\ta\nD\tc\nA\tforced.log\nA\tnew/file\nM\treadme\nA\tstaged"
	if got := run(t, outside, "diff", "--name-status", "bottle/web-a1b2/work", "bottle/web-a1b2/wip"); got != want {
		t.Errorf("the rest is\n%s", got)
	}
	if got := run(t, outside, "rev-parse", "bottle/web-a1b2/wip^"); got != run(t, inside, "rev-parse", "HEAD") {
		t.Error("wip does not stand on work")
	}
	fetched(t, file)
	clone := filepath.Join(t.TempDir(), "clone")
	run(t, outside, "clone", "-q", file, clone)
}

func TestNothingChangedIsAValidBundle(t *testing.T) {
	outside := newRepo(t)
	inside, _ := carry(t, outside)
	file, _ := grab(t, inside)
	repo := fetched(t, file)
	if got := strings.Join(heads(t, repo), " "); got != "main wip work" {
		t.Errorf("the heads are %s", got)
	}
	if run(t, repo, "rev-parse", "bottle/web-a1b2/wip") != run(t, outside, "rev-parse", "HEAD") {
		t.Error("there is a commit of nothing")
	}
}

func TestNothingIsToldApart(t *testing.T) {
	for name, prepare := range map[string]func(dir string){
		"empty":              func(string) {},
		"no commit, no file": func(dir string) { run(t, dir, "init", "-q") },
		"empty folders":      func(dir string) { os.MkdirAll(filepath.Join(dir, "a/b"), 0o755) },
	} {
		dir := t.TempDir()
		prepare(dir)
		if err := Capture(testContext(t), dir, &bytes.Buffer{}, Limits{}); !errors.Is(err, ErrNothing) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStatesOfTheWork(t *testing.T) {
	for name, c := range map[string]struct {
		change func(dir string)
		heads  string
		wip    string // files in wip
	}{
		"no commit yet":     {func(dir string) { os.RemoveAll(dir + "/.git"); run(t, dir, "init", "-q") }, "wip", "a"},
		"no repository":     {func(dir string) { os.RemoveAll(dir + "/.git") }, "wip", "a"},
		"broken repository": {func(dir string) { os.RemoveAll(dir + "/.git/objects") }, "wip", "a"},
		"broken HEAD":       {func(dir string) { write(t, dir, ".git/HEAD", "ref: refs/heads/"); write(t, dir, "n", "") }, "main wip", "a n"},
		"broken index":      {func(dir string) { write(t, dir, ".git/index", "DIRC?"); write(t, dir, "n", "") }, "main wip work", "a n"},
		"no index":          {func(dir string) { os.Remove(dir + "/.git/index"); write(t, dir, "n", "") }, "main wip work", "a n"},
		"all deleted":       {func(dir string) { run(t, dir, "rm", "-q", "a") }, "main wip work", ""},
		"detached": {func(dir string) {
			run(t, dir, "checkout", "-q", "--detach")
			run(t, dir, "commit", "-q", "--allow-empty", "-m", "x")
		}, "main wip work", "a"},
		"their own names": {func(dir string) {
			for _, b := range []string{"work", "wip/x", "WORK-1", "sub/x"} {
				run(t, dir, "checkout", "-qb", b)
				run(t, dir, "commit", "-q", "--allow-empty", "-m", b)
			}
			run(t, dir, "checkout", "-q", "main")
		}, "WORK-1 main sub/x wip wip-x-1 work work-2", "a"},
		"stash": {func(dir string) { write(t, dir, "a", "stashed"); run(t, dir, "stash", "-q") }, "main stash wip work", "a"},
		"conflict": {func(dir string) {
			run(t, dir, "checkout", "-qb", "other")
			write(t, dir, "a", "other\n")
			run(t, dir, "commit", "-qam", "other")
			run(t, dir, "checkout", "-q", "main")
			write(t, dir, "a", "main\n")
			run(t, dir, "commit", "-qam", "main")
			tryRun(dir, "merge", "other")
		}, "main other wip work", "a"},
		"directory and file change places": {func(dir string) { os.Remove(dir + "/a"); write(t, dir, "a/b", "x") }, "main wip work", "a/b"},
		"packed":                           {func(dir string) { run(t, dir, "gc", "-q"); run(t, dir, "pack-refs", "--all"); write(t, dir, "n", "") }, "main wip work", "a n"},
		"intent to add":                    {func(dir string) { write(t, dir, "n", "x"); run(t, dir, "add", "-N", "n") }, "main wip work", "a n"},
		"missing branch":                   {func(dir string) { write(t, dir, ".git/refs/heads/gone", strings.Repeat("1", 40)) }, "main wip work", "a"},
		"strange files": {func(dir string) {
			for _, n := range []string{"-x", "\"q\"", "back\\slash", "nl\nnl", ".GIT", "git~1", ".git ", "tab\t"} {
				write(t, dir, n, "x")
			}
		}, "main wip work", `"\"q\"" -x a "back\\slash" "nl\nnl" "tab\t"`},
		"strange refs": {func(dir string) {
			head := run(t, dir, "rev-parse", "HEAD")
			for _, n := range []string{"$(touch canary)", "ü", "a\x9bb", "\u202e", "x.lock", "..", "-f"} {
				os.WriteFile(dir+"/.git/refs/heads/"+n, []byte(head), 0o644)
			}
		}, "%E2%80%AE -f a%9Bb main wip work ü", "a"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			run(t, dir, "init", "-q")
			write(t, dir, "a", "a\n")
			run(t, dir, "add", "a")
			run(t, dir, "commit", "-qm", "first")
			c.change(dir)
			file, _ := grab(t, dir)
			repo := fetched(t, file)
			if got := strings.Join(heads(t, repo), " "); got != c.heads {
				t.Errorf("the heads are %s, not %s", got, c.heads)
			}
			files := run(t, repo, "ls-tree", "-r", "--name-only", "bottle/web-a1b2/wip")
			if got := strings.ReplaceAll(files, "\n", " "); got != c.wip {
				t.Errorf("wip has %s, not %s", got, c.wip)
			}
		})
	}
}

// TestNothingOfTheTreeRuns plants every way that git has of running a program.
func TestNothingOfTheTreeRuns(t *testing.T) {
	canary := filepath.Join(t.TempDir(), "canary")
	touch := "touch " + canary
	plant := func(dir string) {
		for _, h := range []string{"pre-commit", "post-commit", "post-index-change", "reference-transaction", "post-checkout", "pre-auto-gc", "fsmonitor-watchman"} {
			write(t, dir, ".git/hooks/"+h, "#!/bin/sh\n"+touch+"\n")
			os.Chmod(filepath.Join(dir, ".git/hooks", h), 0o755)
		}
		for k, v := range map[string]string{
			"core.fsmonitor": touch, "core.hooksPath": filepath.Join(dir, ".git/hooks"), "core.sshCommand": touch, "core.editor": touch,
			"core.pager": touch, "core.askPass": touch, "core.gitProxy": touch, "core.alternateRefsCommand": touch,
			"filter.evil.clean": touch, "filter.evil.smudge": touch, "filter.evil.process": touch, "filter.evil.required": "true",
			"filter.lfs.clean": touch, "filter.lfs.process": touch, "diff.evil.textconv": touch, "diff.evil.command": touch,
			"diff.external": touch, "merge.evil.driver": touch, "gpg.program": touch, "commit.gpgSign": "true", "credential.helper": "!" + touch,
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
	dir := newRepo(t)
	inner := filepath.Join(dir, "inner")
	run(t, dir, "clone", "-q", newRepo(t), inner)
	plant(inner)
	plant(dir)
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

// TestTrapsDoNotStopACapture: each of these makes some git wait or fail.
func TestTrapsDoNotStopACapture(t *testing.T) {
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
		"inner git is a FIFO":       func(t *testing.T, dir string) { fifo(t, dir, "inner/.git"); write(t, dir, "inner/x", "x") },
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
			t.Logf("heads: %q, warned: %q", heads(t, repo), warned)
		})
	}
}

func TestLimitsHold(t *testing.T) {
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
