package gitgate

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// pack is a pack of a quarantine that git has checked, with the index that git has
// written of it. Each object must come out as its ID says.
type pack struct {
	file   *os.File
	data   []byte // of the file
	index  []byte
	format string
	width  int     // bytes of an ID
	ids    []byte  // sorted
	sorted []entry // by where they are
	places []int32 // in sorted, of each of ids
}

// entry is one object of a pack.
type entry struct {
	at   int64
	nth  int32 // of the IDs
	base int32 // what it is a delta of; -1: it is none

	first, next int32 // its first delta, and the next of the same base; -1: none
	weight      int32 // objects that are deltas of it, and of these, and itself
}

const (
	ofsDelta = 6
	refDelta = 7
)

// kinds are those of a pack's objects, by their number.
var kinds = map[byte]string{1: "commit", 2: "tree", 3: "blob", 4: "tag"}

var errPack = errors.New("cannot read the pack")

// openPack opens the pack of a quarantine.
func openPack(quarantine, format string) (*pack, error) {
	found, err := filepath.Glob(filepath.Join(quarantine, "pack", "pack-*.pack"))
	if err != nil || len(found) != 1 {
		return nil, fmt.Errorf("%w: there are %d", errPack, len(found))
	}
	index, err := os.Open(strings.TrimSuffix(found[0], "pack") + "idx")
	if err != nil {
		return nil, err
	}
	defer index.Close()
	p := &pack{format: format, width: idLength(format) / 2}
	if p.file, err = os.Open(found[0]); err == nil {
		p.data, err = mapped(p.file)
	}
	if err == nil {
		p.index, err = mapped(index)
	}
	if err == nil {
		err = p.list()
	}
	if err == nil {
		err = p.link()
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func mapped(f *os.File) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_PRIVATE)
}

func (p *pack) close() {
	unix.Munmap(p.data)
	unix.Munmap(p.index)
	p.file.Close()
}

// list reads the index: gitformat-pack(5), version 2.
func (p *pack) list() error {
	const head = 8 + 256*4
	if len(p.index) < head || !bytes.HasPrefix(p.index, []byte("\xfftOc\x00\x00\x00\x02")) || len(p.data) < 12+p.width {
		return errPack
	}
	n := int(binary.BigEndian.Uint32(p.index[head-4:]))
	if n > maxObjects || len(p.index) < head+n*(p.width+8) {
		return errPack
	}
	p.ids = p.index[head:][:n*p.width]
	offsets, large := p.index[head+n*(p.width+4):][:4*n], p.index[head+n*(p.width+8):]
	p.sorted, p.places = make([]entry, n), make([]int32, n)
	for i := range p.sorted {
		at := int64(binary.BigEndian.Uint32(offsets[4*i:]))
		if at>>31 != 0 {
			if at = 8 * (at & (1<<31 - 1)); at+8 > int64(len(large)) {
				return errPack
			}
			at = int64(binary.BigEndian.Uint64(large[at:]))
		}
		if at < 12 || at >= int64(len(p.data)-p.width) {
			return errPack
		}
		p.sorted[i] = entry{at: at, nth: int32(i), base: -1, first: -1, next: -1, weight: 1}
	}
	slices.SortFunc(p.sorted, func(a, b entry) int { return cmp.Compare(a.at, b.at) })
	for i, e := range p.sorted {
		p.places[e.nth] = int32(i)
	}
	return nil
}

// link finds out what is a delta of what.
func (p *pack) link() error {
	for i := range p.sorted {
		h, err := p.head(i)
		if err != nil {
			return err
		}
		if e := &p.sorted[i]; h.base >= 0 {
			base := &p.sorted[h.base]
			e.base, e.next, base.first = h.base, base.first, int32(i)
		}
	}
	// What is a delta is weighed before what it is of, whatever lies where. What is
	// left out goes round in a circle, which no ID does: nothing leads to it.
	var order []int32
	for i, e := range p.sorted {
		if e.base < 0 {
			order = append(order, int32(i))
		}
	}
	for k := 0; k < len(order); k++ {
		order = slices.AppendSeq(order, p.deltas(order[k]))
	}
	for _, i := range slices.Backward(order) {
		if e := p.sorted[i]; e.base >= 0 {
			p.sorted[e.base].weight += e.weight
		}
	}
	return nil
}

// deltas are those that have this object as their base.
func (p *pack) deltas(i int32) func(func(int32) bool) {
	return func(yield func(int32) bool) {
		for d := p.sorted[i].first; d >= 0 && yield(d); d = p.sorted[d].next {
		}
	}
}

// header is what stands before an object's data.
type header struct {
	kind string // empty: it is a delta
	size int64  // of the data, or of the delta
	base int32
	data []byte // compressed, and all that is behind it
}

func (p *pack) head(i int) (header, error) {
	h := header{base: -1}
	at := p.sorted[i].at
	b := p.data[at : len(p.data)-p.width]
	number := b[0] >> 4 & 7
	h.size = int64(b[0] & 15)
	n := 1
	for shift := 4; b[n-1]&0x80 != 0; shift += 7 {
		if n == len(b) || shift > 56 {
			return h, errPack
		}
		h.size |= int64(b[n]&0x7f) << shift
		n++
	}
	b = b[n:]
	switch number {
	case ofsDelta:
		var back int64
		n := 0
		for more := true; more; n++ {
			if n == len(b) || n == 8 {
				return h, errPack
			}
			if n > 0 {
				back++
			}
			back, more = back<<7|int64(b[n]&0x7f), b[n]&0x80 != 0
		}
		place, found := slices.BinarySearchFunc(p.sorted, at-back, func(e entry, at int64) int { return cmp.Compare(e.at, at) })
		if !found || place >= i {
			return h, errPack
		}
		h.base, h.data = int32(place), b[n:]
	case refDelta:
		if len(b) < p.width {
			return h, errPack
		}
		if h.base, h.data = p.find(b[:p.width]), b[p.width:]; h.base < 0 {
			return h, errPack
		}
	default:
		if h.kind, h.data = kinds[number], b; h.kind == "" {
			return h, errPack
		}
	}
	return h, nil
}

func (p *pack) id(nth int32) []byte { return p.ids[int(nth)*p.width:][:p.width] }

// find is where in sorted an object is; -1: nowhere.
func (p *pack) find(id []byte) int32 {
	nth := sort.Search(len(p.places), func(k int) bool { return bytes.Compare(p.id(int32(k)), id) >= 0 })
	if nth == len(p.places) || !bytes.Equal(p.id(int32(nth)), id) {
		return -1
	}
	return p.places[nth]
}

// kind is an object's; empty: it is not here, or a delta.
func (p *pack) kind(id string) string {
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) != p.width {
		return ""
	}
	i := p.find(raw)
	if i < 0 {
		return ""
	}
	h, err := p.head(int(i))
	if err != nil {
		return ""
	}
	return h.kind
}
