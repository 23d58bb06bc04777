package workspace

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"time"
)

// tree reads a working tree without following any symlink in it.
type tree struct {
	root   *os.Root
	dirs   map[string]bool // which paths are directories, not links to some
	locked map[string]bool // which paths nobody lets us look at
}

func openTree(dir string) (*tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &tree{root: root, dirs: map[string]bool{".": true}, locked: map[string]bool{}}, nil
}

func (t *tree) close() { t.root.Close() }

// isDir says whether p is a directory that is reached without a symlink.
func (t *tree) isDir(p string) bool {
	is, known := t.dirs[p]
	if !known {
		if is = t.isDir(path.Dir(p)); is {
			fi, err := t.root.Lstat(p)
			is = err == nil && fi.IsDir()
			t.locked[p] = errors.Is(err, fs.ErrPermission)
		} else {
			t.locked[p] = t.locked[path.Dir(p)]
		}
		t.dirs[p] = is
	}
	return is
}

// lstat is Lstat, for which a path behind a symlink does not exist.
func (t *tree) lstat(p string) (fs.FileInfo, error) {
	if dir := path.Dir(p); !t.isDir(dir) {
		if t.locked[dir] {
			return nil, fs.ErrPermission
		}
		return nil, fs.ErrNotExist
	}
	fi, err := t.root.Lstat(p)
	if errors.Is(err, syscall.ENOTDIR) {
		err = fs.ErrNotExist
	}
	return fi, err
}

// open opens a regular file. It neither follows a link nor waits on a FIFO
// that has taken the file's place.
func (t *tree) open(p string) (*os.File, fs.FileInfo, error) {
	f, err := t.root.OpenFile(p, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, fi, nil
}

// tree sends the files of the repository at rel: what is tracked, and what is
// neither tracked nor ignored. It returns the repositories inside.
func (p *packer) tree(s *source, rel string) (inner []string, err error) {
	t, err := openTree(s.g.dir)
	if err != nil {
		return nil, err
	}
	defer t.close()
	out, said, err := s.g.outSaying(p.ctx, "ls-files", "--others", "--exclude-standard", "-z")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(said) {
		if text, ok := strings.CutPrefix(line, "warning: "); ok {
			p.warn(strings.TrimSpace(text)) // of a folder that it cannot open
		}
	}
	others := zsplit(out)
	sort.Strings(others)
	last := ""
	for _, e := range s.index {
		if e.path == last {
			continue // another stage of the same path
		}
		last = e.path
		if s.added[e.path] && !isFile(t, e.path) {
			p.warn(fmt.Sprintf("%q was to be added, and is gone", e.path))
			s.added[e.path] = false
		}
		if e.mode != gitlink || !t.isDir(e.path) {
			err = p.file(t, e.path, true)
		} else if err = p.directory(e.path); err == nil && has(t, e.path+"/.git") {
			inner = append(inner, e.path)
		}
		if err != nil {
			return nil, err
		}
	}
	for _, name := range others {
		if dir, ok := strings.CutSuffix(name, "/"); ok {
			inner = append(inner, dir)
			err = p.directory(dir)
		} else {
			err = p.file(t, name, false)
		}
		if err != nil {
			return nil, err
		}
	}
	return inner, nil
}

func has(t *tree, p string) bool {
	_, err := t.lstat(p)
	return err == nil
}

func isFile(t *tree, p string) bool {
	fi, err := t.lstat(p)
	return err == nil && (fi.Mode().IsRegular() || fi.Mode()&fs.ModeSymlink != 0)
}

func (p *packer) directory(rel string) error {
	if p.inPlace || checkPath(rel) != nil {
		return nil // nothing below it comes along, and that is told
	}
	p.info.Files++
	return p.tw.WriteHeader(&tar.Header{Name: "tree/" + rel + "/", Typeflag: tar.TypeDir, Mode: 0o755})
}

// file sends one file or symlink. A tracked one may be gone: it was deleted.
func (p *packer) file(t *tree, rel string, tracked bool) error {
	if p.ctx.Err() != nil || p.inPlace {
		return p.ctx.Err()
	}
	if checkPath(rel) != nil {
		p.warn(fmt.Sprintf("%q stays behind: no file in a repository may have that name", rel))
		return nil
	}
	fi, err := t.lstat(rel)
	if err == nil {
		switch fi.Mode().Type() {
		case 0:
			err = p.regular(t, rel)
		case fs.ModeSymlink:
			err = p.symlink(t, rel)
		case fs.ModeDir: // took the place of a tracked file
		default:
			p.warn(fmt.Sprintf("%q stays behind: it is not a file, symlink or directory", rel))
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist) && (fi != nil || !tracked):
		p.warn(fmt.Sprintf("%q vanished while it was copied", rel))
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("cannot read %s: permission denied", filepath.FromSlash(rel))
	}
	return err
}

func (p *packer) symlink(t *tree, rel string) error {
	target, err := t.root.Readlink(rel)
	if err != nil {
		return err
	}
	p.info.Files++
	return p.tw.WriteHeader(&tar.Header{Name: "tree/" + rel, Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777})
}

func (p *packer) regular(t *tree, rel string) error {
	f, fi, err := t.open(rel)
	if err != nil {
		return err
	}
	defer f.Close()
	h := &tar.Header{
		Name: "tree/" + rel, Typeflag: tar.TypeReg, Size: fi.Size(),
		Mode: int64(fi.Mode().Perm() | 0o400), ModTime: fi.ModTime().Truncate(time.Second),
	}
	if err := p.tw.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.CopyBuffer(onlyWriter{p.tw}, io.LimitReader(f, h.Size), p.buf)
	if err == nil && n < h.Size {
		// The size is sent already; a file that shrank is filled up.
		p.warn(fmt.Sprintf("%q changed while it was copied", rel))
		_, err = io.CopyN(p.tw, zeros{}, h.Size-n)
	}
	p.info.Files++
	p.info.Bytes += h.Size
	return err
}

// copySize is that of the buffers which files are copied through.
const copySize = 128 << 10

// onlyWriter hides that a writer has its own way to copy, with a new buffer
// each time.
type onlyWriter struct{ io.Writer }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
