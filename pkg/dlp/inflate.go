package dlp

import (
	"errors"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// opener begins to decompress.
type opener func(io.Reader) (io.ReadCloser, error)

// inflater decompresses what is written to it, as far as that goes, before
// write returns. Decompressors read, so one runs as a coroutine that stops
// where it would have to wait.
type inflater struct {
	in   []byte
	end  bool
	next func() (struct{}, bool)
	stop func()
	err  error // of the data; io.EOF: all was decompressed
}

var errTrailing = errors.New("something follows the compressed data")

var errStopped = errors.New("nobody wants the rest")

// newInflater hands decompressed bytes to out, whose error ends it. The request
// ends it where nobody else does.
func (q *Request) newInflater(open opener, out func([]byte) error) *inflater {
	f := &inflater{}
	q.inflaters = append(q.inflaters, f)
	f.next, f.stop = iter.Pull(func(yield func(struct{}) bool) {
		r, err := open(&feed{f, yield})
		if err != nil {
			f.err = err
			return
		}
		defer r.Close()
		buf := make([]byte, 8<<10)
		for err == nil {
			var n int
			n, err = r.Read(buf)
			if n > 0 {
				if e := out(buf[:n]); e != nil {
					err = e
				}
			}
		}
		f.err = err
	})
	return f
}

// feed is what the decompressor reads: the bytes of one write after another.
type feed struct {
	f     *inflater
	yield func(struct{}) bool
}

func (d *feed) Read(p []byte) (int, error) {
	for len(d.f.in) == 0 {
		if d.f.end {
			return 0, io.EOF
		}
		if !d.yield(struct{}{}) {
			return 0, errStopped
		}
	}
	n := copy(p, d.f.in)
	d.f.in = d.f.in[n:]
	return n, nil
}

// ReadByte makes the feed one that nobody reads ahead of what he needs.
func (d *feed) ReadByte() (byte, error) {
	var one [1]byte
	_, err := d.Read(one[:])
	return one[0], err
}

// write decompresses p. It says whether p was all data.
func (f *inflater) write(p []byte) bool {
	f.in = p
	if _, more := f.next(); more {
		return true
	}
	return f.err == io.EOF && len(f.in) == 0
}

// close ends it and returns what was wrong with the data.
func (f *inflater) close() error {
	f.end = true
	f.next()
	f.stop()
	if f.err == io.EOF && len(f.in) == 0 {
		return nil
	}
	if f.err == io.EOF {
		return errTrailing
	}
	return f.err
}

func openGzip(r io.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) }
func openZlib(r io.Reader) (io.ReadCloser, error) { return zlib.NewReader(r) }
func openBrotli(r io.Reader) (io.ReadCloser, error) {
	return io.NopCloser(brotli.NewReader(r)), nil
}

func openZstd(r io.Reader) (io.ReadCloser, error) {
	d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		return nil, err
	}
	return d.IOReadCloser(), nil
}

// openDeflate takes what the standard calls deflate, which is zlib, and what
// some send by that name, which is deflate alone.
func openDeflate(r io.Reader) (io.ReadCloser, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	whole := &behind{head[:], r}
	if isZlib(head[:]) {
		return zlib.NewReader(whole)
	}
	return flate.NewReader(whole), nil
}

// behind reads what stands behind a head that was read already, and the head
// first.
type behind struct {
	head []byte
	r    io.Reader
}

func (b *behind) Read(p []byte) (int, error) {
	if len(b.head) == 0 {
		return b.r.Read(p)
	}
	n := copy(p, b.head)
	b.head = b.head[n:]
	return n, nil
}

func (b *behind) ReadByte() (byte, error) {
	var one [1]byte
	_, err := io.ReadFull(b, one[:])
	return one[0], err
}

func isZlib(b []byte) bool {
	return b[0]&0x0f == 8 && b[0]>>4 <= 7 && (int(b[0])<<8|int(b[1]))%31 == 0
}

// codings are the encodings that can be undone.
var codings = map[string]opener{"gzip": openGzip, "x-gzip": openGzip, "deflate": openDeflate, "br": openBrotli, "zstd": openZstd}

const maxCodings = 3 // of one body, on top of another

// decodings reads a Content-Encoding: how to undo it, the last applied first.
func decodings(header string) ([]opener, error) {
	var all []opener
	for name := range strings.SplitSeq(header, ",") {
		name = strings.ToLower(strings.Trim(name, " \t"))
		if name == "" || name == "identity" {
			continue
		}
		open, ok := codings[name]
		if !ok || len(all) == maxCodings {
			return nil, &Refusal{UnknownEncoding, "its encoding is " + clean(name)}
		}
		all = append(all, open)
	}
	slices.Reverse(all)
	return all, nil
}

// format is a compression that is told by its beginning.
type format struct {
	name string
	open opener
	cost int // what beginning to undo it costs, in decoded bytes
}

var (
	gzipFormat = &format{"gzip", openGzip, 64 << 10}
	zlibFormat = &format{"deflate", openZlib, 64 << 10}
	zstdFormat = &format{"zstd", openZstd, 1 << 20}
	zipFormat  = &format{"zip", openZip, 64 << 10}
)

// compression returns the format of what begins with b; nil: none.
func compression(b []byte) *format {
	switch {
	case len(b) < 6:
	case b[0] == 0x1f && b[1] == 0x8b && b[2] == 8:
		return gzipFormat
	case b[0] == 0x28 && b[1] == 0xb5 && b[2] == 0x2f && b[3] == 0xfd:
		return zstdFormat
	case b[0] == 'P' && b[1] == 'K' && b[2] == 3 && b[3] == 4:
		return zipFormat
	case b[0] == 0x78 && isZlib(b):
		return zlibFormat
	}
	return nil
}
