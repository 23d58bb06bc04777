// Package scripts runs what is in scripts/ as people do.
package scripts

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// bare is a PATH with these commands of this machine and no others.
func bare(t *testing.T, commands ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range commands {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Whatever the demo ends with, it takes away what it made: the steps of its
// clean-up that have nothing to do fail, and must not end it.
func TestDemoLeavesNothingWhereItCannotStart(t *testing.T) {
	tmp := t.TempDir()
	cmd := exec.Command("bash", "../../scripts/demo")
	cmd.Env = []string{"PATH=" + bare(t, "bash", "basename", "dirname", "docker", "git", "mktemp", "rm", "tr"), "TMPDIR=" + tmp, "HOME=" + tmp}
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "jq is missing") {
		t.Errorf("it ended with %v: %s", err, out)
	}
	if left, _ := os.ReadDir(tmp); len(left) > 0 {
		t.Errorf("it left %s", left[0].Name())
	}
}

func TestDepsNamesWhatIsMissing(t *testing.T) {
	run := func(args ...string) (string, int) {
		cmd := exec.Command("bash", append([]string{"../../scripts/deps"}, args...)...)
		cmd.Env = []string{"PATH=" + bare(t, "bash", "id")} // no apt-get: nothing is installed
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	if out, code := run("bash", "id"); out != "" || code != 0 {
		t.Errorf("where nothing is missing: %d, %q", code, out)
	}
	if out, code := run("bash", "rg", "nonesuch"); code != 1 || !strings.Contains(out, "missing: rg nonesuch") || strings.Count(out, "\n") != 1 {
		t.Errorf("where something is missing: %d, %q", code, out)
	}
}

// An agent's user, who owns nothing here, runs what is mounted into its
// container.
func TestBuildUnderAnyUmask(t *testing.T) {
	tmp := t.TempDir()
	cmd := exec.Command("sh", "-c", `umask 077; exec make -s -C ../.. build HOST=bottle-ls BIN="$0/bin" LIBEXEC="$0/libexec"`, tmp)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, name := range []string{"inside", "inside/bottle-inside"} {
		fi, err := os.Stat(filepath.Join(tmp, "libexec", name))
		if err != nil || fi.Mode().Perm()&0o005 != 0o005 {
			t.Errorf("%s: %v, %v", name, fi.Mode(), err)
		}
	}
}
