package operator

import (
	"os/exec"
	"strings"
	"testing"
)

// The line that is printed refuses what no git makes, also where the operator's
// own configuration does not look.
func TestTheFetchChecksWhateverTheConfigurationSays(t *testing.T) {
	dir := t.TempDir()
	script := func(text string) (string, error) {
		cmd := exec.Command("sh", "-euc", text)
		cmd.Dir = dir
		cmd.Env = append(cmd.Environ(), "GIT_CONFIG_NOSYSTEM=1", "HOME="+dir, "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com",
			"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	// From a repository, since git looks into a bundle from 2.46 on only; in quotes
	// all the same.
	if out, err := script(`for name in good bad; do git init -q "it's $name"; (cd "it's $name"; blob=$(echo x | git hash-object -w --stdin)
			tree=$(printf '100644 blob %s\tfile\n' "$blob" | git mktree)
			[ $name = good ] || tree=$(printf '040000 tree %s\t.git\n' "$tree" | git mktree)
			git update-ref refs/heads/$name "$(git commit-tree -m m "$tree")"); done
		git init -q ours; cd ours; git config fetch.fsckObjects false; git config transfer.fsckObjects false`); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := script("cd ours; " + fetchLine("dev-aaaa", "../it's good")); err != nil {
		t.Errorf("sound work is refused: %v: %s", err, out)
	}
	if out, err := script("cd ours; " + fetchLine("dev-aaaa", "../it's bad")); err == nil || !strings.Contains(out, "hasDotgit") {
		t.Errorf("a tree with .git in it is taken: %v: %s", err, out)
	}
}
