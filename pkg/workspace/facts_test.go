package workspace

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestTheFactsAreThoseOfWhatIsCarried(t *testing.T) {
	dir := newRepo(t)
	head := run(t, dir, "rev-parse", "HEAD")
	run(t, dir, "tag", "-a", "v1", "-m", "v1")
	got, err := FactsOf(testContext(t), dir)
	if err != nil || got.Format != "sha1" || got.Branch != run(t, dir, "symbolic-ref", "HEAD") || !slices.Contains(got.Known, head) ||
		!slices.Contains(got.Known, run(t, dir, "rev-parse", "v1")) || len(got.Shallow) > 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".git", "shallow"), []byte(head+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := FactsOf(testContext(t), dir); err != nil || !slices.Equal(got.Shallow, []string{head}) {
		t.Errorf("of a shallow one: %+v, %v", got, err)
	}
}
