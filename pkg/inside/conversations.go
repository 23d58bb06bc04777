package inside

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"bottle/pkg/frame"
)

// maxConversations bounds what is captured of an agent's conversations, in
// bytes: of more than that, the newest.
const maxConversations = 64 << 20

// maxFiles is how many files are taken; they are all open at once.
const maxFiles = 1000

// conversation is a file of one.
type conversation struct {
	name string
	info fs.FileInfo
	f    *os.File
}

// Conversations writes the files of the agent's home whose paths fit a pattern, of
// which each part is a name or one with a * in it; the oldest first, behind a line
// that says how long it is (frame.Section). No link is followed, and nothing but
// regular files is read.
func Conversations(home, pattern string, w io.Writer) error {
	root, err := os.OpenRoot(home)
	if err != nil {
		return fmt.Errorf("cannot open the agent's home: %w", err)
	}
	defer root.Close()
	var size int64
	var open []conversation
	for _, c := range newest(conversations(root, pattern)) {
		if c.open(root) { // the agent may have made it unreadable: then it goes without
			defer c.f.Close()
			open = append(open, c)
			size += c.info.Size() + 1
		}
	}
	if err := frame.WriteSection(w, size); err != nil {
		return err
	}
	for _, c := range open {
		if _, err := io.CopyN(w, c.f, c.info.Size()); err != nil {
			return fmt.Errorf("cannot read a conversation: %w", err)
		}
		if _, err := io.WriteString(w, "\n"); err != nil {
			return err
		}
	}
	return nil
}

// conversations are all there are, from the oldest to the newest.
func conversations(root *os.Root, pattern string) (found []conversation) {
	names := []string{"."}
	for part := range strings.SplitSeq(pattern, "/") {
		names = below(root, names, part)
	}
	for _, name := range names {
		if info, err := root.Lstat(name); err == nil && info.Mode().IsRegular() {
			found = append(found, conversation{name: name, info: info})
		}
	}
	slices.SortStableFunc(found, func(a, b conversation) int { return a.info.ModTime().Compare(b.info.ModTime()) })
	return found
}

// maxEntries is how many names of one depth are looked at.
const maxEntries = 10_000

// below are the paths in these directories whose last part fits.
func below(root *os.Root, dirs []string, part string) (names []string) {
	for _, dir := range dirs {
		if !strings.Contains(part, "*") {
			names = append(names, path.Join(dir, part))
			continue
		}
		for _, name := range entries(root, dir) {
			if fits, err := path.Match(part, path.Base(name)); err == nil && fits && len(names) < maxEntries {
				names = append(names, name)
			}
		}
	}
	return names
}

// entries are the paths in a directory, which is none where a link leads to it.
func entries(root *os.Root, dir string) (names []string) {
	if info, err := root.Lstat(dir); err != nil || !info.IsDir() {
		return nil
	}
	f, err := root.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	list, err := f.Readdirnames(maxEntries)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	for _, name := range list {
		names = append(names, path.Join(dir, name))
	}
	slices.Sort(names)
	return names
}

// newest are the newest that are within the bound together.
func newest(all []conversation) []conversation {
	var size int64
	for i := len(all) - 1; i >= 0; i-- {
		if size += all[i].info.Size() + 1; size > maxConversations || len(all)-i > maxFiles {
			return all[i+1:]
		}
	}
	return all
}

// open opens the file that was found, and no other.
func (c *conversation) open(root *os.Root) bool {
	f, err := root.OpenFile(c.name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	info, err := f.Stat()
	if err != nil || !os.SameFile(info, c.info) {
		f.Close()
		return false
	}
	c.info, c.f = info, f
	return true
}
