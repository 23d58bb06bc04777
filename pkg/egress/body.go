package egress

import (
	"io"
)

// body is how a message's body is framed where it comes from.
type body struct {
	chunked bool
	length  int64   // where it is not chunked; -1: up to the end of the connection
	mask    *masker // what stands in it is looked through; nil: it is not
	scan    *scan   // what must not pass is looked for; nil: it is not
}

// look scans a piece of the body before it is written.
func (b body) look(data []byte, last bool) error {
	if b.scan == nil {
		return nil
	}
	err := b.scan.next(data, last)
	if err == nil {
		err = b.scan.excepted()
	}
	if err != nil {
		return &sideError{err: b.scan.block(err)}
	}
	return nil
}

// sideError is an error of one side of a relay, so that the other side can be
// told from it.
type sideError struct {
	writing bool
	err     error
}

func (e *sideError) Error() string { return e.err.Error() }
func (e *sideError) Unwrap() error { return e.err }

// relay copies a body from src to dst, behind the bytes of out, a buffer that it
// puts back, and returns the size of its payload. Everything read is written
// before the next read, so that events are not held up. rechunk keeps a chunked
// body chunked; without it the payload is written bare. last, where it is not nil, is called when all has
// been read and the last write is about to begin.
func (b body) relay(dst io.Writer, src *reader, out []byte, rechunk bool, last func()) (int64, error) {
	if b.chunked {
		return b.relayChunked(dst, src, out, rechunk, last)
	}
	total := int64(0)
	for b.length < 0 || total < b.length {
		data := src.buffered()
		if b.length >= 0 && int64(len(data)) > b.length-total {
			data = data[:b.length-total]
		}
		src.discard(len(data))
		total += int64(len(data))
		if err := b.look(data, total == b.length); err != nil {
			return total, err
		}
		if total == b.length {
			if last != nil {
				last()
			}
		}
		if b.mask != nil {
			data = b.mask.next(data, total == b.length)
		}
		if err := flush(dst, out, data); err != nil {
			return total, err
		}
		out = nil
		if total == b.length {
			return total, nil
		}
		if err := src.fill(); err != nil {
			if err == io.EOF && b.length < 0 {
				return total, b.rest(dst)
			}
			return total, &sideError{err: noEOF(err)}
		}
	}
	if last != nil {
		last()
	}
	return total, flush(dst, out, nil)
}

// flush writes what stands in out and data, in one write where out has room: a
// head and its body belong into one packet. Then out's buffer is put back.
func flush(dst io.Writer, out, data []byte) error {
	defer func() { putBuf(out) }()
	if len(out) > 0 {
		if len(data) <= cap(out)-len(out) {
			out, data = append(out, data...), nil
		}
		if _, err := dst.Write(out); err != nil {
			return &sideError{writing: true, err: err}
		}
	}
	if len(data) > 0 {
		if _, err := dst.Write(data); err != nil {
			return &sideError{writing: true, err: err}
		}
	}
	return nil
}

// rest sends what was held back at the end of a body.
func (b body) rest(dst io.Writer) error {
	if b.mask == nil {
		return nil
	}
	return flush(dst, nil, b.mask.next(nil, true))
}

func (b body) relayChunked(dst io.Writer, src *reader, out []byte, rechunk bool, last func()) (total int64, err error) {
	var d dechunker
	for {
		for len(src.buffered()) > 0 && d.state != chunkDone {
			n, data, err := d.next(src.buffered())
			if err != nil {
				return total, &sideError{err: err}
			}
			total += int64(len(data))
			if err := b.look(data, d.state == chunkDone); err != nil {
				return total, err
			}
			if b.mask != nil && (len(data) > 0 || d.state == chunkDone) {
				data = b.mask.next(data, d.state == chunkDone)
			}
			switch {
			case len(data) > 0 && rechunk:
				out = appendChunk(out, data)
			case len(data) > 0:
				out = append(out, data...)
			}
			src.discard(n)
		}
		if d.state == chunkDone {
			if b.scan != nil {
				if err := b.scan.trailers(d.trailer); err != nil {
					return total, &sideError{err: err}
				}
			}
			if rechunk {
				if b.mask != nil {
					b.mask.cover(d.trailer)
				}
				if out, err = appendLast(out, d.trailer); err != nil {
					return total, &sideError{err: err}
				}
			}
			if last != nil {
				last()
			}
			return total, flush(dst, out, nil)
		}
		if err := flush(dst, out, nil); err != nil {
			return total, err
		}
		if err := src.fill(); err != nil {
			return total, &sideError{err: noEOF(err)}
		}
		out = getBuf()
	}
}

// noEOF turns an end into the error that it is in the middle of a message.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
