package workspace

import (
	"os"
	"path/filepath"
	"strings"
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
	for _, name := range []string{"rebase-merge", "rebase-apply", "BISECT_LOG"} {
		path, err := s.g.line(s.ctx, "rev-parse", "--git-path", name)
		if err != nil {
			return err
		}
		if _, err := os.Stat(s.abs(path)); err == nil {
			s.warn("a rebase, am or bisect is under way outside: the files come along, that state does not")
			break
		}
	}
	return nil
}

// both is the user's own file, wherever it is configured, and then the
// repository's, which counts for more.
func (s *source) both(key, standard, own string) ([]byte, error) {
	path, err := s.g.line(s.ctx, "config", "--type=path", "--get", key)
	if err != nil && exitCode(err) != 1 {
		return nil, err
	}
	if path == "" {
		base := os.Getenv("XDG_CONFIG_HOME")
		if base == "" {
			base = filepath.Join(os.Getenv("HOME"), ".config")
		}
		path = filepath.Join(base, "git", standard)
	}
	user, _ := os.ReadFile(s.abs(path)) // git, too, goes on without it
	mine, err := s.file(own)
	if err != nil {
		return nil, err
	}
	if len(user) > 0 && user[len(user)-1] != '\n' {
		user = append(user, '\n')
	}
	return append(user, mine...), nil
}

func (s *source) abs(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(s.g.dir, path)
}

// file reads a file in the repository's own directory; nil if there is none.
func (s *source) file(name string) ([]byte, error) {
	path, err := s.g.line(s.ctx, "rev-parse", "--git-path", name)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(s.abs(path))
	if os.IsNotExist(err) {
		return nil, nil
	}
	return data, err
}
