package frame

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// A section is what comes before the rest of a stream: a line with its length in
// bytes, decimal, and then so many bytes.

// ErrSection is the error for a stream that does not begin with one.
var ErrSection = errors.New("the stream does not begin with a section")

// maxSectionLine is the longest first line, its end included.
const maxSectionLine = 20

// WriteSection writes the line that begins a section of n bytes.
func WriteSection(w io.Writer, n int64) error {
	_, err := fmt.Fprintf(w, "%d\n", n)
	return err
}

// Splitter writes the section of a stream to one writer and the rest to another.
type Splitter struct {
	Section, Rest io.Writer
	Max           int64 // of the section, in bytes

	head []byte
	left int64
	open bool // its length is known
}

// Whole says whether the section came whole.
func (s *Splitter) Whole() bool { return s.open && s.left == 0 }

func (s *Splitter) Write(p []byte) (int, error) {
	all := len(p)
	if !s.open {
		end := bytes.IndexByte(p, '\n')
		n := end + 1
		if end < 0 {
			n = len(p)
		}
		if len(s.head)+n > maxSectionLine {
			return 0, ErrSection
		}
		s.head, p = append(s.head, p[:n]...), p[n:]
		if end < 0 {
			return all, nil
		}
		length, err := strconv.ParseUint(string(s.head[:len(s.head)-1]), 10, 62)
		if err != nil || int64(length) > s.Max {
			return 0, ErrSection
		}
		s.open, s.left = true, int64(length)
	}
	n := min(int64(len(p)), s.left)
	for _, part := range []struct {
		w io.Writer
		p []byte
	}{{s.Section, p[:n]}, {s.Rest, p[n:]}} {
		if len(part.p) == 0 {
			continue
		}
		if _, err := part.w.Write(part.p); err != nil {
			return 0, err
		}
	}
	s.left -= n
	return all, nil
}
