// Package spool treats a directory as a queue that survives crashes: files
// appear whole or not at all, logs only grow, and what others wrote is read
// without being led astray. It knows nothing of what the files mean.
package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// TempPrefix begins the name of every temporary file; sweepers go by it.
const TempPrefix = ".tmp-"

// WriteFile writes data to path so that a reader, and a machine that loses
// power, sees the old file or the new one, never half a file.
func WriteFile(path string, data []byte, perm fs.FileMode) (err error) {
	dir, base := filepath.Dir(path), filepath.Base(path) // never "", which would be some other file system's
	f, err := os.CreateTemp(dir, TempPrefix+base+"-")
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
			err = fmt.Errorf("cannot write %s: %w", path, err)
		}
	}()
	if err = f.Chmod(perm); err != nil {
		return err
	}
	if _, err = f.Write(data); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	// Rename last: a reader must never see half a record.
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return Sync(dir)
}

// CreateFile is WriteFile for a path that must not be there: of several who
// create it one wins, and the others get fs.ErrExist. What it holds is durable;
// that it is there, once the caller has called Sync for the directory.
func CreateFile(path string, data []byte, perm fs.FileMode) error {
	dir, base := filepath.Dir(path), filepath.Base(path)
	f, err := os.CreateTemp(dir, TempPrefix+base+"-")
	if err != nil {
		return fmt.Errorf("cannot create %s: %w", path, err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(perm), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("cannot create %s: %w", path, err)
	}
	if err := os.Link(f.Name(), path); err != nil {
		return fmt.Errorf("cannot create %s: %w", path, err)
	}
	return nil
}

// Sync makes durable what appeared in dir, and what left it.
func Sync(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// ErrUnsafe is what ReadFile returns for anything but a regular file of a
// bearable size.
var ErrUnsafe = errors.New("not a regular file of a bearable size")

// OpenFile opens dir/name, which somebody else wrote, for reading: no symlink
// leads out of dir, no FIFO blocks, and what is not a regular file is ErrUnsafe.
func OpenFile(dir, name string) (*os.File, error) {
	f, err := open(dir, name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: %w", filepath.Join(dir, name), ErrUnsafe)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// open opens dir/name within dir. What lies in dir itself, and is no link, leads
// nowhere else: without a root it costs half as much, and a listing opens many.
func open(dir, name string) (*os.File, error) {
	if dir != "" && name != ".." && filepath.Base(name) == name {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDONLY|nonblock|nofollow, 0)
		if !errors.Is(err, errLink) {
			return f, err
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.OpenFile(name, os.O_RDONLY|nonblock, 0)
}

// ReadFile reads dir/name as OpenFile opens it, if it has at most max bytes.
func ReadFile(dir, name string, max int64) ([]byte, error) {
	f, err := OpenFile(dir, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > max {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, name), ErrUnsafe)
	}
	data, err := io.ReadAll(io.LimitReader(f, max+1))
	if err == nil && int64(len(data)) > max {
		err = fmt.Errorf("%s: %w", filepath.Join(dir, name), ErrUnsafe)
	}
	return data, err
}

// Append opens a log that only grows. One Write is one record: the kernel
// appends it whole, whoever else writes.
func Append(path string, perm fs.FileMode) (*os.File, error) {
	return os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, perm)
}

// Sweep removes the temporary files that killed writers left in dir.
func Sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), TempPrefix) {
			os.Remove(filepath.Join(dir, e.Name()))
		}
	}
	return nil
}
