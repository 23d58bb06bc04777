package workspace

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestMain pins git's behaviour: the machine's own configuration counts for
// nothing, and a git that asked for the network would fail.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "workspace-test-")
	if err != nil {
		panic(err)
	}
	config := filepath.Join(dir, "gitconfig")
	os.WriteFile(config, []byte("[user]\n\tname = Ada\n\temail = ada@example.com\n[init]\n\tdefaultBranch = main\n[protocol \"file\"]\n\tallow = always\n"), 0o600)
	for k, v := range map[string]string{
		"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": config, "HOME": dir, "XDG_CONFIG_HOME": filepath.Join(dir, "xdg"),
		"GIT_CEILING_DIRECTORIES": os.TempDir(), "LC_ALL": "C",
	} {
		os.Setenv(k, v)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// run is git in dir; it fails the test if git does.
func run(t testing.TB, dir string, args ...string) string {
	t.Helper()
	out, err := tryRun(dir, args...)
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSuffix(out, "\n")
}

func tryRun(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if err != nil {
		return out.String() + errs.String(), err
	}
	return out.String(), nil
}

func write(t testing.TB, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func symlink(t testing.TB, target, dir, name string) {
	t.Helper()
	if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// template is what newRepo copies: a git for each of its steps would cost more.
var template struct {
	sync.Once
	dir string
}

// newRepo is a repository with two commits and a few files.
func newRepo(t testing.TB) string {
	t.Helper()
	template.Do(func() {
		dir := filepath.Join(os.Getenv("HOME"), "template") // goes with TestMain
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		run(t, dir, "init", "-q")
		write(t, dir, "readme", "hello\n")
		run(t, dir, "add", ".")
		run(t, dir, "commit", "-qm", "first")
		for _, name := range []string{"a", "b", "c", "d/e", "d/f", "d/g/h"} {
			write(t, dir, name, strings.Repeat(name+" line\n", 20))
		}
		write(t, dir, ".gitignore", "*.log\n/out/\n")
		symlink(t, "a", dir, "link")
		run(t, dir, "add", ".")
		run(t, dir, "commit", "-qm", "second")
		template.dir = dir
	})
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(template.dir)); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "update-index", "--refresh") // these are other files
	return dir
}

// carry packs a folder and unpacks it elsewhere; it returns the copy and what
// was warned of.
func carry(t testing.TB, dir string) (inside string, warned []string) {
	t.Helper()
	var stream bytes.Buffer
	_, err := Pack(testContext(t), dir, &stream, Options{Warn: func(s string) { warned = append(warned, s) }})
	if err != nil {
		t.Fatal(err)
	}
	inside = t.TempDir()
	if err := Unpack(testContext(t), &stream, inside); err != nil {
		t.Fatal(err)
	}
	return inside, warned
}

// sameStatus fails unless git says the same of both, in words for people and
// for programs.
func sameStatus(t testing.TB, outside, inside string) {
	t.Helper()
	for _, args := range [][]string{{"status", "--porcelain=v2", "--branch"}, {"status"}, {"log", "--oneline", "--decorate"}, {"diff", "--stat"}, {"diff", "--cached"}} {
		want, wantErr := tryRun(outside, args...)
		got, gotErr := tryRun(inside, args...)
		if got != want || (wantErr == nil) != (gotErr == nil) {
			t.Errorf("git %s inside says\n%s\noutside it says\n%s", strings.Join(args, " "), got, want)
		}
	}
}

// asNobody runs the test again as a user for whom permissions count, and says
// whether this is that run.
func asNobody(t *testing.T) bool {
	t.Helper()
	if os.Getuid() != 0 {
		return true
	}
	const nobody = 65534
	dir := t.TempDir()
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	for up := dir; up != os.TempDir() && up != "/"; up = filepath.Dir(up) {
		os.Chmod(up, 0o755)
	}
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("as nobody: %v", err)
	}
	return false
}
