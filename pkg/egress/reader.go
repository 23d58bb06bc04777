package egress

import (
	"bytes"
	"io"
	"sync"
)

const (
	readSize = 17 << 10 // a full TLS record, and a head beside it
	bufSize  = 18 << 10 // what was read at once fits in, framed anew
	maxHead  = 64 << 10
)

// bufs are buffers.
var bufs = sync.Pool{New: func() any { return new([bufSize]byte) }}

// getBuf returns an empty buffer. Nobody keeps one while waiting for another
// side, but for the one that is read into: a thousand streams may be idle.
func getBuf() []byte { return bufs.Get().(*[bufSize]byte)[:0] }
func putBuf(b []byte) { // larger ones, made for a long head, are left to the collector
	if cap(b) == bufSize {
		bufs.Put((*[bufSize]byte)(b[:bufSize]))
	}
}

// reader reads a stream through one buffer. Slices of the buffer are valid
// until the next fill.
type reader struct {
	src  io.Reader
	buf  []byte
	r, w int
}

func newReader(src io.Reader) reader { return reader{src: src} }

func (b *reader) release() {
	putBuf(b.buf)
	b.buf, b.r, b.w = nil, 0, 0
}

// rest puts the buffer back until the next fill, if nothing is in it.
func (b *reader) rest() {
	if b.r == b.w {
		b.release()
	}
}

func (b *reader) buffered() []byte { return b.buf[b.r:b.w] }

func (b *reader) discard(n int) { b.r += n }

// fill reads once. What is not consumed yet stays; a full buffer is an error.
func (b *reader) fill() error {
	switch {
	case b.buf == nil:
		b.buf = getBuf()[:readSize]
	case b.r == b.w:
		b.r, b.w = 0, 0
	case b.w == len(b.buf):
		b.w = copy(b.buf, b.buf[b.r:b.w])
		b.r = 0
	}
	if b.w == len(b.buf) {
		return io.ErrShortBuffer
	}
	n, err := b.src.Read(b.buf[b.w:])
	b.w += n
	if n > 0 {
		return nil // an error will come again
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// head returns the bytes of a message's head, up to and with its empty line,
// and consumes them. It is strict where a lenient reader and a strict one could
// see different messages: a line feed without its carriage return ends it at
// once (errMalformed). An end before the first byte is io.EOF.
func (b *reader) head() ([]byte, error) {
	scanned, line := 0, 0 // offsets from b.r: seen so far, start of the current line
	for {
		data := b.buffered()
		for scanned < len(data) {
			i := bytes.IndexByte(data[scanned:], '\n')
			if i < 0 {
				scanned = len(data)
				break
			}
			end := scanned + i
			if end == line || data[end-1] != '\r' {
				return nil, malformed("a line ends without a carriage return")
			}
			scanned = end + 1
			if end-1 == line {
				b.discard(scanned)
				return data[:scanned], nil
			}
			line = scanned
		}
		if len(data) > 0 && !tokenByte[data[0]] {
			return nil, malformed("this is not HTTP")
		}
		if len(data) >= maxHead {
			return nil, errTooLarge
		}
		if len(data) == len(b.buf) && b.buf != nil {
			b.grow()
		}
		if err := b.fill(); err != nil {
			if err == io.EOF && len(data) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

// grow makes room for a head that is longer than most.
func (b *reader) grow() {
	larger := make([]byte, maxHead)
	b.w = copy(larger, b.buffered())
	b.r = 0
	putBuf(b.buf)
	b.buf = larger
}
