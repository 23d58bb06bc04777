package tunnel

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/libp2p/go-yamux/v5"
)

// maxPieces is how many pieces of one connection may wait to be read. yamux keeps
// them as they came, so that a window of single bytes would cost thirty times its
// size.
const maxPieces = 4096

// readTime is how long all connections wait for one that has so many, until half
// of them are read.
const readTime = time.Second

var errPieces = errors.New("too many small pieces came for who does not read")

// gauge is a wire that counts the pieces that wait on streams which were opened
// over it. Where they are too many, it waits for their reader. Of a stream that is
// not read on, what else comes is dropped, and its reader fails.
type gauge struct {
	wire
	in   *bufio.Reader
	head [frameHead]byte
	rest []byte // of head, yet to be passed on
	left uint32 // bytes of the frame behind it, yet to be passed on

	mu   sync.Mutex
	open map[uint32]*waiting
}

// waiting are the pieces of one stream.
type waiting struct {
	came, read uint64        // bytes
	ends       []uint64      // where the pieces end that were not read
	full       bool          // and something was dropped
	half       chan struct{} // gets one when half of those that may wait are left
}

// What yamux' frames look like: version, type, flags (2 bytes), stream (4 bytes),
// length (4 bytes), big-endian. Data alone has a payload.
const (
	frameHead = 12
	typeData  = 0
	flagSYN   = 1
)

func newGauge(w wire) *gauge {
	return &gauge{wire: w, in: bufio.NewReader(w.ReadCloser), open: map[uint32]*waiting{}}
}

// Write is called with whole frames. A stream is known before the other end can
// answer.
func (g *gauge) Write(p []byte) (int, error) {
	if len(p) >= frameHead && binary.BigEndian.Uint16(p[2:])&flagSYN != 0 && p[1] <= 1 {
		g.mu.Lock()
		g.open[binary.BigEndian.Uint32(p[4:])] = &waiting{half: make(chan struct{}, 1)}
		g.mu.Unlock()
	}
	return g.wire.Write(p)
}

func (g *gauge) Read(p []byte) (int, error) {
	for len(g.rest) == 0 && g.left == 0 {
		if err := g.next(); err != nil {
			return 0, err
		}
	}
	if len(g.rest) > 0 {
		n := copy(p, g.rest)
		g.rest = g.rest[n:]
		return n, nil
	}
	n, err := g.in.Read(p[:min(uint32(len(p)), g.left)])
	g.left -= uint32(n)
	return n, err
}

// next reads the head of a frame, and drops the frame where it is too much.
func (g *gauge) next() error {
	if _, err := io.ReadFull(g.in, g.head[:]); err != nil {
		return err
	}
	length := binary.BigEndian.Uint32(g.head[8:])
	switch {
	case g.head[1] != typeData:
		length = 0
	case !g.keeps(binary.BigEndian.Uint32(g.head[4:]), length):
		_, err := io.CopyN(io.Discard, g.in, int64(length))
		return err
	}
	g.rest, g.left = g.head[:], length
	return nil
}

// keeps counts a piece, if it can be kept. What comes for a stream that is not
// open, yamux drops.
func (g *gauge) keeps(id, length uint32) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	w := g.open[id]
	if w == nil || length == 0 {
		return true
	}
	if len(w.ends) == maxPieces && !w.full {
		select { // one of before
		case <-w.half:
		default:
		}
		g.mu.Unlock()
		select {
		case <-w.half:
		case <-time.After(readTime):
		}
		g.mu.Lock()
		w.full = len(w.ends) > maxPieces/2
	}
	if w.full {
		return false
	}
	w.came += uint64(length)
	w.ends = append(w.ends, w.came)
	return true
}

// close forgets a stream, whose end yamux knows.
func (g *gauge) close(id uint32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if w := g.open[id]; w != nil {
		w.took(w.came)
	}
	delete(g.open, id)
}

// took notes that all was read up to there.
func (w *waiting) took(read uint64) {
	w.read = read
	before := len(w.ends)
	for len(w.ends) > 0 && w.ends[0] <= read {
		w.ends = w.ends[1:]
	}
	if before > maxPieces/2 && len(w.ends) <= maxPieces/2 {
		select {
		case w.half <- struct{}{}:
		default:
		}
	}
}

// counted is a stream whose reader is seen.
type counted struct {
	*yamux.Stream
	gauge *gauge
}

func (c counted) Read(p []byte) (int, error) {
	if c.gauge.lost(c.StreamID()) {
		return 0, errPieces
	}
	n, err := c.Stream.Read(p)
	c.gauge.took(c.StreamID(), n)
	return n, err
}

// lost says whether something of a stream was dropped.
func (g *gauge) lost(id uint32) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	w := g.open[id]
	return w != nil && w.full
}

func (g *gauge) took(id uint32, n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if w := g.open[id]; w != nil {
		w.took(w.read + uint64(n))
	}
}
