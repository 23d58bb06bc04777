package lifecycle

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"bottle/pkg/image"
)

// program is a program as a file of an image.
func program(path string) (image.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return image.File{}, err
	}
	defer f.Close()
	file := image.File{Name: filepath.Base(path)}
	if file.ID, file.Size, err = identify(f); err != nil {
		return image.File{}, err
	}
	// Somebody may install another one meanwhile, which has no business under the
	// tag of this one.
	file.Open = func() (io.ReadCloser, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		id, size, err := identify(f)
		if err == nil && (id != file.ID || size != file.Size) {
			err = fmt.Errorf("%s changed meanwhile: start again", path)
		}
		if err != nil {
			f.Close()
			return nil, err
		}
		return f, nil
	}
	return file, nil
}

// identify returns what names a program's content, and its size. What go build
// made says so itself: its build ID ends with a hash of the program. To hash all
// programs anew took two fifths of a start's time on the processor.
func identify(f *os.File) (id string, size int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return "", 0, err
	}
	if id = buildID(f); id != "" {
		return id, info.Size(), nil
	}
	h := sha256.New()
	_, err = io.Copy(h, io.NewSectionReader(f, 0, info.Size()))
	return hex.EncodeToString(h.Sum(nil)), info.Size(), err
}

// buildID is the one that go build wrote into a program; empty: none.
func buildID(r io.ReaderAt) string {
	program, err := elf.NewFile(r)
	if err != nil {
		return ""
	}
	note := program.Section(".note.go.buildid")
	if note == nil {
		return ""
	}
	const head = 16 // three lengths, and the name "Go"
	data, err := note.Data()
	if err != nil || len(data) <= head {
		return ""
	}
	return string(data[head:])
}
