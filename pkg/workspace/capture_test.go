package workspace

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
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
	if err := checked(t, file); err != nil {
		t.Error(err)
	}
	return file, warned
}

func checked(t testing.TB, file string) error {
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = Check(testContext(t), f, Limits{Temp: t.TempDir()})
	return err
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
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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
		"submodule becomes a file": {func(dir string) {
			module(t, dir, "lib")
			os.RemoveAll(dir + "/lib")
			write(t, dir, "lib", "x")
		}, "main wip work", ".gitmodules a lib"},
		"packed":         {func(dir string) { run(t, dir, "gc", "-q"); run(t, dir, "pack-refs", "--all"); write(t, dir, "n", "") }, "main wip work", "a n"},
		"intent to add":  {func(dir string) { write(t, dir, "n", "x"); run(t, dir, "add", "-N", "n") }, "main wip work", "a n"},
		"missing branch": {func(dir string) { write(t, dir, ".git/refs/heads/gone", strings.Repeat("1", 40)) }, "main wip work", "a"},
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
			t.Parallel()
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

func TestUnreadableIsNotDeleted(t *testing.T) {
	t.Parallel()
	if !asNobody(t) {
		return
	}
	dir := newRepo(t)
	write(t, dir, "new", "x\n")
	os.Chmod(dir+"/a", 0)
	os.Chmod(dir+"/d", 0)
	defer os.Chmod(dir+"/d", 0o755)
	file, warned := grab(t, dir)
	repo := fetched(t, file)
	if got := run(t, repo, "diff", "--name-status", "bottle/web-a1b2/work", "bottle/web-a1b2/wip"); got != "A\tnew" {
		t.Errorf("the rest is\n%s", got)
	}
	if got := strings.Join(warned, "\n"); !strings.Contains(got, `"a" is left out`) || !strings.Contains(got, `"d/e" is left out`) {
		t.Errorf("warned: %q", warned)
	}
}
