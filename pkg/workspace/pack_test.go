package workspace

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestStatusIsTheSameInside goes through states of a working tree.
func TestStatusIsTheSameInside(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(t *testing.T, dir string){
		"clean":    func(t *testing.T, dir string) {},
		"modified": func(t *testing.T, dir string) { write(t, dir, "a", "other\n") },
		"staged":   func(t *testing.T, dir string) { write(t, dir, "a", "other\n"); run(t, dir, "add", "a") },
		"both": func(t *testing.T, dir string) {
			write(t, dir, "a", "x\n")
			run(t, dir, "add", "a")
			write(t, dir, "a", "y\n")
		},
		"new":       func(t *testing.T, dir string) { write(t, dir, "new/file", "x\n"); run(t, dir, "add", "new") },
		"untracked": func(t *testing.T, dir string) { write(t, dir, "u/v/w", "x\n"); write(t, dir, "x.log", "ignored\n") },
		"deleted": func(t *testing.T, dir string) {
			os.Remove(filepath.Join(dir, "a"))
			os.RemoveAll(filepath.Join(dir, "d/g"))
		},
		"removed":     func(t *testing.T, dir string) { run(t, dir, "rm", "-q", "a"); run(t, dir, "rm", "-q", "--cached", "b") },
		"all removed": func(t *testing.T, dir string) { run(t, dir, "rm", "-rq", ".") },
		"renamed":     func(t *testing.T, dir string) { run(t, dir, "mv", "a", "z"); run(t, dir, "mv", "d", "dd") },
		"mode": func(t *testing.T, dir string) {
			os.Chmod(filepath.Join(dir, "a"), 0o755)
			run(t, dir, "update-index", "--chmod=+x", "b")
		},
		"symlinks": func(t *testing.T, dir string) {
			symlink(t, "/etc/passwd", dir, "abs")
			symlink(t, "../../..", dir, "up")
			symlink(t, "nowhere", dir, "dangling")
			os.Remove(filepath.Join(dir, "b"))
			symlink(t, "c", dir, "b")
			os.Remove(filepath.Join(dir, "link"))
			write(t, dir, "link", "a file now\n")
		},
		"directory became a symlink": func(t *testing.T, dir string) {
			os.Rename(filepath.Join(dir, "d"), filepath.Join(dir, "e"))
			symlink(t, "e", dir, "d")
		},
		"file became a directory": func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, "a")); write(t, dir, "a/b", "x\n") },
		"intent to add": func(t *testing.T, dir string) {
			write(t, dir, "soon", "x\n")
			write(t, dir, "empty", "")
			run(t, dir, "add", "-N", "soon")
			run(t, dir, "add", "empty")
		},
		"conflict": conflict,
		"resolved merge": func(t *testing.T, dir string) {
			conflict(t, dir)
			write(t, dir, "a", "both\n")
			run(t, dir, "add", "a")
		},
		"flags": func(t *testing.T, dir string) {
			run(t, dir, "update-index", "--assume-unchanged", "a")
			run(t, dir, "update-index", "--skip-worktree", "b")
			write(t, dir, "a", "unseen\n")
			os.Remove(filepath.Join(dir, "b"))
		},
		"detached": func(t *testing.T, dir string) { run(t, dir, "checkout", "-q", "HEAD~1") },
		"lost head": func(t *testing.T, dir string) {
			run(t, dir, "checkout", "-q", "--detach")
			run(t, dir, "commit", "-qm", "x", "--allow-empty")
		},
		"no commit yet": func(t *testing.T, dir string) {
			run(t, dir, "checkout", "-q", "--orphan", "fresh")
			write(t, dir, "b", "changed\n")
		},
		"strange names": func(t *testing.T, dir string) {
			for _, n := range []string{"sp ace", "new\nline", "tab\t", "\xff\xfe", "ünï", "-dash", "*", "a:b", "back\\slash", strings.Repeat("long", 60), "end."} {
				write(t, dir, n, "x\n")
				write(t, dir, "dir/"+n+"/"+n, "x\n")
			}
			run(t, dir, "add", "dir")
		},
		"excluded": func(t *testing.T, dir string) {
			write(t, dir, ".git/info/exclude", "secret")
			write(t, dir, "secret", "x\n")
		},
		"excluded by the user": func(t *testing.T, dir string) {
			write(t, dir, "ignore", "mine\nignore\n")
			run(t, dir, "config", "core.excludesFile", filepath.Join(dir, "ignore"))
			write(t, dir, "mine", "x\n")
		},
		"upstream": func(t *testing.T, dir string) {
			up := t.TempDir()
			run(t, up, "init", "-q", "--bare")
			run(t, dir, "remote", "add", "origin", up)
			run(t, dir, "push", "-qu", "origin", "main")
			run(t, dir, "reset", "-q", "--hard", "HEAD~1")
			run(t, dir, "commit", "-qm", "x", "--allow-empty")
		},
		"tags and branches": func(t *testing.T, dir string) {
			run(t, dir, "tag", "v1")
			run(t, dir, "tag", "-am", "x", "v2", "HEAD~1")
			run(t, dir, "branch", "feature/x")
		},
		"sha256": func(t *testing.T, dir string) {
			os.RemoveAll(filepath.Join(dir, ".git"))
			run(t, dir, "init", "-q", "--object-format=sha256")
			run(t, dir, "add", "a", "d")
			run(t, dir, "commit", "-qm", "x")
			run(t, dir, "add", "b")
		},
		"split index": func(t *testing.T, dir string) {
			run(t, dir, "update-index", "--split-index")
			write(t, dir, "n", "x")
			run(t, dir, "add", "n")
		},
		"replaced": func(t *testing.T, dir string) {
			run(t, dir, "replace", "HEAD~1", run(t, dir, "commit-tree", "-m", "another", "HEAD^{tree}"))
		},
		"submodule became a file": func(t *testing.T, dir string) {
			module(t, dir, "lib")
			os.RemoveAll(dir + "/lib")
			write(t, dir, "lib", "x\n")
		},
		"submodule is gone": func(t *testing.T, dir string) { module(t, dir, "lib"); os.RemoveAll(dir + "/lib") },
		"submodules count for nothing": func(t *testing.T, dir string) {
			module(t, dir, "lib")
			write(t, dir, "lib/new", "x\n")
			run(t, dir, "config", "diff.ignoreSubmodules", "all")
		},
		"file mode ignored": func(t *testing.T, dir string) {
			run(t, dir, "config", "core.fileMode", "false")
			os.Chmod(filepath.Join(dir, "a"), 0o755)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := newRepo(t)
			change(t, dir)
			inside, warned := carry(t, dir)
			sameStatus(t, dir, inside)
			if len(warned) > 0 {
				t.Errorf("warned: %q", warned)
			}
			run(t, inside, "fsck", "--strict")
		})
	}
}

