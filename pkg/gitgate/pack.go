package gitgate

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
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
	seen   []object
}

// entry is one object of a pack.
type entry struct {
	at   int64
	nth  int32 // of the IDs
	base int32 // what it is a delta of; -1: it is none

	first, next int32 // its first delta, and the next of the same base; -1: none
	weight      int32 // objects to be looked at that are deltas of it, and of these, and itself
	seen        bool  // it need not be looked at
}

const (
	packVersion = "PACK\x00\x00\x00\x02" // how one begins; the number of its objects follows
	packHead    = 12                     // bytes before its first object
)

const (
	ofsDelta = 6
	refDelta = 7
)

// kinds are those of a pack's objects, by their number.
var kinds = map[byte]string{1: "commit", 2: "tree", 3: "blob", 4: "tag"}

var errPack = errors.New("cannot read the pack")

// openPack opens the pack of a quarantine, of which something may have been seen.
func openPack(quarantine, format string, seen []seen) (*pack, error) {
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
		if p.mark(seen); len(p.seen) < len(p.sorted) {
			err = p.link()
		}
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

// mark marks what was seen already, where it is what it was then.
func (p *pack) mark(seen []seen) {
	for _, s := range seen {
		i, found := p.place(s.at)
		if found && string(p.id(p.sorted[i].nth)) == s.id {
			p.sorted[i].seen, p.sorted[i].weight = true, 0
			p.seen = append(p.seen, s.object)
		}
	}
}

// place is where in sorted the object is that begins there.
func (p *pack) place(at int64) (int, bool) {
	return slices.BinarySearchFunc(p.sorted, at, func(e entry, at int64) int { return cmp.Compare(e.at, at) })
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

// unseen are those of its deltas that lead to something to be looked at.
func (p *pack) unseen(i int32) func(func(int32) bool) {
	return func(yield func(int32) bool) {
		for d := range p.deltas(i) {
			if p.sorted[d].weight > 0 && !yield(d) {
				return
			}
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
	at := p.sorted[i].at
	r := bytes.NewReader(p.data[at : len(p.data)-p.width])
	read, err := readHead(r, p.width)
	h := header{kind: kinds[read.number], size: read.size, base: -1, data: p.data[len(p.data)-p.width-r.Len() : len(p.data)-p.width]}
	switch {
	case err != nil:
		return h, err
	case read.number == ofsDelta:
		place, found := p.place(at - read.back)
		if !found || place >= i {
			return h, errPack
		}
		h.base = int32(place)
	case read.number == refDelta:
		if h.base = p.find(read.base); h.base < 0 {
			return h, errPack
		}
	}
	return h, nil
}

// packHeader is how a pack begins an object.
type packHeader struct {
	number byte
	size   int64
	back   int64  // how far before it what it is a delta of begins
	base   []byte // the ID of what it is a delta of
}

func (h packHeader) delta() bool { return h.number == ofsDelta || h.number == refDelta }

// readHead reads what stands before an object's data: gitformat-pack(5).
func readHead(r interface {
	io.Reader
	io.ByteReader
}, width int) (h packHeader, err error) {
	c, err := r.ReadByte()
	h.number, h.size = c>>4&7, int64(c&15)
	for shift := 4; err == nil && c&0x80 != 0; shift += 7 {
		if c, err = r.ReadByte(); shift > 56 {
			return h, errPack
		}
		h.size |= int64(c&0x7f) << shift
	}
	switch {
	case err != nil:
	case h.number == ofsDelta:
		c = 0x80
		for n := 0; err == nil && c&0x80 != 0; n++ {
			if n == 8 {
				return h, errPack
			}
			if n > 0 {
				h.back++
			}
			c, err = r.ReadByte()
			h.back = h.back<<7 | int64(c&0x7f)
		}
	case h.number == refDelta:
		h.base = make([]byte, width)
		_, err = io.ReadFull(r, h.base)
	case kinds[h.number] == "":
		return h, errPack
	}
	if err != nil {
		return h, fmt.Errorf("%w: %v", errPack, err)
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

// holds says whether what refs are to be is in the pack.
func (p *pack) holds(commands []*command) bool {
	for _, c := range commands {
		raw, err := hex.DecodeString(c.New)
		if !isZero(c.New) && (err != nil || p.find(raw) < 0) {
			return false
		}
	}
	return true
}
