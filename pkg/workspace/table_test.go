package workspace

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The tests of this file are the kinds of repository with which a bundle and
// its files alone would go wrong.

// roundTrip works inside, captures and fetches into the operator's repository.
func roundTrip(t *testing.T, outside, inside string) (file string) {
	t.Helper()
	write(t, inside, "agent", "committed\n")
	run(t, inside, "add", "--sparse", "agent")
	run(t, inside, "commit", "-qm", "the agent's")
	write(t, inside, "agent", "not committed\n")
	file, _ = grab(t, inside)
	fetch(t, outside, file)
	if got := show(t, outside, "work:agent") + "+" + show(t, outside, "wip:agent"); got != "committed+not committed" {
		t.Errorf("what comes back is %q", got)
	}
	if got := run(t, outside, "diff", "--name-only", "bottle/web-a1b2/work^", "bottle/web-a1b2/wip"); got != "agent" {
		t.Errorf("what comes back changes %q", got)
	}
	run(t, outside, "fsck")
	return file
}

func TestShallowClone(t *testing.T) {
	t.Parallel()
	origin := newRepo(t)
	for i := range 5 {
		run(t, origin, "commit", "-q", "--allow-empty", "-m", fmt.Sprint(i))
	}
	outside := filepath.Join(t.TempDir(), "clone")
	run(t, origin, "clone", "-q", "--depth", "2", "file://"+origin, outside)
	run(t, outside, "remote", "set-head", "origin", "--delete")
	inside, _ := carry(t, outside)
	sameStatus(t, outside, inside)
	run(t, inside, "fsck", "--strict")
	before := read(t, outside, ".git/shallow")
	file := roundTrip(t, outside, inside)
	if read(t, outside, ".git/shallow") != before {
		t.Error("the operator's boundary moved")
	}
	fetch(t, origin, file) // has the whole history

	// An empty repository needs the boundary, which the bundle tells.
	empty := t.TempDir()
	run(t, empty, "init", "-q", "--bare")
	var ends string
	for line := range strings.Lines(run(t, empty, "bundle", "list-heads", file) + "\n") {
		if oid, ok := strings.CutPrefix(strings.TrimSpace(line)[40:], " refs/shallow/"); ok {
			ends += oid + "\n"
		}
	}
	write(t, empty, "shallow", ends)
	fetch(t, empty, file)
	run(t, empty, "fsck", "--strict")
}

func TestPartialClone(t *testing.T) {
	t.Parallel()
	for name, sparse := range map[string]bool{"whole": false, "sparse": true} {
		t.Run(name, func(t *testing.T) {
			origin := newRepo(t)
			write(t, origin, "a", "next\n")
			run(t, origin, "commit", "-qam", "third")
			run(t, origin, "config", "uploadpack.allowFilter", "true")
			run(t, origin, "config", "uploadpack.allowAnySHA1InWant", "true")
			outside := filepath.Join(t.TempDir(), "clone")
			args := []string{"clone", "-q", "--filter=blob:none", "file://" + origin, outside}
			if sparse {
				args = append(args, "--sparse")
			}
			run(t, origin, args...)
			// Gone: a fetch of what is missing would fail, and it must not be tried.
			os.Rename(origin, origin+"-gone")
			t.Cleanup(func() { os.Rename(origin+"-gone", origin) })
			write(t, outside, "b", "staged\n")
			run(t, outside, "add", "b")
			write(t, outside, "c", "modified\n")
			inside, warned := carry(t, outside)
			if len(warned) == 0 || !strings.Contains(warned[0], "partial clone") {
				t.Errorf("warned: %q", warned)
			}
			for _, args := range [][]string{{"status", "--porcelain=v2", "--branch"}, {"diff"}, {"rev-parse", "HEAD"}} {
				if want, got := run(t, outside, args...), run(t, inside, args...); want != got {
					t.Errorf("git %s inside says\n%s\noutside it says\n%s", args, got, want)
				}
			}
			if n := run(t, inside, "rev-list", "--count", "HEAD"); n != "1" {
				t.Errorf("%s commits came along", n)
			}
			run(t, outside, "reset", "-q", "--hard")
			run(t, inside, "reset", "-q", "--hard")
			head := run(t, outside, "rev-parse", "HEAD")
			unchanged, _ := grab(t, inside)
			fetch(t, outside, unchanged)
			if got := run(t, outside, "rev-parse", "bottle/web-a1b2/wip"); got != head {
				t.Errorf("without any work, wip is %s", got)
			}
			file := roundTrip(t, outside, inside)
			// With holes from the start the boundary is presumed, else included.
			text, _, _ := strings.Cut(read(t, filepath.Dir(file), filepath.Base(file)), "\n\n")
			if strings.Contains(text, "\n-"+head) != sparse || strings.Contains(text, "refs/shallow/"+head) == sparse {
				t.Errorf("the bundle begins with\n%s", text)
			}
		})
	}
}

