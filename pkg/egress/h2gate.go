package egress

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Of HTTP/2's frames (RFC 9113, 4.1 and 6).
const (
	h2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	h2Head    = 9

	frameHeaders      = 1
	frameSettings     = 4
	framePing         = 6
	frameContinuation = 9

	flagAck        = 1
	flagEndHeaders = 4
)

// maxAsked bounds the frames that want an answer, before one is taken.
const maxAsked = 1000

var (
	errTooManyStreams = errors.New("too many streams at once")
	errTooManyAsked   = errors.New("too many frames that want an answer")
)

// gate is a client's HTTP/2 connection, as net/http reads it. It bounds what the
// library leaves open: a stream takes a place like a connection, also while it
// waits for its handler, or was reset and its handler has not ended yet.
type gate struct {
	net.Conn // the TLS connection
	client   *client
	done     chan struct{} // closed when the library is through with it
	close    sync.Once

	frames frames
	last   uint32       // the highest stream
	open   bool         // a head is coming in, in more than one frame
	begun  atomic.Int64 // when the head that is coming in began, in nanoseconds; 0: none is
	asked  atomic.Int32 // frames that want an answer, since one was taken

	mu      sync.Mutex
	taken   int   // places that streams hold
	running int   // handlers
	heads   int   // streams that began
	entered int   // of these, those that came to a handler
	failed  error // of reading
}

func newGate(conn net.Conn, c *client) *gate {
	return &gate{Conn: conn, client: c, done: make(chan struct{}), frames: frames{preface: len(h2Preface)}}
}

func (g *gate) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if n > 0 {
		if broken := g.frames.note(p[:n], g.frame); broken != nil {
			g.client.sock.reset()
			return 0, broken
		}
		if g.begun.Load() != 0 && !g.open && g.frames.left == 0 {
			g.begun.Store(0)
		}
	}
	if err != nil {
		g.fail(err)
	}
	return n, err
}

func (g *gate) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failed = err
}

func (g *gate) Write(p []byte) (int, error) {
	n, err := g.Conn.Write(p)
	g.asked.Store(0)
	return n, err
}

func (g *gate) Close() error {
	g.close.Do(func() { close(g.done) })
	return nil // the client's own goroutine closes it
}

// The socket has deadlines of its own.
func (g *gate) SetDeadline(time.Time) error      { return nil }
func (g *gate) SetReadDeadline(time.Time) error  { return nil }
func (g *gate) SetWriteDeadline(time.Time) error { return nil }

// frame takes in the head of a frame.
func (g *gate) frame(kind, flags byte, stream uint32) error {
	g.client.sock.unlimit()
	switch kind {
	case frameHeaders, frameContinuation:
		if g.begun.Load() == 0 {
			g.begun.Store(time.Now().UnixNano())
		}
		g.open = flags&flagEndHeaders == 0
		if kind == frameContinuation || stream <= g.last {
			return nil
		}
		g.last = stream
		if !g.take() {
			g.fail(errTooManyStreams)
			return errTooManyStreams
		}
	case framePing, frameSettings:
		if flags&flagAck == 0 && g.asked.Add(1) > maxAsked {
			return errTooManyAsked
		}
	}
	return nil
}

// slow says whether a head is coming in for longer than it may.
func (g *gate) slow(now time.Time, most time.Duration) bool {
	begun := g.begun.Load()
	return begun != 0 && now.UnixNano()-begun > int64(most)
}

// take takes a place for a stream.
func (g *gate) take() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.heads++
	return g.takeLocked()
}

func (g *gate) takeLocked() bool {
	select {
	case g.client.s.slots <- struct{}{}:
		g.taken++
		return true
	default:
		return false
	}
}

// enter begins a stream's handler.
func (g *gate) enter() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.entered++
	if g.running++; g.running > g.taken { // leave gave its place back
		g.takeLocked()
	}
	g.client.busy.Store(true)
}

// leave ends it. Some streams never come to a handler of ours, the malformed ones
// among them: their places are given back when none runs.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running--
	switch {
	case g.running == 0:
		g.client.busy.Store(false)
		g.giveLocked(g.taken)
	case g.taken > 0:
		g.giveLocked(1)
	}
}

func (g *gate) giveLocked(n int) {
	for range n {
		<-g.client.s.slots
	}
	g.taken -= n
}

// end gives back what is left when the connection is over. It returns how many
// requests came over it, how many streams never became one, and what ended the
// reading.
func (g *gate) end() (served, lost int, failed error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.giveLocked(g.taken)
	return g.entered, g.heads - g.entered, g.failed
}

// frames follows HTTP/2 frames by their heads.
type frames struct {
	preface int // bytes before the first one
	head    [h2Head]byte
	have    int // bytes of the current one's head
	left    int // bytes of its payload that are to come
}

// note takes in what came, and tells of each head in it.
func (f *frames) note(p []byte, each func(kind, flags byte, stream uint32) error) error {
	n := min(f.preface, len(p))
	f.preface -= n
	for p = p[n:]; len(p) > 0; {
		if f.left > 0 {
			n := min(f.left, len(p))
			f.left -= n
			p = p[n:]
			continue
		}
		n := copy(f.head[f.have:], p)
		f.have += n
		p = p[n:]
		if f.have < h2Head {
			return nil
		}
		h := &f.head
		f.have, f.left = 0, int(h[0])<<16|int(h[1])<<8|int(h[2])
		stream := uint32(h[5]&0x7f)<<24 | uint32(h[6])<<16 | uint32(h[7])<<8 | uint32(h[8])
		if err := each(h[3], h[4], stream); err != nil {
			return err
		}
	}
	return nil
}
