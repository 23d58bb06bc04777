package workspace

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Planted lists the directories below root, relative to it, that git would take
// for a repository: of what Mountable took only an agent can have made them, and
// whose they are tells nothing, since an agent can rename a directory of the
// operator's to .git. covered: the .git of root itself was out of its reach. What
// cannot be looked into is passed over.
func Planted(ctx context.Context, root string, covered bool) (found []string, err error) {
	err = eachOf(ctx, root, func(rel string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
		case rel == ".git" && covered:
			return passOver(d)
		case strings.EqualFold(d.Name(), ".git") && rel != ".":
			found = append(found, filepath.Dir(rel))
		case d.IsDir() && isBareShaped(filepath.Join(root, rel)):
			found = append(found, rel)
		}
		return nil
	})
	return found, err
}

// isBareShaped says whether git takes a directory itself for a repository's.
func isBareShaped(dir string) bool {
	for _, name := range []string{"HEAD", "objects", "refs"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}
