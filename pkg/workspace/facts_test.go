package workspace

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

func TestTheFactsAreThoseOfWhatIsCarried(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	head := run(t, dir, "rev-parse", "HEAD")
	run(t, dir, "tag", "-a", "v1", "-m", "v1")
	got, err := FactsOf(testContext(t), dir)
	if err != nil || got.Format != "sha1" || got.Branch != run(t, dir, "symbolic-ref", "HEAD") || !slices.Contains(got.Known, head) ||
		!slices.Contains(got.Known, run(t, dir, "rev-parse", "v1")) || len(got.Shallow) > 0 {
		t.Errorf("%+v, %v", got, err)
	}
	var pack bytes.Buffer
	if err := got.Seed(testContext(t), &pack); err != nil {
		t.Fatal(err)
	}
	bare := t.TempDir()
	run(t, bare, "init", "-q", "--bare")
	cmd := exec.Command("git", "-C", bare, "index-pack", "--stdin", "--strict")
	cmd.Stdin = &pack
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("the seed: %v: %s", err, out)
	}
	if tag := got.Refs["refs/tags/v1"]; len(got.Refs) != 2 || run(t, bare, "rev-parse", tag+"^{commit}") != got.Refs[got.Branch] {
		t.Errorf("the seed has not %v", got.Refs)
	}
	if err := os.WriteFile(filepath.Join(dir, ".git", "shallow"), []byte(head+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := FactsOf(testContext(t), dir); err != nil || !slices.Equal(got.Shallow, []string{head}) {
		t.Errorf("of a shallow one: %+v, %v", got, err)
	}
}
