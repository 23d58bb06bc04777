package gitgate

import (
	"bufio"
	"cmp"
	"container/list"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"bottle/pkg/dlp"
)

// early reads a pack while it comes in, and looks through it, on a core that has
// nothing else to do yet. While it can make every object it has all that an index is
// written from; from the first one on that it cannot, git has to take the pack in,
// and it looks through what it can as long as it keeps up.
type early struct {
	pass   *pass
	format string
	chunks chan []byte
	closed bool          // nothing more will be written
	off    atomic.Bool   // nothing more is wanted
	lost   chan struct{} // closed when git has to take the pack in
	done   chan struct{} // closed when all is read

	in    feed
	r     *bufio.Reader
	w     unpacker
	left  int64 // bytes that its objects may have together yet
	held  bases
	index *index // nil: it is lost

	batch    []made // to be looked through
	size     int    // of these
	scans    chan []made
	scanners sync.WaitGroup
	mu       sync.Mutex
	seen     []seen
}

// seen is an object in which nothing was found, whatever its name is, or of which
// everything that was found is told.
type seen struct {
	at int64 // in the pack
	id string
	object
}

// made is an object that is to be looked through.
type made struct {
	at   int64
	id   string
	kind string
	data []byte
}

const (
	earlyChunks = 256      // of a pack that wait to be read, of at most 32 KiB each
	earlyScans  = 8        // batches of objects that wait to be looked through
	earlyBatch  = 64 << 10 // bytes of one at least
	earlyBases  = 24 << 20 // bytes of objects that are kept for what may be deltas of them
	baseRoom    = 256      // bytes that one of these takes besides its own
)

// lookEarly begins to look through what will be written to it, up to end. check is
// handed the pack that git is to check meanwhile; nil: git takes it in in any case.
func lookEarly(a *pass, format string, check func(*io.PipeReader)) *early {
	e := &early{pass: a, format: format, chunks: make(chan []byte, earlyChunks), lost: make(chan struct{}), done: make(chan struct{}), left: a.most,
		held:  newBases(),
		index: newIndex(format), scans: make(chan []made, earlyScans)}
	e.in.early = e
	e.r = bufio.NewReaderSize(&e.in, 64<<10)
	if check == nil {
		e.lose()
	}
	for range max(1, runtime.GOMAXPROCS(0)-1) { // and whoever reads
		e.scanners.Go(func() {
			for batch := range e.scans {
				e.scan(batch)
			}
		})
	}
	go func() {
		defer close(e.done)
		defer close(e.scans)
		if e.run(check) != nil {
			e.lose()
		}
		e.held = bases{}
		e.handOn()
	}()
	return e
}

// Write waits where git does not have the pack yet. Later it never does: where it
// does not keep up, it is over.
func (e *early) Write(p []byte) (int, error) {
	if e.off.Load() {
		return len(p), nil
	}
	chunk := slices.Clone(p)
	select {
	case e.chunks <- chunk:
		return len(p), nil
	case <-e.lost:
	case <-e.done:
	}
	select {
	case e.chunks <- chunk:
	default:
		e.off.Store(true)
	}
	return len(p), nil
}

// lose has git take the pack in.
func (e *early) lose() {
	if e.index != nil {
		e.index.checked.drop()
		e.index = nil
		close(e.lost)
	}
}

func (e *early) isLost() bool {
	select {
	case <-e.lost:
		return true
	default:
		return false
	}
}

// end ends it, and returns what it has seen in the order of the pack.
func (e *early) end() []seen {
	e.off.Store(true)
	if x := e.finish(); x != nil {
		x.checked.drop()
	}
	return e.whole()
}

// whole waits until all that was written is looked through.
func (e *early) whole() []seen {
	e.finish()
	e.scanners.Wait()
	slices.SortFunc(e.seen, func(a, b seen) int { return cmp.Compare(a.at, b.at) })
	return e.seen
}

