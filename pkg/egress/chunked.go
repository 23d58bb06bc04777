package egress

import (
	"bytes"
	"strconv"

	"bottle/pkg/policy"
)

const (
	maxExtension = 256     // bytes of one chunk's extension, which is dropped
	maxTrailer   = 8 << 10 // bytes of all trailers
)

// chunkState is what comes next in a chunked body.
type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkExtension
	chunkSizeLF
	chunkData
	chunkDataCR
	chunkDataLF
	chunkTrailer
	chunkDone
)

// dechunker decodes a chunked body piece by piece. It is strict: sizes are
// hexadecimal digits alone, lines end in CRLF, and an extension is dropped.
type dechunker struct {
	state   chunkState
	left    int64 // of the current chunk
	digits  int
	skipped int    // of the current extension
	trailer []byte // raw lines, up to and with the empty one
}

// next consumes a prefix of p. It returns how much, and the payload in it, if
// any; call it until state is chunkDone or p is empty.
func (d *dechunker) next(p []byte) (n int, data []byte, err error) {
	for n < len(p) && d.state != chunkDone {
		if d.state == chunkData {
			data = p[n:]
			if int64(len(data)) >= d.left {
				data = data[:d.left]
				d.state = chunkDataCR
			}
			d.left -= int64(len(data))
			return n + len(data), data, nil
		}
		if err := d.step(p[n]); err != nil {
			return n, nil, err
		}
		n++
	}
	return n, nil, nil
}

// step takes one byte that is not payload.
func (d *dechunker) step(c byte) error {
	switch d.state {
	case chunkSize:
		return d.size(c)
	case chunkExtension:
		return d.extension(c)
	case chunkSizeLF:
		if c != '\n' {
			return malformed("a chunk's size does not end in CRLF")
		}
		d.state = chunkData
		if d.left == 0 {
			d.state = chunkTrailer
		}
		d.digits, d.skipped = 0, 0
	case chunkDataCR:
		if c != '\r' {
			return malformed("a chunk is longer than its size")
		}
		d.state = chunkDataLF
	case chunkDataLF:
		if c != '\n' {
			return malformed("a chunk does not end in CRLF")
		}
		d.state = chunkSize
	case chunkTrailer:
		return d.trail(c)
	}
	return nil
}

func (d *dechunker) size(c byte) error {
	var v byte
	switch c = lower(c); {
	case c >= '0' && c <= '9':
		v = c - '0'
	case c >= 'a' && c <= 'f':
		v = c - 'a' + 10
	case d.digits == 0:
		return malformed("a chunk without a size")
	case c == ';':
		d.state = chunkExtension
		return nil
	case c == '\r':
		d.state = chunkSizeLF
		return nil
	default:
		return malformed("a chunk's size is no number")
	}
	if d.digits++; d.digits > 15 {
		return malformed("a chunk's size is too long")
	}
	d.left = d.left<<4 | int64(v)
	return nil
}

func (d *dechunker) extension(c byte) error {
	d.skipped++
	switch {
	case c == '\r':
		d.state = chunkSizeLF
	case c < ' ' && c != '\t' || c == 0x7f || d.skipped > maxExtension:
		return malformed("a chunk's extension is malformed")
	}
	return nil
}

func (d *dechunker) trail(c byte) error {
	if len(d.trailer) == maxTrailer {
		return malformed("the trailers are too large")
	}
	d.trailer = append(d.trailer, c)
	if c != '\n' {
		return nil
	}
	t := d.trailer
	switch {
	case len(t) < 2 || t[len(t)-2] != '\r':
		return malformed("a trailer does not end in CRLF")
	case len(t) == 2 || bytes.HasSuffix(t, []byte("\r\n\r\n")):
		d.state = chunkDone
	}
	return nil
}

// appendChunk appends data as one chunk.
func appendChunk(out, data []byte) []byte {
	out = strconv.AppendInt(out, int64(len(data)), 16)
	out = append(out, '\r', '\n')
	out = append(out, data...)
	return append(out, '\r', '\n')
}

// appendLast appends the last chunk and those trailers that may pass.
func appendLast(out []byte, trailer []byte) ([]byte, error) {
	out = append(out, '0', '\r', '\n')
	if len(trailer) > 2 {
		var f fields
		if err := f.parse(trailer); err != nil {
			return nil, err
		}
		for _, x := range f.list {
			if x.kind == kindEnd && !trailerRefused[string(bytes.ToLower(x.name))] && !policy.CarriesCredential(x.name) {
				out = appendField(out, x)
			}
		}
	}
	return append(out, '\r', '\n'), nil
}

func appendField(out []byte, x field) []byte {
	out = append(out, x.name...)
	out = append(out, ':', ' ')
	out = append(out, x.value...)
	return append(out, '\r', '\n')
}
