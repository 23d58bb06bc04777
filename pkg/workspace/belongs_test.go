package workspace

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOtherRepositoriesStayOutside: what a folder's .git names must say itself
// that it belongs there, or be in the folder.
func TestOtherRepositoriesStayOutside(t *testing.T) {
	t.Parallel()
	for name, lead := range map[string]func(t *testing.T, dir, other string){
		"core.worktree": func(t *testing.T, dir, other string) { run(t, dir, "config", "core.worktree", other) },
		"core.worktree, a folder above": func(t *testing.T, dir, other string) {
			run(t, dir, "config", "core.worktree", filepath.Dir(dir))
		},
		"gitdir": func(t *testing.T, dir, other string) {
			os.RemoveAll(dir + "/.git")
			write(t, dir, ".git", "gitdir: "+other+"/.git\n")
		},
		"gitdir of a worktree": func(t *testing.T, dir, other string) {
			run(t, other, "worktree", "add", "-q", filepath.Join(t.TempDir(), "tree"))
			os.RemoveAll(dir + "/.git")
			write(t, dir, ".git", "gitdir: "+other+"/.git/worktrees/tree\n")
		},
		"symlink": func(t *testing.T, dir, other string) {
			os.RemoveAll(dir + "/.git")
			symlink(t, other+"/.git", dir, ".git")
		},
		"commondir": func(t *testing.T, dir, other string) { write(t, dir, ".git/commondir", other+"/.git\n") },
		"commondir of a made-up worktree": func(t *testing.T, dir, other string) {
			os.Rename(dir+"/.git", dir+"/meta")
			write(t, dir, "meta/commondir", other+"/.git\n")
			write(t, dir, "meta/gitdir", dir+"/.git\n")
			write(t, dir, ".git", "gitdir: meta\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, other := newRepo(t), newRepo(t)
			write(t, other, "secret", "s3cret")
			run(t, other, "add", ".")
			run(t, other, "commit", "-qm", "s3cret")
			around := t.TempDir()
			inner := filepath.Join(around, "inner")
			if err := os.Rename(dir, inner); err != nil {
				t.Fatal(err)
			}
			lead(t, inner, other)
			var stream bytes.Buffer
			if _, err := Pack(testContext(t), inner, &stream, Options{}); err == nil {
				t.Error("it was packed")
			} else {
				t.Log(err)
			}
			run(t, around, "init", "-q")
			var warned []string
			info, err := Pack(testContext(t), around, &stream, Options{Warn: func(s string) { warned = append(warned, s) }})
			if err != nil || info.Repos != 1 || len(warned) != 1 {
				t.Errorf("inside another: %+v, %v, %q", info, err, warned)
			}
		})
	}
}

func TestRepositoriesKeptElsewhereArePacked(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "tree")
	meta := filepath.Join(t.TempDir(), "meta")
	run(t, "/", "init", "-q", "--separate-git-dir="+meta, outside)
	write(t, outside, "a", "a\n")
	run(t, outside, "add", ".")
	run(t, outside, "commit", "-qm", "x")
	_, err := Inspect(testContext(t), outside)
	if err == nil || !strings.Contains(err.Error(), "git config core.worktree") {
		t.Fatal(err)
	}
	run(t, outside, "config", "core.worktree", outside) // as the error says
	// A submodule of a linked worktree is kept in the main repository.
	run(t, outside, "submodule", "--quiet", "add", newRepo(t), "lib")
	run(t, outside, "commit", "-qm", "lib")
	run(t, outside, "config", "--unset", "core.worktree")
	main := filepath.Join(t.TempDir(), "main")
	run(t, "/", "clone", "-q", outside, main)
	linked := filepath.Join(t.TempDir(), "linked")
	run(t, main, "worktree", "add", "-q", linked)
	run(t, linked, "submodule", "--quiet", "update", "--init")
	run(t, outside, "config", "core.worktree", outside)
	for _, dir := range []string{outside, linked, main, filepath.Join(linked, "lib")} {
		inside, warned := carry(t, dir)
		if len(warned) > 0 {
			t.Errorf("%s: %q", dir, warned)
		}
		if want, got := run(t, dir, "status", "--porcelain=v2"), run(t, inside, "status", "--porcelain=v2"); got != want {
			t.Errorf("the status of %s is\n%s\noutside it is\n%s", dir, got, want)
		}
	}
	if info, err := Inspect(testContext(t), filepath.Join(linked, "d")); err == nil {
		t.Errorf("a folder that is not there: %+v", info)
	}
}

func TestGitDirThatIsNoneIsPassedOver(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	os.MkdirAll(dir+"/d/.git", 0o755)
	info, err := Inspect(testContext(t), dir+"/d/g")
	if err != nil || info.Root != dir || info.Subdir != "d/g" {
		t.Errorf("%+v, %v", info, err)
	}
}

// TestOtherFilesStayOutside: a folder's configuration, and symlinks in its
// .git, could name any file that the operator may read.
func TestOtherFilesStayOutside(t *testing.T) {
	t.Parallel()
	victim := t.TempDir()
	write(t, victim, "key", "s3cret\n")
	key := filepath.Join(victim, "key")
	for name, lead := range map[string]func(t *testing.T, dir string){
		"core.excludesFile": func(t *testing.T, dir string) { run(t, dir, "config", "core.excludesFile", key) },
		"core.attributesFile": func(t *testing.T, dir string) {
			rel, _ := filepath.Rel(dir, key)
			run(t, dir, "config", "core.attributesFile", rel)
		},
		"included": func(t *testing.T, dir string) {
			write(t, dir, "more", "[core]\n\tattributesFile = "+key+"\n")
			run(t, dir, "config", "include.path", "../more")
		},
		"through a symlink": func(t *testing.T, dir string) {
			symlink(t, victim, dir, "to")
			run(t, dir, "config", "core.excludesFile", "to/key")
		},
		"exclude": func(t *testing.T, dir string) {
			os.Remove(dir + "/.git/info/exclude")
			symlink(t, key, dir, ".git/info/exclude")
		},
		"attributes": func(t *testing.T, dir string) { symlink(t, key, dir, ".git/info/attributes") },
		"MERGE_MSG":  func(t *testing.T, dir string) { symlink(t, key, dir, ".git/MERGE_MSG") },
	} {
		dir := newRepo(t)
		lead(t, dir)
		var stream bytes.Buffer
		_, err := Pack(testContext(t), dir, &stream, Options{})
		if text, _ := json.Marshal([]byte("s3cret\n")); bytes.Contains(stream.Bytes(), text[1:9]) || bytes.Contains(stream.Bytes(), []byte("s3cret")) {
			t.Errorf("%s: it came along (%v)", name, err)
		}
		t.Log(name, err)
	}
}
