package gitgate

import (
	"bufio"
	"container/list"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"sync/atomic"

	"bottle/pkg/dlp"
)

// early looks through a pack while it comes in, on a core that git, which takes the
// pack in, has no use for yet. It goes on for as long as it keeps up; all that it
// leaves out is looked through when the pack is there.
type early struct {
	pass   *pass
	format string
	chunks chan []byte
	off    atomic.Bool // nothing more is wanted
	done   chan struct{}

	in   feed
	r    *bufio.Reader
	w    unpacker
	left int64 // bytes that its objects may have together yet
	held bases
	seen []seen
}

// seen is an object in which nothing was found, whatever its name is, or of which
// everything that was found is told.
type seen struct {
	at int64 // in the pack
	id string
	object
}

const (
	earlyChunks = 256      // of a pack that wait to be looked through, of at most 32 KiB each
	earlyBases  = 24 << 20 // bytes of objects that are kept for what may be deltas of them
)

// lookEarly begins to look through what will be written to it, up to end.
func lookEarly(a *pass, format string) *early {
	e := &early{pass: a, format: format, chunks: make(chan []byte, earlyChunks), done: make(chan struct{}), left: a.most,
		held: bases{byPlace: map[int64]*list.Element{}, byID: map[string]*list.Element{}}}
	e.in.early = e
	e.r = bufio.NewReaderSize(&e.in, 64<<10)
	go func() {
		defer close(e.done)
		e.run()
	}()
	return e
}

// Write never waits: where it does not keep up, it is over.
func (e *early) Write(p []byte) (int, error) {
	if !e.off.Load() {
		select {
		case e.chunks <- slices.Clone(p):
		default:
			e.off.Store(true)
		}
	}
	return len(p), nil
}

// end ends it, and returns what it has seen in the order of the pack.
func (e *early) end() []seen {
	e.off.Store(true)
	return e.whole()
}

// whole waits until all that was written is looked through.
func (e *early) whole() []seen {
	close(e.chunks)
	<-e.done
	return e.seen
}

// feed is what was written, until nothing more is wanted.
type feed struct {
	*early
	rest []byte
	n    int64 // bytes that were read
}

func (f *feed) Read(p []byte) (int, error) {
	for len(f.rest) == 0 {
		if f.rest = <-f.chunks; f.rest == nil {
			return 0, io.EOF
		}
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	f.n += int64(n)
	return n, nil
}

// run reads objects up to the first that is not as it should be: git says so.
func (e *early) run() {
	if n, err := e.r.Discard(packHead); err != nil || n != packHead {
		return
	}
	for !e.off.Load() {
		if err := e.next(); err != nil {
			return
		}
	}
}

// next reads one object.
func (e *early) next() error {
	at := e.in.n - int64(e.r.Buffered())
	h, err := readHead(e.r, idLength(e.format)/2)
	if err != nil {
		return err
	}
	if e.left -= h.size; e.left < 0 {
		return errTooMany
	}
	if h.size > aside {
		return e.w.pass(h.size, e.r)
	}
	data := make([]byte, h.size)
	if err := e.w.inflate(data, e.r); err != nil {
		return err
	}
	kind := kinds[h.number]
	if h.delta() {
		base := e.held.find(at-h.back, h.base)
		if base == nil {
			return nil
		}
		made, err := applyDelta(base.data, data, aside, func(n int) []byte { return make([]byte, n) })
		if err != nil || made == nil {
			return err
		}
		if e.left -= int64(len(made)); e.left < 0 {
			return errTooMany
		}
		kind, data = base.kind, made
	}
	id := string(idOf(e.format, kind, data))
	e.held.keep(&base{at: at, id: id, kind: kind, data: data})
	o := object{hex.EncodeToString([]byte(id)), kind, int64(len(data))}
	if kind != "blob" {
		e.pass.object(o, data)
	} else if len(e.pass.s.held(dlp.AnyName, data)) > 0 {
		return nil
	}
	e.seen = append(e.seen, seen{at, id, o})
	return nil
}

// base is an object that others may be deltas of.
type base struct {
	at   int64
	id   string
	kind string
	data []byte
}

// bases are those that were made or used last.
type bases struct {
	list    list.List
	byPlace map[int64]*list.Element
	byID    map[string]*list.Element
	size    int
}

// find finds one by its ID, or where that is empty by its place.
func (b *bases) find(at int64, id []byte) *base {
	e := b.byPlace[at]
	if id != nil {
		e = b.byID[string(id)]
	}
	if e == nil {
		return nil
	}
	b.list.MoveToFront(e)
	return e.Value.(*base)
}

func (b *bases) keep(o *base) {
	e := b.list.PushFront(o)
	b.byPlace[o.at], b.byID[o.id] = e, e
	for b.size += len(o.data); b.size > earlyBases; {
		last := b.list.Remove(b.list.Back()).(*base)
		delete(b.byPlace, last.at)
		if e := b.byID[last.id]; e.Value == last {
			delete(b.byID, last.id)
		}
		b.size -= len(last.data)
	}
}

var errLong = errors.New("an object is longer than it says")

// pass goes past an object of so many bytes.
func (w *unpacker) pass(size int64, src io.Reader) error {
	if err := w.open(src); err != nil {
		return err
	}
	if n, err := io.Copy(io.Discard, io.LimitReader(w.zlib, size+1)); err != nil || n != size {
		return errLong
	}
	return nil
}
