package workspace

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// readFiles takes what git keeps in files of its own.
func (s *source) readFiles(r *repo) (err error) {
	if r.Exclude, err = s.both("core.excludesFile", "ignore", "info/exclude"); err != nil {
		return err
	}
	if r.Attributes, err = s.both("core.attributesFile", "attributes", "info/attributes"); err != nil {
		return err
	}
	if r.Sparse, err = s.file("info/sparse-checkout"); err != nil {
		return err
	}
	r.State = map[string][]byte{}
	for _, name := range stateFiles {
		data, err := s.file(name)
		if err != nil {
			return err
		}
		if data == nil {
			continue
		}
		if s.partial {
			s.warn("a merge or the like is under way outside, and does not come along")
			break
		}
		if strings.HasSuffix(name, "_HEAD") {
			s.state = append(s.state, strings.Fields(string(data))...)
		}
		r.State[name] = data
	}
	for _, name := range leftFiles {
		if _, err := os.Lstat(s.files[name]); err == nil {
			s.warn("a rebase, am, bisect or series of picks is under way outside: the files come along, that state does not")
			break
		}
	}
	return nil
}

// leftFiles say that something is under way that does not come along.
var leftFiles = []string{"rebase-merge", "rebase-apply", "sequencer", "BISECT_LOG"}

// locate asks git where its files are: linked worktrees share some of them.
func (s *source) locate() error {
	names := append([]string{"info/exclude", "info/attributes", "info/sparse-checkout", "shallow"}, stateFiles...)
	names = append(names, leftFiles...)
	var ask []string
	for _, name := range names {
		ask = append(ask, "--git-path", name)
	}
	out, err := s.g.line(s.ctx, append([]string{"rev-parse"}, ask...)...)
	if err != nil {
		return err
	}
	s.files = map[string]string{}
	paths := strings.Split(out, "\n")
	for i, name := range names {
		path := paths[min(i, len(paths)-1)]
		if len(paths) != len(names) { // there is a line end in them
			if path, err = s.g.line(s.ctx, "rev-parse", "--git-path", name); err != nil {
				return err
			}
		}
		s.files[name] = from(s.g.dir, path)
	}
	return nil
}

// both is the user's own file, wherever it is configured, and then the
// repository's, which counts for more.
func (s *source) both(key, standard, own string) ([]byte, error) {
	user, err := s.users(key, standard)
	if err != nil {
		return nil, err
	}
	mine, err := s.file(own)
	if err != nil {
		return nil, err
	}
	if len(user) > 0 && user[len(user)-1] != '\n' {
		user = append(user, '\n')
	}
	return append(user, mine...), nil
}

// users reads the file that a setting names. Where the repository's own
// configuration names it, it must be a file of that repository: that
// configuration may be a stranger's, and the file anybody's key.
func (s *source) users(key, standard string) ([]byte, error) {
	said, err := s.g.line(s.ctx, "config", "--show-scope", "--type=path", "--get", key)
	if err != nil && exitCode(err) != 1 {
		return nil, err
	}
	scope, path, _ := strings.Cut(said, "\t")
	if path == "" {
		base := os.Getenv("XDG_CONFIG_HOME")
		if base == "" {
			base = filepath.Join(os.Getenv("HOME"), ".config")
		}
		scope, path = "global", filepath.Join(base, "git", standard)
	}
	path = from(s.g.dir, path)
	if scope == "global" || scope == "system" {
		user, _ := os.ReadFile(path) // git, too, goes on without it
		return user, nil
	}
	rel, err := filepath.Rel(s.g.dir, path)
	if err != nil || !filepath.IsLocal(rel) {
		s.warn(fmt.Sprintf("the repository's %s is a file outside of it, and does not count inside: %q", key, path))
		return nil, nil
	}
	t, err := openTree(s.g.dir)
	if err != nil {
		return nil, err
	}
	defer t.close()
	if !t.isDir(filepath.Dir(rel)) {
		return nil, nil
	}
	f, _, err := t.open(rel)
	if err != nil {
		return nil, nil
	}
	return readAll(f)
}

// file reads a file in the repository's own directory; nil if there is none.
// It follows no symlink: git writes none there.
func (s *source) file(name string) ([]byte, error) {
	f, err := os.OpenFile(s.files[name], os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%s is a symlink", s.files[name])
	}
	if err != nil {
		return nil, err
	}
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		f.Close()
		return nil, fmt.Errorf("%s is not a file", f.Name())
	}
	return readAll(f)
}

// readAll reads a file that is to travel in a section's header, and closes it.
func readAll(f *os.File) ([]byte, error) {
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxHeader+1))
	if err == nil && len(data) > maxHeader {
		err = fmt.Errorf("%s is larger than %d bytes", f.Name(), maxHeader)
	}
	return data, err
}
