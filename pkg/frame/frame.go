// Package frame is what the host's programs and bottle-inside say to each other
// over an exec without a terminal: framed standard input, and exit codes that
// have a meaning of their own. Output is not framed. It knows neither terminals
// nor the engine.
//
// A frame is one byte of kind, the payload's length as four bytes, big-endian,
// and the payload. A stream that ends without more ado means that the writer is
// gone: the reader ends what it does for him.
package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Kind says what a frame's payload is.
type Kind byte

const (
	Data   Kind = 'd' // bytes for the standard input of what runs
	Resize Kind = 'r' // the terminal's new size: columns and rows, two bytes each
	EOF    Kind = 'e' // the input ends here, the writer lives on; no payload
)

// MaxPayload is the longest payload in bytes.
const MaxPayload = 64 << 10

// Exit codes of bottle-inside that no agent is likely to return.
const (
	ExitNoSession = 250 // no session was ever started here
	ExitAlive     = 251 // the viewer ended, the session did not
	ExitConflict  = 6   // of start alone: a session lives already
)

// Errors of a stream that does not keep to the format.
var (
	ErrKind   = errors.New("frame of unknown kind")
	ErrLength = errors.New("frame of wrong length")
)

const headerSize = 5

// Frame is one message. Payload is valid until the next call of Next.
type Frame struct {
	Kind    Kind
	Payload []byte
}

// Size returns the columns and rows of a Resize frame.
func (f Frame) Size() (cols, rows uint16) {
	return binary.BigEndian.Uint16(f.Payload), binary.BigEndian.Uint16(f.Payload[2:])
}

// Reader reads frames.
type Reader struct {
	r   io.Reader
	buf []byte
}

// NewReader returns a reader of the frames in r.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Next returns the next frame. Its error is io.EOF where the stream ended
// between two frames, and io.ErrUnexpectedEOF where it ended inside one.
func (r *Reader) Next() (Frame, error) {
	var head [headerSize]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return Frame{}, err
	}
	f := Frame{Kind: Kind(head[0])}
	n := binary.BigEndian.Uint32(head[1:])
	if err := check(f.Kind, n); err != nil {
		return Frame{}, err
	}
	if uint32(cap(r.buf)) < n {
		r.buf = make([]byte, n)
	}
	f.Payload = r.buf[:n]
	if _, err := io.ReadFull(r.r, f.Payload); err != nil {
		return Frame{}, io.ErrUnexpectedEOF
	}
	return f, nil
}

func check(k Kind, n uint32) error {
	ok := false
	switch k {
	case Data:
		ok = n <= MaxPayload
	case Resize:
		ok = n == 4
	case EOF:
		ok = n == 0
	default:
		return fmt.Errorf("%w: %#02x", ErrKind, byte(k))
	}
	if !ok {
		return fmt.Errorf("%w: kind %q, %d bytes", ErrLength, byte(k), n)
	}
	return nil
}

// Writer writes frames; it is safe for concurrent use. Each frame is one Write.
type Writer struct {
	mu  sync.Mutex
	w   io.Writer
	buf []byte
}

// NewWriter returns a writer of frames to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write sends p as Data frames, so that a Writer is an io.Writer of input.
func (w *Writer) Write(p []byte) (int, error) {
	for sent := 0; sent < len(p); {
		n := min(len(p)-sent, MaxPayload)
		if err := w.send(Data, p[sent:sent+n]); err != nil {
			return sent, err
		}
		sent += n
	}
	return len(p), nil
}

// Resize sends the terminal's size.
func (w *Writer) Resize(cols, rows uint16) error {
	p := binary.BigEndian.AppendUint16(nil, cols)
	return w.send(Resize, binary.BigEndian.AppendUint16(p, rows))
}

// EOF says that no more input comes.
func (w *Writer) EOF() error { return w.send(EOF, nil) }

func (w *Writer) send(k Kind, payload []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf = append(w.buf[:0], byte(k))
	w.buf = binary.BigEndian.AppendUint32(w.buf, uint32(len(payload)))
	w.buf = append(w.buf, payload...)
	_, err := w.w.Write(w.buf)
	return err
}
