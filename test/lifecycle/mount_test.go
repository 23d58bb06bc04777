package lifecycle

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bottle/test/rig"
)

// The agent works in the operator's folder, which it could not enter before and
// cannot after, and has a repository of its own there.
func TestAFolderIsMounted(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.GitFolder()
	r.Agent("dev")
	if err := os.Chmod(r.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	head, hooks := r.Git("rev-parse", "HEAD"), filepath.Join(r.Dir, ".git/hooks")
	put := func(name, text string) { // as programs do: a narrower mode would narrow what the agent may
		t.Helper()
		f, err := os.Create(filepath.Join(r.Dir, name))
		if err == nil {
			_, err = f.WriteString(text)
		}
		if err != nil || f.Close() != nil {
			t.Fatal(err)
		}
	}
	put("draft", "not committed\n")
	slug := r.Start("dev", "--workspace", "mount")
	in := func(script string) string {
		t.Helper()
		out, said, code := r.Inside(slug, "sh", "-c", script)
		if code != 0 {
			t.Fatalf("%s: %d: %s%s", script, code, out, said)
		}
		return strings.TrimSpace(out)
	}
	if got := in("cat draft; git status --porcelain; git rev-parse HEAD"); got != "not committed\n?? draft\n"+head {
		t.Errorf("inside: %q", got)
	}
	put("later", "from outside\n")
	in(`grep -q outside later && echo more >>later && mkdir made && echo inside >made/new
mkdir -p .git/hooks && printf '#!/bin/sh\ntouch /work/ran\n' >.git/hooks/pre-commit && chmod +x .git/hooks/pre-commit
git add made && git -c user.name=a -c user.email=a@b commit -q --no-verify -m 'from inside' && git push -q origin HEAD:refs/heads/inside`)
	if got := in("rm -rf .git 2>/dev/null; mv .git .gone 2>/dev/null; rmdir .git 2>/dev/null; ls -d .git"); got != ".git" {
		t.Errorf("the cover of .git went: %q", got)
	}
	for name, want := range map[string]string{"later": "from outside\nmore\n", "made/new": "inside\n"} {
		if data, err := os.ReadFile(filepath.Join(r.Dir, name)); string(data) != want {
			t.Errorf("%s outside: %q, %v", name, data, err)
		}
	}
	if _, err := os.Lstat(filepath.Join(hooks, "pre-commit")); !errors.Is(err, fs.ErrNotExist) || r.Git("rev-parse", "HEAD") != head {
		t.Errorf("the operator's repository changed: %v", err)
	}
	if out, said, code := r.Run("bottle-stop", slug); code != 0 {
		t.Fatalf("%s%s", out, said)
	}
	acls, err := exec.Command("getfacl", "-R", "--omit-header", "--numeric", "--absolute-names", r.Dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(acls)) {
		if strings.HasPrefix(line, "user:70707") || strings.HasPrefix(line, "default:") {
			t.Errorf("an entry stayed: %s", line)
		}
	}
}

// A directory of the operator's that the agent makes a repository of is one to his
// git, whoever looks at its owner. The stop names it.
func TestAMountedFolderOutlivesItsContainersAndTheStopNamesWhatWasPlanted(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.GitFolder()
	r.Agent("dev")
	if err := os.MkdirAll(filepath.Join(r.Dir, "lib/inner"), 0o755); err != nil {
		t.Fatal(err)
	}
	slug := r.Start("dev", "--workspace", "mount")
	commit := "git -c user.name=a -c user.email=a@b commit -q --allow-empty -m kept && git rev-parse HEAD"
	id, said, code := r.Inside(slug, "sh", "-c", commit)
	if code != 0 {
		t.Fatal(said)
	}
	r.DropContainers(slug)
	if _, said, code := r.Run("bottle-start", "--resume", slug, "--detach"); code != 0 {
		t.Fatal(said)
	}
	if got, said, _ := r.Inside(slug, "git", "rev-parse", "HEAD"); got != id {
		t.Errorf("after the resume: %q, %s", got, said)
	}
	if _, said, code := r.Inside(slug, "sh", "-c", "git init -q --bare lib/inner && mv lib/inner lib/.git"); code != 0 {
		t.Fatal(said)
	}
	if at := r.Git("-C", "lib", "rev-parse", "--absolute-git-dir"); !strings.HasSuffix(at, "/lib/.git") {
		t.Errorf("in lib git uses %s", at)
	}
	var out string
	for _, args := range [][]string{{"--keep", slug}, {slug}} {
		if out, said, code = r.Run("bottle-stop", args...); code != 0 || !strings.Contains(said, `/lib" is a repository to git`) {
			t.Errorf("%q: %d: %s%s", args, code, out, said)
		}
	}
	bundle := rig.Decode[struct{ Bundle string }](t, out).Bundle
	if code != 0 || bundle == "" {
		t.Fatalf("%d: %s%s", code, out, said)
	}
	if heads := r.Git("bundle", "list-heads", bundle); !strings.Contains(heads, strings.TrimSpace(id)+" refs/heads/work") {
		t.Errorf("the bundle has %s", heads)
	}
}

func TestAFolderWithoutARepositoryIsMountedAndNoneInIt(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Agent("dev")
	outer, inner := r.Dir, filepath.Join(r.Dir, "inner")
	if err := os.Mkdir(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	slug := r.Start("dev", "--workspace", "mount")
	r.Dir = inner
	if _, said, code := r.Run("bottle-start", "--yes", "--detach", "--workspace", "mount", "dev"); code == 0 || !strings.Contains(said, slug+" works in "+outer) || !strings.Contains(said, "hint: stop that bottle first, or give --workspace copy") {
		t.Errorf("%d: %s", code, said)
	}
	r.Dir = outer
	if _, said, code := r.Inside(slug, "sh", "-c", "echo x >made && git init -q && git status"); code != 0 {
		t.Fatal(said)
	}
	out, said, code := r.Run("bottle-stop", slug)
	if code != 0 || strings.Contains(out, "bundle") {
		t.Errorf("%d: %s%s", code, out, said)
	}
	if data, err := os.ReadFile(filepath.Join(r.Dir, "made")); string(data) != "x\n" {
		t.Errorf("%q, %v", data, err)
	}
	r.Dir = t.TempDir()
	r.Git("init", "-q", "sub")
	if _, said, code := r.Run("bottle-start", "--yes", "--detach", "--workspace", "mount", "dev"); code != 1 || !strings.Contains(said, "another repository in it") || !strings.Contains(said, "hint: give --workspace copy") {
		t.Errorf("a repository below: %d: %s", code, said)
	}
}
