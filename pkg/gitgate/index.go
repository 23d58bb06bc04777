package gitgate

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"hash/crc32"
	"slices"
	"strings"
)

// index is what git's index-pack finds out of a pack whose objects are all here:
// where each is, what commits, trees and tags name, and the pack of these that git
// itself checks meanwhile.
type index struct {
	format  string
	objects []indexed
	named   map[string]link   // by ID
	read    map[string]bool   // blobs that git's check reads
	reads   map[string]bool   // whether it reads what trees call so
	calls   map[string]string // what trees call something
	called  int               // bytes of that
	checked checkedPack
}

// indexed is one object.
type indexed struct {
	at   int64
	id   string
	kind string
	crc  uint32 // of its bytes in the pack
}

// link is how an ID is named.
type link struct {
	kind     string // that it is to be of
	in, name string // the tree that names it first, and how; empty: no tree does
}

// Bounds of a pack whose index is written here. Others git takes in.
const (
	maxIndexed = 100_000
	maxNamed   = 100_000  // IDs and names in it together
	maxChecked = 16 << 20 // bytes of what git checks
	maxPaths   = 8 << 20  // bytes of all names, or paths, together
)

var errIndex = errors.New("git has to take this pack in")

func newIndex(format string) *index {
	return &index{format: format, named: map[string]link{}, read: map[string]bool{}, reads: map[string]bool{}, calls: map[string]string{}}
}

// add notes an object; data is nil for a blob that is large.
func (x *index) add(at int64, id, kind string, data []byte) error {
	x.objects = append(x.objects, indexed{at: at, id: id, kind: kind})
	switch {
	case kind == "blob" && !x.read[id]:
		return x.checked.put("blob", nil) // its place
	case kind == "blob" && data == nil:
		return errIndex
	}
	if err := x.name(id, kind, data); err != nil || len(x.named)+len(x.calls) > maxNamed || x.called > maxPaths {
		return errors.Join(errIndex, err)
	}
	return x.checked.put(kind, data)
}

// name notes what an object names.
func (x *index) name(id, kind string, data []byte) (err error) {
	note := func(id []byte, l link) {
		switch old, known := x.named[string(id)]; {
		case known && old.kind != l.kind:
			err = errIndex
		case old.in == "":
			x.named[string(id)] = l
		}
	}
	switch kind {
	case "tree":
		bad := eachEntry(data, idLength(x.format)/2, func(mode, name, named []byte) {
			l := link{kindOf(mode), id, x.call(name)}
			switch {
			case string(mode) == "160000": // of another repository
				return
			case l.kind == "":
				err = errIndex
				return
			}
			note(named, l)
			if l.kind == "blob" && x.reads[l.name] {
				x.read[string(named)] = true
			}
		})
		return errors.Join(bad, err)
	case "commit":
		for line := range bytes.Lines(data) {
			word, id, _ := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(" "))
			is, names := map[string]string{"tree": "tree", "parent": "commit"}[string(word)]
			if !names {
				break
			}
			note(unhex(id), link{kind: is})
		}
	case "tag":
		lines := bytes.SplitN(data, []byte("\n"), 3)
		if len(lines) < 3 {
			return errIndex
		}
		note(unhex(bytes.TrimPrefix(lines[0], []byte("object "))), link{kind: string(bytes.TrimPrefix(lines[1], []byte("type ")))})
	}
	return err
}

// call is a name that a tree has, and notes whether git's check reads what is called
// so.
func (x *index) call(name []byte) string {
	n, known := x.calls[string(name)]
	if !known {
		n = string(name)
		x.calls[n] = n
		x.called += len(n)
		x.reads[n] = isGitmodules(n) || n == ".gitattributes"
	}
	return n
}

// unhex is an ID as packs have it; of what is none, what no object has.
func unhex(id []byte) []byte {
	raw, err := hex.DecodeString(string(id))
	if err != nil {
		return nil
	}
	return raw
}

// elsewhere are the IDs that the pack's objects name and it does not have, with the
// kinds that they are to be of.
func (x *index) elsewhere() (map[string]string, error) {
	here := make(map[string]string, len(x.objects))
	for _, o := range x.objects {
		here[o.id] = o.kind
	}
	if len(here) < len(x.objects) {
		return nil, errIndex // one is twice in it
	}
	left := map[string]string{}
	for id, l := range x.named {
		switch here[id] {
		case l.kind:
		case "":
			left[hex.EncodeToString([]byte(id))] = l.kind
		default:
			return nil, errIndex
		}
	}
	return left, nil
}

// paths are names of the pack's files and folders, by their IDs; nil: these are too
// long.
func (x *index) paths() map[string]string {
	paths, left := make(map[string]string, len(x.named)), maxPaths
	var path []string
	for id, l := range x.named {
		if l.in == "" {
			continue
		}
		path = path[:0]
		for ; l.in != ""; l = x.named[l.in] { // an ID leads round to none
			if left -= len(l.name) + 1; left < 0 {
				return nil
			}
			path = append(path, l.name)
		}
		slices.Reverse(path)
		paths[hex.EncodeToString([]byte(id))] = strings.Join(path, "/")
	}
	return paths
}

// ended is a pack's sum, as it is and as its end says that it is.
type ended struct {
	sum  hash.Hash
	last []byte
}

// Write takes the next bytes of the pack.
func (e *ended) Write(p []byte) (int, error) {
	e.last = append(e.last, p...)
	if n := len(e.last) - e.sum.Size(); n > 0 {
		e.sum.Write(e.last[:n])
		e.last = append(e.last[:0], e.last[n:]...)
	}
	return len(p), nil
}

func (e *ended) right() bool { return bytes.Equal(e.sum.Sum(nil), e.last) }

// of is the index of a pack: gitformat-pack(5), version 2.
func (x *index) of(pack []byte) ([]byte, error) {
	width := idLength(x.format) / 2
	end := len(pack) - width
	if len(pack) >= 1<<31 {
		return nil, errIndex
	}
	sorted := slices.Clone(x.objects)
	for i := range sorted {
		next := int64(end)
		if i+1 < len(sorted) {
			next = sorted[i+1].at
		}
		sorted[i].crc = crc32.ChecksumIEEE(pack[sorted[i].at:next])
	}
	slices.SortFunc(sorted, func(a, b indexed) int { return cmp.Compare(a.id, b.id) })
	out := append(make([]byte, 0, 8+256*4+len(sorted)*(width+8)+2*width), "\xfftOc\x00\x00\x00\x02"...)
	n := 0
	for first := range 256 {
		for n < len(sorted) && int(sorted[n].id[0]) == first {
			n++
		}
		out = binary.BigEndian.AppendUint32(out, uint32(n))
	}
	for _, o := range sorted {
		out = append(out, o.id...)
	}
	for _, o := range sorted {
		out = binary.BigEndian.AppendUint32(out, o.crc)
	}
	for _, o := range sorted {
		out = binary.BigEndian.AppendUint32(out, uint32(o.at))
	}
	out = append(out, pack[end:]...)
	whole := newHash(x.format)
	whole.Write(out)
	return whole.Sum(out), nil
}