func module(t *testing.T, dir, name string) {
	run(t, dir, "submodule", "--quiet", "add", newRepo(t), name)
	run(t, dir, "commit", "-qm", name)
}

func conflict(t *testing.T, dir string) {
	run(t, dir, "checkout", "-qb", "theirs")
	write(t, dir, "a", "theirs\n")
	run(t, dir, "rm", "-q", "b")
	run(t, dir, "commit", "-qam", "theirs")
	run(t, dir, "checkout", "-q", "main")
	write(t, dir, "a", "ours\n")
	write(t, dir, "b", "ours\n")
	run(t, dir, "commit", "-qam", "ours")
	if _, err := tryRun(dir, "merge", "theirs"); err == nil {
		t.Fatal("there is no conflict")
	}
}

func TestModesLinksAndTimesComeAlong(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	write(t, dir, "readonly", "x\n")
	os.Chmod(filepath.Join(dir, "readonly"), 0o444)
	os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "hard"))
	for name, second := range map[string]int64{"readonly": -100, "hard": 1 << 33} { // 1969 and 2242
		at := syscall.Timeval{Sec: second}
		if err := syscall.Utimes(filepath.Join(dir, name), []syscall.Timeval{at, at}); err != nil {
			t.Fatal(err)
		}
	}
	symlink(t, "/etc", dir, "abs")
	inside, _ := carry(t, dir)
	for name, want := range map[string]os.FileMode{"readonly": 0o444, "a": 0o644, "hard": 0o644} {
		fi, err := os.Lstat(filepath.Join(inside, name))
		if err != nil || fi.Mode() != want {
			t.Errorf("%s: %v, %v", name, fi.Mode(), err)
		}
		out, _ := os.Lstat(filepath.Join(dir, name))
		if fi.ModTime().Unix() != out.ModTime().Unix() {
			t.Errorf("%s: the time is %s, outside %s", name, fi.ModTime(), out.ModTime())
		}
	}
	if target, _ := os.Readlink(filepath.Join(inside, "abs")); target != "/etc" {
		t.Errorf("the symlink points to %q", target)
	}
	if a, _ := os.Stat(filepath.Join(inside, "a")); a.Sys().(*syscall.Stat_t).Nlink != 1 {
		t.Error("hard links are not copies")
	}
}

