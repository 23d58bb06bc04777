package workspace

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Check reads a bundle that is said to be Capture's and says whether it is
// safe to fetch from, and which branches it has (names below refs/heads). It
// is for the side that did not run the capture: git itself checked no object
// of a bundle before version 2.46, whatever transfer.fsckObjects says. Of the
// limits, Bytes and Temp count; the scratch space is as large as the bundle.
func Check(ctx context.Context, r io.Reader, l Limits) ([]string, error) {
	heads, err := check(ctx, r, l)
	if err != nil {
		return nil, fmt.Errorf("the bundle is not safe to use: %w", err)
	}
	return heads, nil
}

func check(ctx context.Context, r io.Reader, l Limits) ([]string, error) {
	scratch, err := os.MkdirTemp(l.Temp, "check-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(scratch)
	if l.Bytes == 0 {
		l.Bytes = defaultBytes
	}
	in := bufio.NewReaderSize(io.LimitReader(r, l.Bytes+1), 64<<10)
	b, err := parseHeader(in)
	if err != nil {
		return nil, err
	}
	b.ctx, b.g = ctx, isolate(scratch)
	v, err := b.checker(filepath.Join(scratch, "check"))
	if err != nil {
		return nil, err
	}
	// The pack must hold every base of its deltas, so this works without the
	// commits that a bundle may presume.
	counted := &limited{w: io.Discard, left: l.Bytes}
	if err := v.run(ctx, io.TeeReader(in, counted), nil, b.indexPack()...); err != nil {
		if counted.err != nil {
			return nil, counted.err
		}
		return nil, err
	}
	if err := b.complete(v); err != nil {
		return nil, err
	}
	if l.Diff != nil {
		if err := b.diff(v, l); err != nil {
			bounded(l.Warn)("its difference from what it began with is not whole: " + err.Error())
		}
	}
	var heads []string
	for _, f := range b.refs {
		heads = append(heads, strings.TrimPrefix(f.Name, "refs/heads/"))
	}
	return heads, nil
}

var errHeader = errors.New("its header is not as this program writes it")

// parseHeader reads the text before the pack, and takes no more than header
// writes.
func parseHeader(in *bufio.Reader) (*bundle, error) {
	b := &bundle{format: "sha1"}
	first, err := headerLine(in)
	if err != nil {
		return nil, err
	}
	switch first {
	case "# v2 git bundle":
	case "# v3 git bundle":
		if next, err := headerLine(in); err != nil || next != "@object-format=sha256" {
			return nil, errHeader
		}
		b.format = "sha256"
	default:
		return nil, errHeader
	}
	n := &names{taken: map[string]string{}}
	for range 3 * maxRefs {
		line, err := headerLine(in)
		if err != nil {
			return nil, err
		}
		if line == "" {
			if len(b.refs) == 0 || b.head != "" && !b.names(b.head) {
				return nil, errHeader
			}
			return b, nil
		}
		if err := b.headerRef(line, n); err != nil {
			return nil, err
		}
	}
	return nil, errHeader
}

func headerLine(in *bufio.Reader) (string, error) {
	line, err := in.ReadSlice('\n')
	if err != nil || len(line) > 1200 {
		return "", errHeader
	}
	return string(line[:len(line)-1]), nil
}

func (b *bundle) headerRef(line string, n *names) error {
	if oid, presumed := strings.CutPrefix(line, "-"); presumed {
		b.thin = true
		b.shallow = append(b.shallow, oid)
		return b.checkOID(oid)
	}
	oid, name, _ := strings.Cut(line, " ")
	short, isHead := strings.CutPrefix(name, "refs/heads/")
	switch {
	case name == "HEAD" && b.head == "":
		b.head = oid
	case name == "refs/shallow/"+oid && !b.thin:
		b.shallow = append(b.shallow, oid)
	case isHead && validRef(name) && isInert(short) && n.take(name, oid) == name:
		b.refs = append(b.refs, ref{name, oid})
	default:
		return fmt.Errorf("%w: %q", errHeader, name)
	}
	return b.checkOID(oid)
}

// names says whether a branch is at that commit.
func (b *bundle) names(oid string) bool {
	return slices.ContainsFunc(b.refs, func(f ref) bool { return f.OID == oid })
}

func (b *bundle) checkOID(oid string) error {
	if !isOID(oid) || (len(oid) == 64) != (b.format == "sha256") {
		return errHeader
	}
	return nil
}