func TestSubmodules(t *testing.T) {
	t.Parallel()
	lib, deep := newRepo(t), newRepo(t)
	run(t, lib, "submodule", "--quiet", "add", deep, "deep")
	run(t, lib, "commit", "-qm", "deep")
	outside := newRepo(t)
	for _, name := range []string{"lib", "other dir/lib", "unused"} {
		run(t, outside, "submodule", "--quiet", "add", lib, name)
	}
	run(t, outside, "commit", "-qm", "modules")
	run(t, outside, "submodule", "--quiet", "update", "--init", "--recursive", "lib", "other dir/lib")
	run(t, outside, "submodule", "--quiet", "deinit", "--force", "unused")
	write(t, outside, "lib/a", "modified\n")
	write(t, outside, "lib/deep/new", "untracked\n")
	run(t, outside+"/other dir/lib", "commit", "-q", "--allow-empty", "-m", "ahead")
	for _, sub := range []string{"lib", "lib/deep", "other dir/lib"} {
		run(t, filepath.Join(outside, sub), "remote", "set-head", "origin", "--delete")
	}
	inside, _ := carry(t, outside)
	for _, sub := range []string{".", "lib", "lib/deep", "other dir/lib"} {
		sameStatus(t, filepath.Join(outside, sub), filepath.Join(inside, sub))
	}
	if want, got := run(t, outside, "submodule", "status", "--recursive"), run(t, inside, "submodule", "status", "--recursive"); moduleIDs(want) != moduleIDs(got) {
		t.Errorf("git submodule status inside says\n%s\noutside it says\n%s", got, want)
	}

	write(t, inside, "lib/deep/new", "the agent's\n")
	run(t, inside+"/lib", "commit", "-qam", "the agent's")
	file, _ := grab(t, inside)
	fetch(t, outside, file)
	if got := show(t, outside, "sub/lib/deep/wip:new") + "+" + show(t, outside, "sub/lib/work:a"); got != "the agent's+modified" {
		t.Errorf("what comes back is %q", got)
	}
	if want, got := run(t, inside+"/lib", "rev-parse", "HEAD"), run(t, outside, "rev-parse", "bottle/web-a1b2/wip:lib"); want != got {
		t.Errorf("wip names %s for lib, which is at %s", got, want)
	}
	if got := run(t, outside, "diff", "--name-only", "bottle/web-a1b2/work", "bottle/web-a1b2/wip"); got != "lib\nother dir/lib" {
		t.Errorf("the rest is %q", got)
	}
	fetched(t, file)
}

// moduleIDs drops the descriptions, which go by tags and remote branches.
func moduleIDs(status string) string {
	var b strings.Builder
	for line := range strings.Lines(status + "\n") {
		line, _, _ = strings.Cut(line, " (")
		b.WriteString(strings.TrimSuffix(line, "\n") + "\n")
	}
	return b.String()
}

