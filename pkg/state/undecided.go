package state

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxNames bounds how many names of a directory are looked at.
const maxNames = 10_000

// Undecided counts the proposals of all bottles that have no decision, by their
// names alone.
func (h *Home) Undecided() int {
	slugs, _ := h.Slugs() // what cannot be listed has none
	n := 0
	for _, slug := range slugs {
		for _, source := range sources {
			base := filepath.Join(h.StateDir(slug), source)
			asked := namesIn(filepath.Join(base, "out", proposalsDir))
			if len(asked) == 0 {
				continue
			}
			decided := namesIn(filepath.Join(base, "in", decisionsDir))
			for name := range asked {
				if !decided[name] {
					n++
				}
			}
		}
	}
	return n
}

// namesIn are the names of the documents in a directory. What is none, such as a
// link that a sidecar put there, has none; nothing waits for a pipe.
func namesIn(dir string) map[string]bool {
	d, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil
	}
	defer d.Close()
	entries, err := d.ReadDir(maxNames)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	names := make(map[string]bool, len(entries))
	for _, e := range entries {
		name := e.Name()
		if strings.HasSuffix(name, ".json") && !strings.HasPrefix(name, ".") && e.Type()&(fs.ModeSymlink|fs.ModeNamedPipe) == 0 {
			names[name] = true
		}
	}
	return names
}
