// Package image says what the images of a bottle are made of: build contexts,
// and tags that are the hash of what goes in, so that an image that exists need
// not be made. It does no I/O of its own and knows no engine: files come in as
// values or as something to open, and Context writes to whom it is told.
package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Labels on images.
const (
	LabelProgram = "bottle.program" // the agent's name, or "sidecar"
	LabelVersion = "bottle.version" // of the agent's program, where it has one
	LabelAnew    = "bottle.anew"    // when it was made in the place of one that was there
)

// Base is the image that scripts/base-image makes.
const Base = "bottle-base:bookworm"

// Build is an image that can be made: its tag, and what it is made of.
type Build struct {
	Tag   string
	From  string // the image below, or scratch
	Steps []string
	// Labels come before the steps: the last step may be somebody else's text.
	Labels map[string]string
	Files  []File
}

// File is one file of a build context. Its content is Data, or what Open gives:
// then Size is its length, and ID with it names the content in the image's tag.
type File struct {
	Name string // relative path in the context
	Mode int64  // permission bits
	Data []byte
	Open func() (io.ReadCloser, error)
	Size int64
	ID   string
}

// Dockerfile is the text that the engine's builder reads. The builder of old
// engines knows no here-documents and no COPY --chmod; nothing here uses them.
func (b Build) Dockerfile() []byte {
	var text strings.Builder
	fmt.Fprintf(&text, "FROM %s\n", b.From)
	for _, k := range slices.Sorted(maps.Keys(b.Labels)) {
		fmt.Fprintf(&text, "LABEL %s=%s\n", k, quote(b.Labels[k]))
	}
	for _, s := range b.Steps {
		text.WriteString(strings.TrimRight(s, "\n") + "\n")
	}
	return []byte(text.String())
}

// quote writes a word so that the builder reads it as it is: no variable in it
// is looked up.
func quote(s string) string {
	return strings.ReplaceAll(strconv.Quote(s), "$", `\$`)
}

// Provide returns the build with a file and, where the version is not empty,
// with the label that tells it. The tag stays: what a tag promises was decided
// before the file was fetched.
func (b Build) Provide(version string, f File) Build {
	b.Files = append(slices.Clone(b.Files), f)
	if version != "" {
		b.Labels = maps.Clone(b.Labels)
		b.Labels[LabelVersion] = version
	}
	return b
}

// Anew returns the build so that the engine does every step again, none of them
// out of its cache. The tag stays.
func (b Build) Anew(now time.Time) Build {
	b.Labels = maps.Clone(b.Labels)
	if b.Labels == nil {
		b.Labels = map[string]string{}
	}
	b.Labels[LabelAnew] = now.UTC().Format(time.RFC3339Nano)
	return b
}

// Context writes the build context as a tar stream. Equal builds give equal
// bytes.
func (b Build) Context(w io.Writer) error {
	t := tar.NewWriter(w)
	dockerfile := File{Name: "Dockerfile", Mode: 0o644, Data: b.Dockerfile()}
	for _, f := range append([]File{dockerfile}, b.Files...) {
		if err := f.write(t); err != nil {
			return fmt.Errorf("cannot send %s to the builder: %w", f.Name, err)
		}
	}
	if err := t.Close(); err != nil {
		return fmt.Errorf("cannot send the build context: %w", err)
	}
	return nil
}

func (f File) write(t *tar.Writer) error {
	var content io.Reader = bytes.NewReader(f.Data)
	size := int64(len(f.Data))
	if f.Open != nil {
		r, err := f.Open()
		if err != nil {
			return err
		}
		defer r.Close()
		content, size = r, f.Size
	}
	h := &tar.Header{Typeflag: tar.TypeReg, Name: f.Name, Mode: f.Mode, Size: size, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	_, err := io.Copy(t, content)
	return err
}

// tag names the image after all that is known of it: the Dockerfile, and the
// content of the files that are there already, or what names it.
func (b Build) tag(repository, prefix string) string {
	h := sha256.New()
	part := func(p []byte) {
		fmt.Fprintf(h, "%d:", len(p)) // lengths keep neighbours apart
		h.Write(p)
	}
	part(b.Dockerfile())
	for _, f := range b.Files {
		part([]byte(f.Name))
		part([]byte(strconv.FormatInt(f.Mode, 8)))
		part(f.Data)
		part([]byte(f.ID))
		part([]byte(strconv.FormatInt(f.Size, 10)))
	}
	return repository + ":" + prefix + hex.EncodeToString(h.Sum(nil))[:16]
}
