package egress

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of one connection.
const (
	headTime   = 10 * time.Second // TLS handshake and head, once a client has begun
	idleTime   = 15 * time.Minute // silence in one direction: a model may think for ten before it answers
	lingerTime = 10 * time.Second // reading what a refused client still sends
	lingerSize = 32 << 20
)

// socket is a TCP connection that gives up after idleTime of silence. Deadlines
// are moved on only when they are worth it, since each move costs a lock.
type socket struct {
	*net.TCPConn
	raw       *rawIO
	pending   []byte // was read already; comes first
	limited   bool   // a deadline of another kind is set for reading
	patient   bool   // silence does not end it
	expired   atomic.Bool
	records   *records // of TLS, as they come in; nil: they are not watched
	dry       bool     // reading finds nothing new
	watch     bool     // during a handshake: keep tail
	tail      []byte   // the last bytes that came
	readUntil time.Time
	sendUntil time.Time
}

func newSocket(conn *net.TCPConn) *socket { return &socket{TCPConn: conn, raw: newRawIO(conn)} }

func (s *socket) Read(p []byte) (int, error) {
	if len(s.pending) > 0 {
		n := copy(p, s.pending)
		s.pending = s.pending[n:]
		s.note(p[:n])
		return n, nil
	}
	if s.dry {
		return 0, errDry
	}
	if now := time.Now(); !s.limited && !s.patient && s.readUntil.Sub(now) < idleTime*7/8 {
		s.readUntil = now.Add(idleTime)
		s.SetReadDeadline(s.readUntil)
		if s.expired.Load() {
			s.SetReadDeadline(past)
		}
	}
	n, err := s.raw.Read(p)
	s.note(p[:n])
	if s.records != nil {
		s.records.note(p[:n])
	}
	return n, err
}

// past is a deadline that ends what waits.
var past = time.Unix(1, 0)

// expire ends the read under way and all that come. It may be called from
// another goroutine than the reader's, which must not be able to undo it.
func (s *socket) expire() {
	s.expired.Store(true)
	s.SetReadDeadline(past)
}

// errDry is what a socket that is kept dry returns. It is a time-out, so that
// crypto/tls goes on afterwards.
var errDry net.Error = dryError{}

type dryError struct{}

func (dryError) Error() string   { return "nothing has come in" }
func (dryError) Timeout() bool   { return true }
func (dryError) Temporary() bool { return true }

// recordHead is the size of a TLS record's head, which ends in the length of
// what follows.
const recordHead = 5

// records follows TLS records by their lengths.
type records struct {
	head int // bytes of the current one's head
	left int // bytes of it that are to come
}

// note takes in what came.
func (r *records) note(p []byte) {
	for len(p) > 0 {
		if r.head == recordHead {
			n := min(r.left, len(p))
			if r.left -= n; r.left == 0 {
				r.head = 0
			}
			p = p[n:]
			continue
		}
		switch r.head {
		case 3:
			r.left = int(p[0]) << 8
		case 4:
			r.left |= int(p[0])
		}
		r.head++
		p = p[1:]
		if r.head == recordHead && r.left == 0 {
			r.head = 0
		}
	}
}

// whole says whether the last record came to its end.
func (r *records) whole() bool { return r.head == 0 }

// note keeps as many of the last bytes as a bare alert has.
func (s *socket) note(p []byte) {
	if !s.watch {
		return
	}
	s.tail = append(s.tail, p...)
	s.tail = s.tail[max(0, len(s.tail)-alertSize):]
}

func (s *socket) Write(p []byte) (int, error) {
	if now := time.Now(); s.sendUntil.Sub(now) < idleTime*7/8 {
		s.sendUntil = now.Add(idleTime)
		s.SetWriteDeadline(s.sendUntil)
	}
	return s.raw.Write(p)
}

// hurry bounds what is yet to be written, for good. Who calls it is the only one
// that writes.
func (s *socket) hurry(d time.Duration) {
	s.sendUntil = time.Now().Add(idleTime) // Write would move a deadline that is due
	s.SetWriteDeadline(time.Now().Add(d))
}

// limit bounds the time in which what comes next must have come, until unlimit.
func (s *socket) limit(d time.Duration) {
	s.limited = true
	s.SetReadDeadline(time.Now().Add(d))
}

func (s *socket) unlimit() {
	if s.limited {
		s.limited, s.readUntil = false, time.Time{}
	}
}

// wait lets the other side be silent for as long as it likes. Who is gone is told
// by TCP's own questions.
func (s *socket) wait() {
	s.patient = true
	s.SetReadDeadline(time.Time{})
}

// reset ends the connection so that the other side cannot take what it got for
// whole.
func (s *socket) reset() {
	s.SetLinger(0)
	s.Close()
}

// linger ends a connection whose other side may still be sending: an answer
// must not be lost to the reset that unread bytes would cause.
func (s *socket) linger() {
	s.CloseWrite()
	s.SetReadDeadline(time.Now().Add(lingerTime))
	buf := getBuf()
	defer putBuf(buf)
	io.CopyBuffer(io.Discard, io.LimitReader(onlyReader{s.TCPConn}, lingerSize), buf[:readSize])
	s.Close()
}

// onlyReader hides WriteTo, which would bring a buffer of its own.
type onlyReader struct{ io.Reader }

// quiet says whether the connection is open and nothing has come in on it: what
// an idle upstream sends is either its end or nobody's answer.
func (s *socket) quiet() bool { return s.raw.quiet() }

// gone says whether the other side has closed its end.
func (s *socket) gone() bool {
	gone := true
	s.raw.fd.Control(func(fd uintptr) { gone = closed(fd) })
	return gone
}

// attend calls gone once the other side has closed its end, however much of what
// it sent is still unread. It sleeps until the kernel tells of something. The
// result ends that, and returns when nobody uses the socket any more; until then
// nothing else may read.
func (s *socket) attend(gone func()) (stop func()) {
	s.SetReadDeadline(time.Time{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if s.raw.fd.Read(closed) == nil { // and not our own deadline
			gone()
		}
	}()
	return func() {
		s.SetReadDeadline(past)
		<-ended
		s.limited, s.readUntil = false, time.Time{} // the next read sets its own
	}
}

// closed says whether the other side of a connection has closed its end.
func closed(fd uintptr) bool {
	info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	return err != nil || info.State == unix.BPF_TCP_CLOSE || info.State == unix.BPF_TCP_CLOSE_WAIT
}

// registry is the set of connections that are being served.
type registry struct {
	mu    sync.Mutex
	all   map[*client]struct{}
	empty chan struct{} // closed when the last one goes; nil until somebody waits
}

func (r *registry) add(c *client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = map[*client]struct{}{}
	}
	r.all[c] = struct{}{}
}

func (r *registry) remove(c *client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, c)
	if len(r.all) == 0 && r.empty != nil {
		close(r.empty)
		r.empty = nil
	}
}

// wait returns a channel that is closed once no connection is left.
func (r *registry) wait() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	done := make(chan struct{})
	if len(r.all) == 0 {
		close(done)
	} else {
		r.empty = done
	}
	return done
}

func (r *registry) each(f func(*client)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.all {
		f(c)
	}
}