// finish waits until all that was written is read, and returns what an index is
// written from; nil: git has to take the pack in.
func (e *early) finish() *index {
	if !e.closed {
		e.closed = true
		close(e.chunks)
	}
	<-e.done
	return e.index
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
func (e *early) run(check func(*io.PipeReader)) (err error) {
	defer stumbled(&err)
	var head [packHead]byte
	if _, err := io.ReadFull(e.r, head[:]); err != nil || string(head[:8]) != packVersion {
		return errPack
	}
	count := binary.BigEndian.Uint32(head[8:])
	if count > maxIndexed {
		e.lose()
	}
	if e.index != nil {
		check(e.index.checked.begin(e.format, count))
	}
	for range min(count, maxIndexed) {
		if e.off.Load() {
			return errPack
		}
		if err := e.next(); err != nil {
			return err
		}
	}
	if count > maxIndexed {
		return errPack
	}
	if n, err := io.Copy(io.Discard, e.r); err != nil || n != int64(idLength(e.format)/2) {
		return errPack
	}
	return nil
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
		return e.large(at, h)
	}
	kind, data, err := e.unpack(at, h)
	if err != nil {
		return err
	}
	if data == nil {
		e.lose()
		return nil
	}
	id := string(idOf(e.format, kind, data))
	e.held.keep(&base{at: at, id: id, kind: kind, data: data})
	e.note(at, id, kind, data)
	e.batch = append(e.batch, made{at, id, kind, data})
	if e.size += len(data); e.size >= earlyBatch {
		e.handOn()
	}
	return nil
}

// unpack makes an object; no data: what it is a delta of is not held, or it is large.
func (e *early) unpack(at int64, h packHeader) (kind string, data []byte, err error) {
	if !h.delta() {
		data = make([]byte, h.size)
		return kinds[h.number], data, e.w.inflate(data, e.r)
	}
	e.w.delta = slices.Grow(e.w.delta[:0], int(h.size))[:h.size]
	if err := e.w.inflate(e.w.delta, e.r); err != nil {
		return "", nil, err
	}
	base := e.held.find(at-h.back, h.base)
	if base == nil {
		return "", nil, nil
	}
	data, err = applyDelta(base.data, e.w.delta, aside, func(n int) []byte { return make([]byte, n) })
	if e.left -= int64(len(data)); e.left < 0 {
		return "", nil, errTooMany
	}
	return base.kind, data, err
}

// handOn has what was made looked through, here where the others do not keep up.
func (e *early) handOn() {
	select {
	case e.scans <- e.batch:
	default:
		e.scan(e.batch)
	}
	e.batch, e.size = nil, 0
}

// large reads one that is not held, and is looked through when the pack is there.
func (e *early) large(at int64, h packHeader) error {
	sum := startID(e.format, kinds[h.number], h.size)
	if err := e.w.pass(h.size, e.r, sum); err != nil {
		return err
	}
	if kinds[h.number] != "blob" {
		e.lose()
		return nil
	}
	e.note(at, string(sum.Sum(nil)), "blob", nil)
	return nil
}

// note notes an object for the index.
func (e *early) note(at int64, id, kind string, data []byte) {
	if e.index != nil && e.index.add(at, id, kind, data) != nil {
		e.lose()
	}
}

// scan looks through objects.
func (e *early) scan(batch []made) {
	var clean []seen
	for _, m := range batch {
		if e.off.Load() {
			break
		}
		o := object{hex.EncodeToString([]byte(m.id)), m.kind, int64(len(m.data))}
		if m.kind != "blob" {
			e.pass.object(o, m.data)
		} else if len(e.pass.s.held(dlp.AnyName, m.data)) > 0 {
			continue
		}
		clean = append(clean, seen{m.at, m.id, o})
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seen = append(e.seen, clean...)
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

func newBases() bases {
	return bases{byPlace: map[int64]*list.Element{}, byID: map[string]*list.Element{}}
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
	for b.size += len(o.data) + baseRoom; b.size > earlyBases; {
		e := b.list.Back()
		last := b.list.Remove(e).(*base)
		delete(b.byPlace, last.at)
		if b.byID[last.id] == e { // it is not in the pack twice, or comes last
			delete(b.byID, last.id)
		}
		b.size -= len(last.data) + baseRoom
	}
}

var errLong = errors.New("an object is longer than it says")

// pass goes past an object of so many bytes, and writes them.
func (w *unpacker) pass(size int64, src io.Reader, dst io.Writer) error {
	if err := w.open(src); err != nil {
		return err
	}
	if n, err := io.Copy(dst, io.LimitReader(w.zlib, size+1)); err != nil || n != size {
		return errLong
	}
	return nil
}
