package workspace

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// files writes below one directory. It makes every directory itself and never
// passes through anything else, so no symlink of the stream is ever followed.
type files struct {
	root *os.Root
	made map[string]bool
	buf  []byte
}

func newFiles(root *os.Root) *files {
	return &files{root: root, made: map[string]bool{".": true, "": true}, buf: make([]byte, copySize)}
}

func (f *files) mkdir(p string) error {
	if f.made[p] {
		return nil
	}
	if err := f.mkdir(path.Dir(p)); err != nil {
		return err
	}
	if err := f.root.Mkdir(p, 0o755); err != nil {
		return err
	}
	f.made[p] = true
	return nil
}

// add makes the file, symlink or directory of one tar entry below base.
func (f *files) add(base, rel string, h *tar.Header, content io.Reader) error {
	rel, isDir := strings.CutSuffix(rel, "/")
	if err := checkPath(rel); err != nil {
		return err
	}
	if isDir != (h.Typeflag == tar.TypeDir) {
		return fmt.Errorf("entry %q is of the wrong kind", h.Name)
	}
	p := path.Join(base, rel)
	if len(p) > maxPath {
		return fmt.Errorf("path %q is too long", p)
	}
	if isDir {
		return f.mkdir(p)
	}
	if err := f.mkdir(path.Dir(p)); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeSymlink:
		return f.root.Symlink(h.Linkname, p)
	case tar.TypeReg:
		return f.write(p, h, content)
	}
	return fmt.Errorf("entry %q is of the wrong kind", h.Name)
}

func (f *files) write(p string, h *tar.Header, content io.Reader) (err error) {
	file, err := f.root.OpenFile(p, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if e := file.Close(); err == nil {
			err = e
		}
	}()
	n, err := io.CopyBuffer(onlyWriter{file}, content, f.buf)
	if errors.Is(err, io.ErrUnexpectedEOF) || err == nil && n != h.Size {
		return ErrTruncated
	}
	if err != nil {
		return err
	}
	if err := file.Chmod(fs.FileMode(h.Mode)&0o777 | 0o400); err != nil {
		return err
	}
	return setTime(file, h.ModTime)
}

// setTime sets when an open file was last written and read. After its last
// write, since that sets it too.
func setTime(file *os.File, at time.Time) error {
	t := unix.Timeval{Sec: at.Unix()}
	return unix.Futimes(int(file.Fd()), []unix.Timeval{t, t})
}

// append writes one of git's own files, after what git put there.
func (f *files) append(p string, data []byte) error {
	return f.put(p, os.O_APPEND, data)
}

func (f *files) replace(p string, data []byte) error {
	return f.put(p, os.O_TRUNC, data)
}

func (f *files) put(p string, how int, data []byte) error {
	if err := f.root.MkdirAll(path.Dir(p), 0o755); err != nil {
		return err
	}
	file, err := f.root.OpenFile(p, os.O_CREATE|os.O_WRONLY|syscall.O_NOFOLLOW|how, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Close())
}