// TestPackingChangesNothing: not even the index, where git would like to note
// what it learnt of the files.
func TestPackingChangesNothing(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	module(t, dir, "lib")
	write(t, dir, "staged", "x\n")
	run(t, dir, "add", "staged")
	run(t, dir, "add", "-N", ".")
	later := time.Now().Add(time.Hour)
	os.Chtimes(dir+"/a", later, later) // touched, and as it was
	state := func() (list []string) {
		err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			fi, err := d.Info()
			list = append(list, fmt.Sprint(p, fi.Mode(), fi.Size(), fi.ModTime().UnixNano()))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	before := state()
	if _, err := Pack(testContext(t), dir, io.Discard, Options{}); err != nil {
		t.Fatal(err)
	}
	if after := state(); !slices.Equal(before, after) {
		t.Errorf("before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	run(t, dir, "status") // does change it
	if after := state(); slices.Equal(before, after) {
		t.Error("git status changed nothing: this test shows nothing")
	}
}

func TestWordsOfAStrangerAreInert(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, ".git", "gitdir: \x1b[31m\u202e\n")
	_, err := Inspect(testContext(t), dir)
	if err == nil || strings.ContainsAny(err.Error(), "\x1b\u202e") {
		t.Errorf("%q", err)
	}
	os.Remove(dir + "/.git")
	syscall.Mkfifo(dir+"/\x1b[31m", 0o644)
	if _, warned := carry(t, dir); len(warned) != 1 || strings.Contains(warned[0], "\x1b") {
		t.Errorf("%q", warned)
	}
}

func TestSubdirectoryTakesTheWholeRepository(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	info, err := Inspect(testContext(t), filepath.Join(dir, "d/g"))
	if err != nil || info.Subdir != "d/g" || info.Root != dir || !info.Git {
		t.Fatal(info, err)
	}
	inside, _ := carry(t, filepath.Join(dir, "d"))
	sameStatus(t, dir, inside)
}

func TestIgnoredSubdirectoryIsTakenAlone(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	write(t, dir, "out/x", "x\n")
	info, err := Inspect(testContext(t), filepath.Join(dir, "out"))
	if err != nil || info.Git || info.Root != filepath.Join(dir, "out") {
		t.Fatal(info, err)
	}
}

func TestBareRepositoryIsRefused(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	bare := filepath.Join(t.TempDir(), "bare.git")
	run(t, dir, "clone", "-q", "--bare", dir, bare)
	for _, d := range []string{bare, filepath.Join(dir, ".git")} {
		if _, err := Inspect(testContext(t), d); err == nil || !strings.Contains(err.Error(), "no files to work on") {
			t.Errorf("%s: %v", d, err)
		}
	}
}

func TestCredentialsAndHooksStayOutside(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	run(t, dir, "remote", "add", "origin", "https://ada:s3cret@example.com/engine.git?token=s3cret#s3cret")
	run(t, dir, "config", "remote.origin.pushurl", "ssh://git:s3cret@example.com/engine.git")
	run(t, dir, "remote", "add", "scp", "git@example.com:ada/engine.git")
	run(t, dir, "remote", "add", "evil", "ext::sh -c s3cret")
	run(t, dir, "config", "branch.main.remote", "https://ada:s3cret@example.com/engine.git") // as git push -u URL sets it
	run(t, dir, "config", "remote.https://ada:s3cret@example.com/engine.git.fetch", "+refs/heads/*:refs/remotes/x/*")
	run(t, dir, "config", "branch.https://x.remote", "scp")
	run(t, dir, "config", "http.https://example.com/.extraheader", "Authorization: s3cret")
	run(t, dir, "config", "credential.helper", "!echo s3cret")
	run(t, dir, "config", "core.sshCommand", "s3cret")
	run(t, dir, "config", "alias.x", "!s3cret")
	run(t, dir, "config", "include.path", "s3cret")
	write(t, dir, ".git/hooks/pre-commit", "s3cret")
	write(t, dir, ".git/s3cret", "s3cret")
	inside, warned := carry(t, dir)
	got := run(t, inside, "config", "--local", "--list")
	for _, want := range []string{"remote.origin.url=https://example.com/engine.git\n", "remote.origin.pushurl=ssh://git@example.com/engine.git\n", "remote.scp.url=git@example.com:ada/engine.git\n",
		"branch.main.remote=https://example.com/engine.git\n", "branch.https://x.remote=scp\n"} {
		if !strings.Contains(got+"\n", want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if len(warned) != 1 || !strings.Contains(warned[0], "evil") {
		t.Errorf("warned: %q", warned)
	}
	err := filepath.WalkDir(filepath.Join(inside, ".git"), func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		if strings.Contains(p+string(b), "s3cret") || strings.Contains(p, "hooks") {
			t.Errorf("%s came along", p)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestPlainFolderGetsAFirstCommit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "a/b", "x\n")
	write(t, dir, ".hidden", "x\n")
	os.Mkdir(filepath.Join(dir, "empty"), 0o755)
	syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o644)
	inner := filepath.Join(dir, "inner")
	run(t, dir, "clone", "-q", newRepo(t), inner)
	run(t, inner, "remote", "set-head", "origin", "--delete")
	run(t, inner, "remote", "set-url", "origin", "https://u:s3cret@example.com/x")
	inside, warned := carry(t, dir)
	if got := run(t, inside, "log", "--format=%an %s", "--name-only"); got != "Ada The folder as it was\n\n.hidden\na/b" {
		t.Errorf("the log is %q", got)
	}
	if got := run(t, inside, "status", "--porcelain"); got != "?? inner/" {
		t.Errorf("the status is %q", got)
	}
	if _, err := os.Stat(filepath.Join(inside, "empty")); err != nil {
		t.Error(err)
	}
	sameStatus(t, inner, filepath.Join(inside, "inner"))
	if strings.Contains(read(t, inside, "inner/.git/config"), "s3cret") {
		t.Error("a credential came along")
	}
	if len(warned) != 1 || !strings.Contains(warned[0], "fifo") {
		t.Errorf("warned: %q", warned)
	}
}

func TestUnreadableFileIsNamed(t *testing.T) {
	t.Parallel()
	if !asNobody(t) {
		return
	}
	for name, lock := range map[string]string{"locked": "locked", "d/e": "d"} {
		dir := newRepo(t)
		write(t, dir, "locked", "x\n")
		os.Chmod(filepath.Join(dir, lock), 0)
		_, err := Pack(testContext(t), dir, &strings.Builder{}, Options{})
		if err == nil || !strings.Contains(err.Error(), "cannot read "+name+": permission denied") {
			t.Errorf("%s: %v", name, err)
		}
		os.Chmod(filepath.Join(dir, lock), 0o755)
	}
}

func TestUnreadableFolderIsToldOf(t *testing.T) {
	t.Parallel()
	if !asNobody(t) {
		return
	}
	dir := newRepo(t)
	write(t, dir, "data/base", "x\n") // a database's, say, which runs as somebody else
	os.Chmod(dir+"/data", 0)
	defer os.Chmod(dir+"/data", 0o755)
	_, warned := carry(t, dir)
	if len(warned) != 1 || !strings.Contains(warned[0], "data") {
		t.Errorf("warned: %q", warned)
	}
}

// TestGraftsHideNothing: a graft takes a commit's parents out of sight, and
// inside they would be missing.
func TestGraftsHideNothing(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	write(t, dir, ".git/info/grafts", run(t, dir, "rev-parse", "HEAD")+"\n")
	inside, _ := carry(t, dir)
	run(t, inside, "fsck", "--strict")
	grab(t, inside)
}

func TestPlainFoldersThatGitDoesNotLike(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "mixed", "a\r\nb\n")
	write(t, dir, "left over/.git", "gitdir: ../../gone\n")
	write(t, dir, "left over/file", "x\n")
	config := filepath.Join(t.TempDir(), "gitconfig")
	write(t, filepath.Dir(config), "gitconfig", "[core]\n\tautocrlf = input\n\tsafecrlf = true\n")
	t.Setenv("GIT_CONFIG_GLOBAL", config)
	inside, warned := carry(t, dir)
	if got := run(t, inside, "log", "--format=", "--name-only"); got != "left over/file\nmixed" {
		t.Errorf("committed is %q", got)
	}
	if len(warned) != 1 || !strings.Contains(warned[0], "left over/.git") {
		t.Errorf("warned: %q", warned)
	}
	// Here git add cannot go on at all.
	write(t, dir, ".gitattributes", "* text working-tree-encoding=UTF-16\n")
	inside, _ = carry(t, dir)
	if read(t, inside, "left over/file") != "x\n" || run(t, inside, "log", "--format=%s") != "The folder as it was" {
		t.Error("the folder did not come along")
	}
}
