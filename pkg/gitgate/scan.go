package gitgate

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"sort"

	"bottle/pkg/dlp"
)

// scanner looks for secrets in what objects hold.
type scanner struct {
	dlp *dlp.Scanner
	// without are the rules that source code meets too often: something random
	// assigned to a name such as key.
	without []string
}

func newScanner(known []dlp.Known, key []byte, maxSize int64) (*scanner, error) {
	s, err := dlp.New(dlp.Default(), known, dlp.Options{Key: key, MaxDecoded: max(4*maxSize, 1<<30)})
	if err != nil {
		return nil, err
	}
	return &scanner{dlp: s, without: dlp.Default().ClassIDs(dlp.Generic)}, nil
}

// hit is one thing that was found in a text.
type hit struct {
	rule        string
	member      string // of an archive, and of one in that; empty: the object itself
	line        int    // 1 for the first; 0 where lines mean nothing
	fingerprint string
	named       bool // the name is what was found
}

// Rules that are the gate's own.
const (
	ruleUnscannable = "unscannable" // it cannot be read to its end, so that it must not pass
	ruleGitmodules  = "gitmodules"
)

const (
	maxHits   = 20      // in one object; more add nothing to what a person has to decide
	maxLocate = 1 << 20 // bytes of a text in which a line is told
)

// text looks through one text, whole: a finding does not hide the next.
func (s *scanner) text(name string, data []byte) []hit {
	var hits []hit
	first := 1
	for len(hits) < maxHits {
		h, found := s.first(name, data)
		if !found {
			break
		}
		if h.named {
			hits, name = append(hits, h), ""
			continue
		}
		end := len(data)
		if len(data) <= maxLocate && h.rule != ruleUnscannable {
			end = s.end(name, data)
			h.line = first + bytes.Count(data[:max(end-1, 0)], []byte("\n"))
		}
		hits = append(hits, h)
		first += bytes.Count(data[:end], []byte("\n"))
		if data = data[end:]; len(data) == 0 {
			break
		}
	}
	return hits
}

// first is the first thing that is found in a text.
func (s *scanner) first(name string, data []byte) (hit, bool) {
	o := s.dlp.Object(name, s.without)
	defer o.Release()
	_, err := o.Write(data)
	if err == nil {
		err = o.Close()
	}
	return hitOf(err)
}

// name looks at a name alone.
func (s *scanner) name(name string) (hit, bool) { return hitOf(s.dlp.Name(name)) }

// end is where the shortest beginning of data that ends with a line, and in which
// something is found, ends.
func (s *scanner) end(name string, data []byte) int {
	var ends []int
	for i, c := range data {
		if c == '\n' {
			ends = append(ends, i+1)
		}
	}
	ends = append(ends, len(data))
	i := sort.Search(len(ends)-1, func(i int) bool {
		_, found := s.first(name, data[:ends[i]])
		return found
	})
	return ends[i]
}

// hitOf reads what a scan ended with.
func hitOf(err error) (hit, bool) {
	var f *dlp.Finding
	switch {
	case err == nil:
		return hit{}, false
	case errors.As(err, &f):
		return hit{rule: f.Rule, fingerprint: f.Fingerprint, named: f.Where == "url.path"}, true
	}
	return hit{rule: ruleUnscannable}, true
}

// whole is how much of an object is held in memory to be looked at from all
// sides, in bytes. What is larger is looked at as it streams by.
const whole = 16 << 20

// wholeZip is the same for a zip archive, whose directory is at its end.
const wholeZip = 64 << 20

const (
	unpackFloor = 64 << 20 // bytes that may be unpacked of any object
	unpackRatio = 4        // times its size that may be
)

// held looks through a file's content, and into what is packed in it. What a
// decompressor stumbles over is refused.
func (s *scanner) held(name string, data []byte) (hits []hit) {
	defer stumble(&hits)
	c := s.content(int64(len(data)))
	c.look(name, "", data, 0)
	return c.hits
}

// blob is held for what has to be read yet.
func (s *scanner) blob(name string, size int64, r io.Reader) (hits []hit, err error) {
	defer stumble(&hits)
	b := bufio.NewReader(r)
	if head, _ := b.Peek(len(magicZip)); size > whole && !(bytes.Equal(head, magicZip) && size <= wholeZip) {
		return s.content(size).stream(name, b)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(b, data); err != nil {
		return nil, err
	}
	return s.held(name, data), nil
}

func (s *scanner) content(size int64) *content {
	return &content{s: s, left: unpackFloor + unpackRatio*size}
}

func stumble(hits *[]hit) {
	if recover() != nil {
		*hits = []hit{{rule: ruleUnscannable}}
	}
}
