package gitgate

import (
	"bytes"
	"cmp"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/zlib"
)

// each hands all objects of up to most bytes to do, of which several run at once,
// and returns the IDs of the others. The data is do's until it returns.
func (p *pack) each(most int64, do func(object, []byte) error) (rest []string, err error) {
	var (
		next    atomic.Int64
		workers sync.WaitGroup
		mu      sync.Mutex
	)
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			w := &unpacker{p: p, most: most, do: do}
			var failed error
			for i := next.Add(1) - 1; i < int64(len(p.sorted)) && failed == nil; i = next.Add(1) - 1 {
				if e := &p.sorted[i]; e.base < 0 && e.weight > 0 {
					failed = w.root(int32(i))
				}
			}
			mu.Lock()
			defer mu.Unlock()
			rest = append(rest, w.rest...)
			if failed != nil && err == nil {
				err = failed
				next.Store(maxObjects) // the others need not go on
			}
		})
	}
	workers.Wait()
	return rest, err
}

// unpacker takes objects out of a pack, one after the other.
type unpacker struct {
	p    *pack
	most int64
	do   func(object, []byte) error
	rest []string

	src   bytes.Reader
	zlib  io.ReadCloser
	delta []byte   // room for one
	room  [][]byte // that objects had who are done with
}

// root takes out one that is no delta, and its deltas.
func (w *unpacker) root(i int32) (err error) {
	defer stumbled(&err)
	h, err := w.p.head(int(i))
	if err != nil {
		return err
	}
	if h.size > w.most {
		w.leave(i)
		return nil
	}
	data := w.get(int(h.size))
	if err := w.inflate(data, w.at(h)); err != nil {
		return err
	}
	return w.family(i, h.kind, data)
}

// stumbled makes an error of a panic: in a goroutine one ends the gate.
func stumbled(err *error) {
	if why := recover(); why != nil {
		*err = fmt.Errorf("%w: %v", errPack, why)
	}
}

// family takes out one object and its deltas. The one that most depend on is
// last, when what it is a delta of is no longer needed: so what is held at once
// grows as the logarithm of their number.
func (w *unpacker) family(i int32, kind string, data []byte) error {
	for {
		if err := w.object(i, kind, data); err != nil {
			return err
		}
		deltas := slices.SortedFunc(w.p.unseen(i), func(a, b int32) int { return cmp.Compare(w.p.sorted[a].weight, w.p.sorted[b].weight) })
		base := data
		for k, d := range deltas {
			var err error
			if data, err = w.apply(d, base); err != nil {
				return err
			}
			switch last := k == len(deltas)-1; {
			case data == nil:
				w.leave(d)
			case last:
				i = d
			default:
				err = w.family(d, kind, data)
			}
			if err != nil {
				return err
			}
		}
		w.put(base)
		if len(deltas) == 0 || data == nil {
			return nil
		}
	}
}

// object hands one on, if it is what its ID says.
func (w *unpacker) object(i int32, kind string, data []byte) error {
	if w.p.sorted[i].seen {
		return nil
	}
	id := w.p.id(w.p.sorted[i].nth)
	if !bytes.Equal(idOf(w.p.format, kind, data), id) {
		return fmt.Errorf("%w: object %x is another", errPack, id)
	}
	return w.do(object{hex.EncodeToString(id), kind, int64(len(data))}, data)
}

// idOf is an object's ID.
func idOf(format, kind string, data []byte) []byte {
	sum := startID(format, kind, int64(len(data)))
	sum.Write(data)
	return sum.Sum(nil)
}

// startID begins the ID of an object of so many bytes, which are to be written to it.
func startID(format, kind string, size int64) hash.Hash {
	sum := newHash(format)
	fmt.Fprintf(sum, "%s %d\x00", kind, size)
	return sum
}

func newHash(format string) hash.Hash {
	if format == formatSHA256 {
		return sha256.New()
	}
	return sha1.New()
}

