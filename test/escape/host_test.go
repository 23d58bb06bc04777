package escape

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bottle/test/rig"
)

// operatorPrograms are all that read $BOTTLE_HOME.
var operatorPrograms = []string{"bottle-start", "bottle-attach", "bottle-ls", "bottle-approve", "bottle-edit", "bottle-stop"}

// openHome is S10. It has a home of its own, which it opens to others.
func openHome(t *testing.T, s *stage) {
	r := rig.New(t)
	r.Agent("dev")
	args := map[string][]string{"bottle-start": {"--dry-run", "dev"}, "bottle-attach": {"--peek", "nobody-aaaa"}, "bottle-ls": nil, "bottle-approve": {"egress-block-aaaaaaaaaaaaaaaa"}, "bottle-edit": {"--yes", "nobody-aaaa"}, "bottle-stop": {"--all"}}
	try := func(mode os.FileMode) {
		t.Helper()
		if err := os.Chmod(r.Home, mode); err != nil {
			t.Fatal(err)
		}
		for _, program := range operatorPrograms {
			out, said, code := r.Run(program, args[program]...)
			open := mode&0o022 != 0
			if told := strings.Contains(said, "others may write"); open != told || open && (code == 0 || out != "") {
				t.Errorf("%s with a home of mode %o: %d %s%s", program, mode, code, out, said)
			}
		}
	}
	try(0o700)
	try(0o770)
	try(0o702)
	try(0o700)
	t.Run("what is written", func(t *testing.T) { closedModes(t, s) })
}

// closedModes looks at all that the programs wrote for a bottle that runs.
func closedModes(t *testing.T, s *stage) {
	for _, dir := range []string{"", "state", "state/" + s.slug} {
		info, err := os.Stat(filepath.Join(s.r.Home, dir))
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("$BOTTLE_HOME/%s: %v, %v, not mode 0700", dir, info, err)
		}
	}
	state := filepath.Join(s.r.Home, "state", s.slug)
	seen := 0
	err := filepath.WalkDir(state, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		seen++
		name, _ := filepath.Rel(state, path)
		want := os.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		// What the agent's uid must read lies below a directory that only the
		// operator may enter.
		if name == "agent" || strings.HasPrefix(name, "agent/") {
			want |= want&0o500>>3 | want&0o500>>6 | 0o111
		}
		if name == "agent/out/activity" {
			want |= 0o222 // the one file that the agent's uid writes
		}
		if extra := info.Mode().Perm() &^ want; extra != 0 {
			t.Errorf("%s has mode %o", name, info.Mode().Perm())
		}
		return nil
	})
	if err != nil || seen < 10 {
		t.Errorf("only %d files were looked at: %v", seen, err)
	}
}

// hostileScript is what a repository's own programs do: leave word, and end the
// capture if they can.
const hostileScript = "#!/bin/sh\necho ran >>/work/ran 2>/dev/null\necho CANARY >&2\nkill -9 0\n"

// hostileRepository is G14: a bottle is stopped whose repository runs programs
// wherever git lets one.
func hostileRepository(t *testing.T, s *stage) {
	r := rig.New(t)
	r.Agent("hostile")
	git(t, r.Dir, "init", "-q", "-b", "main")
	git(t, r.Dir, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "base")
	out, said, code := r.Run("bottle-start", "--yes", "--detach", "hostile")
	if code != 0 {
		t.Fatalf("bottle-start ended with %d: %s", code, said)
	}
	slug := strings.TrimSpace(out)
	const plant = `set -e
cd /work
git config user.name a; git config user.email a@b
echo committed >kept; git add kept; git commit -qm kept
cat >evil; chmod 755 evil; mkdir -p .git/hooks
for h in pre-commit post-checkout post-index-change reference-transaction pre-auto-gc fsmonitor-watchman; do cp evil .git/hooks/$h; done
git config core.fsmonitor /work/evil
git config filter.evil.clean '/work/evil; cat'
git config filter.evil.smudge /work/evil
git config filter.evil.required true
git config diff.external /work/evil
git config core.sshCommand /work/evil
git config core.pager /work/evil
git config credential.helper /work/evil
git config gpg.program /work/evil
git config commit.gpgSign true
git config include.path /work/more
git config --file more uploadpack.packObjectsHook /work/evil
echo '* filter=evil diff=evil' >.gitattributes
echo uncommitted >wip
printf '[submodule "x"]\n\tpath = x\n\turl = ext::/work/evil\n' >.gitmodules
`
	cmd := exec.Command("docker", "exec", "-i", agentOf(slug), "sh", "-c", plant)
	cmd.Stdin = strings.NewReader(hostileScript)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot plant the repository: %v: %s", err, out)
	}
	// The way works: whoever runs git there in good faith runs the programs.
	r.TryDocker("exec", "-w", "/work", agentOf(slug), "sh", "-c", "trap '' TERM; git status; true")
	if ran, _ := r.TryDocker("exec", agentOf(slug), "cat", "/work/ran"); !strings.Contains(ran, "ran") {
		t.Fatal("the repository's programs do not run under plain git either: they prove nothing")
	}
	r.Docker("exec", agentOf(slug), "rm", "/work/ran")

	out, said, code = r.Run("bottle-stop", slug)
	if code != 0 || strings.Contains(out+said, "CANARY") {
		t.Fatalf("bottle-stop ended with %d: %s%s", code, out, said)
	}
	history := filepath.Join(r.Home, "history", slug)
	if log, err := os.ReadFile(filepath.Join(history, "teardown.log")); err != nil || bytes.Contains(log, []byte("CANARY")) {
		t.Errorf("the teardown's log: %s, %v", log, err)
	}
	git(t, r.Dir, "-c", "transfer.fsckObjects=true", "fetch", "-q", "--no-tags", "--no-recurse-submodules", filepath.Join(history, "work.bundle"),
		"refs/heads/*:refs/heads/bottle/"+slug+"/*")
	for file, want := range map[string]string{"kept": "committed\n", "wip": "uncommitted\n", "evil": hostileScript} {
		if got := git(t, r.Dir, "show", "bottle/"+slug+"/wip:"+file); got != want {
			t.Errorf("%s came back as %q, not %q", file, got, want)
		}
	}
	if ran := git(t, r.Dir, "ls-tree", "--name-only", "bottle/"+slug+"/wip", "ran"); ran != "" {
		t.Error("the capture ran the repository's programs")
	}
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-C", dir}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
