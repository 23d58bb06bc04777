// Package tunnel carries TCP connections over one stream, such as an exec's
// standard input and output: the host opens them, the other end dials. Either may
// be hostile to the other; what passes is nobody's business here. It knows neither
// the engine nor bottles.
//
// The stream is yamux's. Each of its streams begins with the port that is to be
// dialled, two bytes, big-endian, and is answered by one byte: 0 where it was, 1
// where nothing listens there.
package tunnel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/libp2p/go-yamux/v5"
	"golang.org/x/sys/unix"
)

// MaxConns bounds the connections that are open at a time.
const MaxConns = 256

// ErrRefused is the error for a port on which nothing listens.
var ErrRefused = errors.New("nothing listens on that port")

const (
	dialled = 0
	refused = 1
)

// answerTime bounds how long the other end may take to dial, and the first word
// between the ends.
const answerTime = 20 * time.Second

// lookTime is how often a connection is looked at for a reset.
const lookTime = time.Second

// config has fixed windows, so that who does not read costs the other end's memory
// no more than one, and on the host's side so many pieces. incoming is how many streams the peer may open.
func config(incoming uint32) *yamux.Config {
	c := yamux.DefaultConfig()
	c.AcceptBacklog = MaxConns
	c.MaxIncomingStreams = incoming
	c.EnableKeepAlive = false // the end of the stream tells
	c.MaxStreamWindowSize = c.InitialStreamWindowSize
	c.LogOutput = io.Discard
	return c
}

// Host is the end that opens connections.
type Host struct {
	mux   *yamux.Session
	gauge *gauge
}

// Open begins a tunnel, and returns when the other end has answered.
func Open(ctx context.Context, in io.ReadCloser, out io.WriteCloser) (*Host, error) {
	g := newGauge(wire{in, out})
	mux, err := yamux.Client(g, config(0), nil)
	if err != nil {
		return nil, err
	}
	answered := make(chan error, 1)
	go func() {
		_, err := mux.Ping()
		answered <- err
	}()
	select {
	case err = <-answered:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		mux.Close()
		return nil, fmt.Errorf("cannot begin a tunnel: %w", err)
	}
	return &Host{mux, g}, nil
}

// Close ends all connections.
func (h *Host) Close() { h.mux.Close() }

// Done is closed when the tunnel has ended.
func (h *Host) Done() <-chan struct{} { return h.mux.CloseChan() }

// Carry opens a connection to a port at the other end and moves bytes between it
// and c, which it closes, until both have ended. The error is ErrRefused where
// nothing listens there: c is then reset, as it is when the other end breaks.
func (h *Host) Carry(ctx context.Context, c *net.TCPConn, port uint16) error {
	s, err := h.dial(ctx, port)
	if err != nil {
		abort(c)
		return err
	}
	relay(c, s)
	h.close(s)
	return nil
}

func (h *Host) dial(ctx context.Context, port uint16) (stream, error) {
	opened, err := h.mux.OpenStream(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot open a connection: %w", err)
	}
	s := counted{opened, h.gauge}
	var answer [1]byte
	s.SetDeadline(time.Now().Add(answerTime))
	if _, err = s.Write(binary.BigEndian.AppendUint16(nil, port)); err == nil {
		_, err = io.ReadFull(s, answer[:])
	}
	if err == nil && answer[0] != dialled {
		err = ErrRefused
	}
	if err != nil {
		h.close(s)
		return nil, fmt.Errorf("cannot connect to port %d: %w", port, err)
	}
	s.SetDeadline(time.Time{})
	return s, nil
}

// close ends a stream, if it has not ended.
func (h *Host) close(s stream) {
	s.Reset()
	h.gauge.close(s.StreamID())
}

// stream is one of yamux's.
type stream interface {
	io.ReadWriter
	CloseWrite() error
	Reset() error
	StreamID() uint32
}

// Serve is the other end: it dials, by way of dial, what the host asks for, until
// the stream ends.
func Serve(in io.ReadCloser, out io.WriteCloser, dial func(port uint16) (*net.TCPConn, error)) error {
	mux, err := yamux.Server(wire{in, out}, config(MaxConns), nil)
	if err != nil {
		return err
	}
	for {
		s, err := mux.AcceptStream()
		if err != nil {
			return nil // the host is gone
		}
		go serve(s, dial)
	}
}

func serve(s *yamux.Stream, dial func(port uint16) (*net.TCPConn, error)) {
	var port [2]byte
	s.SetReadDeadline(time.Now().Add(answerTime))
	if _, err := io.ReadFull(s, port[:]); err != nil {
		s.Reset()
		return
	}
	s.SetReadDeadline(time.Time{})
	c, err := dial(binary.BigEndian.Uint16(port[:]))
	if err != nil {
		s.Write([]byte{refused})
		s.Close()
		return
	}
	if _, err := s.Write([]byte{dialled}); err != nil {
		abort(c)
		return
	}
	relay(c, s)
}

// relay moves bytes between a connection and a stream. The end of one direction
// leaves the other as it is; what breaks one ends both, and is no end to take for
// a whole answer.
func relay(c *net.TCPConn, s stream) {
	var both sync.WaitGroup
	end := func() {
		s.Reset()
		abort(c)
	}
	ended := make(chan struct{})
	go watch(c, ended, end)
	both.Go(func() {
		if _, err := io.Copy(plain{s}, plain{c}); err != nil {
			end()
			return
		}
		s.CloseWrite()
	})
	both.Go(func() {
		if _, err := io.Copy(plain{c}, plain{s}); err != nil {
			end()
			return
		}
		c.CloseWrite()
	})
	both.Wait()
	close(ended)
	c.Close()
}

// watch calls end once a connection is reset, and returns when it has ended. Whose
// bytes nobody takes is not read from, and so would not be seen to go.
func watch(c *net.TCPConn, ended <-chan struct{}, end func()) {
	tick := time.NewTicker(lookTime)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
			if reset(c) {
				end()
				return
			}
		}
	}
}

// reset says whether a connection was reset, without taking that from its reader.
func reset(c *net.TCPConn) (yes bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	raw.Control(func(fd uintptr) {
		look := []unix.PollFd{{Fd: int32(fd)}}
		unix.Poll(look, 0)
		yes = look[0].Revents&unix.POLLERR != 0
	})
	return yes
}

// plain hides all but reading and writing: a connection's own way to copy would
// read through buffers of another size.
type plain struct{ io.ReadWriter }

// abort resets a connection.
func abort(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}

// wire is a stream as yamux wants it. It has no deadlines: whoever made it ends it.
type wire struct {
	io.ReadCloser
	out io.WriteCloser
}

func (w wire) Write(p []byte) (int, error) { return w.out.Write(p) }

func (w wire) Close() error { return errors.Join(w.ReadCloser.Close(), w.out.Close()) }

func (wire) LocalAddr() net.Addr              { return address{} }
func (wire) RemoteAddr() net.Addr             { return address{} }
func (wire) SetDeadline(time.Time) error      { return nil }
func (wire) SetReadDeadline(time.Time) error  { return nil }
func (wire) SetWriteDeadline(time.Time) error { return nil }

type address struct{}

func (address) Network() string { return "stream" }
func (address) String() string  { return "stream" }
