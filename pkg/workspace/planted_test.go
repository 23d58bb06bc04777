package workspace

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// What is looked for is what git itself takes for a repository.
func TestPlantedRepositoriesAreFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run(t, dir, "init", "-q")
	run(t, dir, "init", "-q", "--bare", "lib/data")
	run(t, dir, "init", "-q", "--bare", "src/inner")
	if err := os.Rename(filepath.Join(dir, "src/inner"), filepath.Join(dir, "src/.git")); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "docs/.git", "gitdir: ../src/.git\n")
	write(t, dir, "harmless/HEAD", "")
	for _, rel := range []string{"lib/data", "src", "docs"} {
		if at := run(t, filepath.Join(dir, rel), "rev-parse", "--absolute-git-dir"); at == filepath.Join(dir, ".git") {
			t.Errorf("git does not take %s for a repository", rel)
		}
	}
	found, err := Planted(t.Context(), dir, true)
	if err != nil || !slices.Equal(found, []string{"docs", "lib/data", "src"}) {
		t.Errorf("%q, %v", found, err)
	}
	if found, _ = Planted(t.Context(), dir, false); !slices.Contains(found, ".") {
		t.Errorf("with its own: %q", found)
	}
}
