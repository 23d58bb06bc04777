package npm

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// maxFile bounds what one file may unpack to.
const maxFile = 2 << 30

// unpack puts one file of an archive at target, executable for everybody. The
// rename comes last: a reader never sees half a program.
func unpack(archive, file, target, dir string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	content, err := find(f, file)
	if err != nil {
		return err
	}
	temp := filepath.Join(dir, "unpacked")
	out, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o700)
	if err != nil {
		return err
	}
	defer out.Close()
	n, err := io.Copy(out, io.LimitReader(content, maxFile+1))
	if err != nil {
		return err
	}
	if n > maxFile {
		return fmt.Errorf("%s is larger than %d bytes", file, maxFile)
	}
	if err := errors.Join(out.Chmod(0o755), out.Sync(), out.Close()); err != nil {
		return err
	}
	return os.Rename(temp, target)
}

func find(archive io.Reader, file string) (io.Reader, error) {
	z, err := gzip.NewReader(archive)
	if err != nil {
		return nil, err
	}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("there is no %s in it", file)
		}
		if err != nil {
			return nil, err
		}
		if h.Name == file && h.Typeflag == tar.TypeReg {
			return t, nil
		}
	}
}