func TestLFS(t *testing.T) {
	if out, err := exec.Command("git", "lfs", "version").CombinedOutput(); err != nil {
		t.Fatalf("this test needs git-lfs: %s", out)
	}
	// As the system configuration of an agent's image has it.
	system := filepath.Join(t.TempDir(), "gitconfig")
	write(t, filepath.Dir(system), "gitconfig", "[filter \"lfs\"]\n\tclean = git-lfs clean -- %f\n\tsmudge = git-lfs smudge -- %f\n\tprocess = git-lfs filter-process\n\trequired = true\n")
	t.Setenv("GIT_CONFIG_NOSYSTEM", "")
	os.Unsetenv("GIT_CONFIG_NOSYSTEM")
	t.Setenv("GIT_CONFIG_SYSTEM", system)
	outside := newRepo(t)
	write(t, outside, ".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
	for _, name := range []string{"one.bin", "two.bin", "three.bin"} {
		write(t, outside, name, strings.Repeat(name, 1000))
	}
	run(t, outside, "add", ".")
	run(t, outside, "commit", "-qm", "large")
	if !strings.HasPrefix(run(t, outside, "cat-file", "blob", "HEAD:one.bin"), "version https://git-lfs") {
		t.Fatal("git-lfs is not in force")
	}
	write(t, outside, "two.bin", "changed")
	inside, _ := carry(t, outside)
	sameStatus(t, outside, inside)

	// What the operator has stays a pointer; what the agent made comes whole.
	write(t, inside, "four.bin", "committed by the agent")
	run(t, inside, "add", "four.bin")
	run(t, inside, "commit", "-qm", "the agent's")
	write(t, inside, "three.bin", "changed by the agent")
	file, _ := grab(t, inside)
	fetch(t, outside, file)
	if got := run(t, outside, "diff", "--name-only", "bottle/web-a1b2/work", "bottle/web-a1b2/wip"); got != "four.bin\nthree.bin\ntwo.bin" {
		t.Errorf("the rest is %q", got)
	}
	if got := show(t, outside, "wip:three.bin") + "+" + show(t, outside, "wip:four.bin"); got != "changed by the agent+committed by the agent" {
		t.Errorf("what comes back is %q", got)
	}

	// On a host without git-lfs the files are pointers, and stay so.
	bare := filepath.Join(t.TempDir(), "clone")
	t.Setenv("GIT_CONFIG_SYSTEM", "/dev/null")
	run(t, outside, "clone", "-q", outside, bare)
	run(t, bare, "remote", "set-head", "origin", "--delete")
	var before = run(t, bare, "status")
	t.Setenv("GIT_CONFIG_SYSTEM", system)
	inside, _ = carry(t, bare)
	if got := run(t, inside, "status"); got != before {
		t.Errorf("git status inside says\n%s\noutside it says\n%s", got, before)
	}
}

func TestLineEnds(t *testing.T) {
	t.Parallel()
	for _, autocrlf := range []string{"true", "input", "false"} {
		outside := newRepo(t)
		run(t, outside, "config", "core.autocrlf", autocrlf)
		run(t, outside, "config", "core.safecrlf", "false")
		write(t, outside, ".gitattributes", "*.txt text eol=crlf\n")
		write(t, outside, "win.txt", "a\r\nb\r\n")
		write(t, outside, "win", "a\r\nb\r\n")
		run(t, outside, "add", ".")
		run(t, outside, "commit", "-qm", "x")
		run(t, outside, "rm", "-rq", "--cached", ".")
		run(t, outside, "reset", "-q", "--hard")
		inside, _ := carry(t, outside)
		sameStatus(t, outside, inside)
		if read(t, inside, "win") != read(t, outside, "win") {
			t.Error("the files differ")
		}
		roundTrip(t, outside, inside)
	}
}

func TestSparseCheckout(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"cone":         {"sparse-checkout", "set", "--cone", "d/g"},
		"patterns":     {"sparse-checkout", "set", "--no-cone", "/d/", "!/d/g/"},
		"sparse index": {"sparse-checkout", "set", "--cone", "--sparse-index", "d/g"},
	} {
		t.Run(name, func(t *testing.T) {
			outside := newRepo(t)
			run(t, outside, args...)
			inside, _ := carry(t, outside)
			sameStatus(t, outside, inside)
			if want, got := run(t, outside, "sparse-checkout", "list"), run(t, inside, "sparse-checkout", "list"); want != got {
				t.Errorf("the patterns are %q", got)
			}
			roundTrip(t, outside, inside)
		})
	}
}

func TestWorktree(t *testing.T) {
	t.Parallel()
	main := newRepo(t)
	outside := filepath.Join(t.TempDir(), "tree")
	run(t, main, "worktree", "add", "-q", "-b", "side", outside)
	write(t, outside, "a", "staged\n")
	run(t, outside, "add", "a")
	inside, _ := carry(t, outside)
	sameStatus(t, outside, inside)
	run(t, outside, "reset", "-q", "--hard")
	run(t, inside, "reset", "-q", "--hard")

	// And one that the agent makes.
	run(t, inside, "worktree", "add", "-q", "--detach", "wt")
	write(t, inside, "wt/x", "not committed\n")
	roundTrip(t, outside, inside)
	if got := show(t, outside, "sub/wt/wip:x"); got != "not committed" {
		t.Errorf("what comes back is %q", got)
	}
}

func TestIdentityComesAlong(t *testing.T) {
	outside := newRepo(t)
	run(t, outside, "config", "user.email", "here@example.com")
	inside, _ := carry(t, outside)
	t.Setenv("GIT_CONFIG_GLOBAL", "/dev/null")
	run(t, inside, "commit", "-q", "--allow-empty", "-m", "x")
	if got := run(t, inside, "log", "-1", "--format=%an %ae %cn"); got != "Ada here@example.com Ada" {
		t.Errorf("the author is %q", got)
	}
}

func TestUnusualRepositoriesAreToldOf(t *testing.T) {
	t.Parallel()
	outside := newRepo(t)
	run(t, outside, "config", "filter.crypt.clean", "false")
	write(t, outside, "soon", "x\n")
	run(t, outside, "add", "-N", "soon")
	os.Remove(outside + "/soon")
	for _, name := range []string{"git~1", "\xff"} {
		run(t, outside, "init", "-q", name)
	}
	for _, state := range []string{"rebase-merge", "sequencer"} {
		os.Mkdir(outside+"/.git/"+state, 0o755)
		_, warned := carry(t, outside)
		if got := strings.Join(warned, "\n"); len(warned) != 5 || !strings.Contains(warned[0], "crypt") || !strings.Contains(warned[1], "rebase") ||
			!strings.Contains(got, `"soon" was to be added`) || !strings.Contains(got, `"git~1" stays behind`) || !strings.Contains(got, `"\xff" stays behind`) {
			t.Errorf("warned: %q", warned)
		}
		os.Remove(outside + "/.git/" + state)
	}
}
