package inside

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// place copies the files and directories below from, which the host wrote,
// into home. What is there already stays: the agent may have changed it since.
// No symbolic link leads it out of home, and none is copied.
func place(from, home string) error {
	if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if home == "" {
		return errors.New("cannot place the agent's files: HOME is not set")
	}
	source, err := os.OpenRoot(from)
	if err != nil {
		return fmt.Errorf("cannot open the agent's files: %w", err)
	}
	defer source.Close()
	target, err := os.OpenRoot(home)
	if err != nil {
		return fmt.Errorf("cannot open the home directory: %w", err)
	}
	defer target.Close()
	return fs.WalkDir(source.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fmt.Errorf("cannot read the agent's files: %w", err)
		case path == ".":
			return nil
		case d.IsDir():
			return placeDir(target, path)
		case d.Type().IsRegular():
			return placeFile(source, target, path)
		}
		return nil
	})
}

func placeDir(target *os.Root, path string) error {
	switch fi, err := target.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
		if err := target.Mkdir(path, 0o700); err != nil {
			return fmt.Errorf("cannot make a directory in the home directory: %w", err)
		}
	case err != nil:
		return fmt.Errorf("cannot look into the home directory: %w", err)
	case !fi.IsDir():
		return fs.SkipDir // the agent put something else there
	}
	return nil
}

func placeFile(source, target *os.Root, path string) error {
	in, err := source.Open(path)
	if err != nil {
		return fmt.Errorf("cannot read the agent's files: %w", err)
	}
	defer in.Close()
	fi, err := in.Stat()
	if err != nil {
		return fmt.Errorf("cannot read the agent's files: %w", err)
	}
	out, err := target.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fi.Mode().Perm()&0o700|0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot write into the home directory: %w", err)
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return fmt.Errorf("cannot write into the home directory: %w", err)
	}
	return out.Close()
}
