package workspace

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// keepPointers puts git-lfs pointers back where the file is what the pointer
// says and the operator has it: the pointer was there from the start. Other
// contents stay in the snapshot as they are, since nobody else has them.
func (s *shot) keepPointers() error {
	if s.k.base == "" {
		return nil
	}
	out, err := s.g.out(s.c.ctx, "diff-index", "--cached", "--raw", "--no-abbrev", "--no-renames", "-z", s.k.base)
	if err != nil {
		return nil // base's objects may be gone; then nothing is known
	}
	changed := map[string][]change{} // by the object that the path had
	fields := zsplit(out)
	for i := 0; i+1 < len(fields); i += 2 {
		f := strings.Fields(fields[i])
		if len(f) == 5 && f[4] == "M" && strings.HasPrefix(f[0], ":100") && strings.HasPrefix(f[1], "100") {
			changed[f[2]] = append(changed[f[2]], change{fields[i+1], f[1]})
		}
	}
	pointers, err := s.pointers(sortedKeys(changed))
	if err != nil {
		return err
	}
	var info bytes.Buffer
	for oid, pointer := range pointers {
		for _, ch := range changed[oid] {
			if s.isPointed(ch.path, pointer) {
				fmt.Fprintf(&info, "%s %s\t%s\x00", ch.mode, oid, ch.path)
			}
		}
	}
	return s.indexInfo(info.Bytes())
}

type change struct{ path, mode string }

// maxPointer is the size up to which git-lfs takes a file for a pointer.
const maxPointer = 1024

// pointers are those of the objects that are small enough to be one.
func (s *shot) pointers(oids []string) (map[string][]byte, error) {
	sizes, err := s.g.pipe(s.c.ctx, lines(oids), "cat-file", "--batch-check=%(objectname) %(objectsize)")
	if err != nil {
		return nil, err
	}
	var small []string
	for line := range strings.Lines(string(sizes)) {
		oid, size, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.Atoi(size); err == nil && n <= maxPointer {
			small = append(small, oid)
		}
	}
	out, err := s.g.pipe(s.c.ctx, lines(small), "cat-file", "--batch=%(objectsize)")
	found := map[string][]byte{}
	for _, oid := range small {
		head, rest, _ := bytes.Cut(out, []byte("\n"))
		n, bad := strconv.Atoi(string(head))
		if bad != nil || n < 0 || n+1 > len(rest) {
			break
		}
		found[oid] = rest[:n]
		out = rest[n+1:]
	}
	return found, err
}

// isPointed says whether the file at p is what an LFS pointer stands for.
func (s *shot) isPointed(p string, pointer []byte) bool {
	oid, size, ok := parsePointer(pointer)
	if !ok {
		return false
	}
	f, fi, err := s.c.tree.open(s.rel(p))
	if err != nil {
		return false
	}
	defer f.Close()
	if fi.Size() != size {
		return false
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	return err == nil && hex.EncodeToString(h.Sum(nil)) == oid
}

func parsePointer(b []byte) (oid string, size int64, ok bool) {
	if !bytes.HasPrefix(b, []byte("version https://git-lfs.github.com/spec/v1\n")) {
		return "", 0, false
	}
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch key {
		case "oid":
			oid, ok = strings.CutPrefix(value, "sha256:")
		case "size":
			size, _ = strconv.ParseInt(value, 10, 64)
		}
	}
	return oid, size, ok && len(oid) == 64
}