// leave leaves out an object, and all that needs it.
func (w *unpacker) leave(i int32) {
	for left := []int32{i}; len(left) > 0; {
		i, left = left[len(left)-1], left[:len(left)-1]
		if !w.p.sorted[i].seen {
			w.rest = append(w.rest, hex.EncodeToString(w.p.id(w.p.sorted[i].nth)))
		}
		left = slices.AppendSeq(left, w.p.deltas(i))
	}
}

// at is where an object's compressed data begins.
func (w *unpacker) at(h header) io.Reader {
	w.src.Reset(h.data)
	return &w.src
}

// open begins to undo a compression.
func (w *unpacker) open(src io.Reader) (err error) {
	if w.zlib == nil {
		w.zlib, err = zlib.NewReader(src)
		return err
	}
	return w.zlib.(zlib.Resetter).Reset(src, nil)
}

// inflate undoes the compression of an object, or of a delta, to the last byte.
func (w *unpacker) inflate(data []byte, src io.Reader) error {
	err := w.open(src)
	if err == nil {
		_, err = io.ReadFull(w.zlib, data)
	}
	if err == nil {
		var more [1]byte
		if _, err = io.ReadFull(w.zlib, more[:]); err == io.EOF {
			return nil
		}
	}
	return fmt.Errorf("%w: an object is not as long as it says, or broken: %v", errPack, err)
}

// apply makes what a delta makes of its base; nil: it is too large.
func (w *unpacker) apply(i int32, base []byte) ([]byte, error) {
	h, err := w.p.head(int(i))
	if err != nil || h.size > w.most {
		return nil, err
	}
	w.delta = slices.Grow(w.delta[:0], int(h.size))[:h.size]
	if err := w.inflate(w.delta, w.at(h)); err != nil {
		return nil, err
	}
	return applyDelta(base, w.delta, w.most, w.get)
}

const maxRoom = 8 // objects

// get is room for an object.
func (w *unpacker) get(size int) []byte {
	for i, b := range slices.Backward(w.room) {
		if cap(b) >= size {
			w.room = slices.Delete(w.room, i, i+1)
			return b[:size]
		}
	}
	return make([]byte, size, size+size/8)
}

// put takes the room of an object that nobody needs any more.
func (w *unpacker) put(b []byte) {
	if len(w.room) == maxRoom {
		w.room = slices.Delete(w.room, 0, 1)
	}
	w.room = append(w.room, b)
}

const minDelta = 4 // bytes: git takes no shorter one

// applyDelta makes what a delta makes of its base, in room that get has; nil: it is
// larger than most.
func applyDelta(base, delta []byte, most int64, get func(size int) []byte) ([]byte, error) {
	from, n := binary.Uvarint(delta)
	if n <= 0 || len(delta) < minDelta || from != uint64(len(base)) {
		return nil, errPack
	}
	delta = delta[n:]
	size, n := binary.Uvarint(delta)
	if n <= 0 {
		return nil, errPack
	}
	if size > uint64(most) {
		return nil, nil
	}
	delta = delta[n:]
	data := get(int(size))[:0]
	for len(delta) > 0 {
		op := delta[0]
		delta = delta[1:]
		piece := delta
		if op&0x80 == 0 {
			if op == 0 || int(op) > len(delta) {
				return nil, errPack
			}
			piece, delta = delta[:op], delta[op:]
		} else {
			var at, length int
			for bit := range 7 {
				if op>>bit&1 == 0 {
					continue
				}
				if len(delta) == 0 {
					return nil, errPack
				}
				if bit < 4 {
					at |= int(delta[0]) << (8 * bit)
				} else {
					length |= int(delta[0]) << (8 * (bit - 4))
				}
				delta = delta[1:]
			}
			if length == 0 {
				length = 1 << 16
			}
			if at > len(base) || length > len(base)-at {
				return nil, errPack
			}
			piece = base[at:][:length]
		}
		if len(piece) > int(size)-len(data) {
			return nil, errPack
		}
		data = append(data, piece...)
	}
	if len(data) != int(size) {
		return nil, errPack
	}
	return data, nil
}
