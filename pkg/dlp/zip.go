package dlp

import (
	"encoding/binary"
	"errors"
	"io"

	"github.com/klauspost/compress/flate"
)

// zipReader reads the names and contents of a zip archive, one after another,
// as they come: of an archive that is still being sent the directory is not
// there yet, and what a directory leaves out is sent all the same.
type zipReader struct {
	r     byteReader
	entry io.Reader // what is left of the entry that it is in
	close io.Closer
}

// byteReader is read no farther than it has to be.
type byteReader interface {
	io.Reader
	io.ByteReader
}

const (
	zipEntry      = 0x04034b50 // "PK\3\4", read in little endian
	zipDirectory  = 0x02014b50
	zipStored     = 0
	zipDeflated   = 8
	zipHeader     = 26 // bytes of an entry's header behind its signature
	zipDescriptor = 1 << 3
)

var errZip = errors.New("not a zip that can be read")

func openZip(r io.Reader) (io.ReadCloser, error) {
	b, ok := r.(byteReader)
	if !ok {
		return nil, errZip
	}
	return &zipReader{r: b}, nil
}

func (z *zipReader) Read(p []byte) (int, error) {
	for {
		if z.entry == nil {
			if err := z.next(); err != nil {
				return 0, err
			}
		}
		n, err := z.entry.Read(p)
		if err == io.EOF {
			err = z.Close()
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Close ends the entry that it is in.
func (z *zipReader) Close() error {
	c := z.close
	z.entry, z.close = nil, nil
	if c != nil {
		return c.Close()
	}
	return nil
}

// next finds the next entry. Between two may stand a descriptor, whose length
// nothing tells: it looks for the signature.
func (z *zipReader) next() error {
	var sig uint32
	for sig != zipEntry {
		c, err := z.r.ReadByte()
		if err != nil {
			return err
		}
		if sig = sig>>8 | uint32(c)<<24; sig == zipDirectory {
			return io.EOF
		}
	}
	var h [zipHeader]byte
	if _, err := io.ReadFull(z.r, h[:]); err != nil {
		return err
	}
	flags, method := binary.LittleEndian.Uint16(h[2:]), binary.LittleEndian.Uint16(h[4:])
	size := binary.LittleEndian.Uint32(h[14:])
	names := io.LimitReader(z.r, int64(binary.LittleEndian.Uint16(h[22:]))+int64(binary.LittleEndian.Uint16(h[24:])))
	switch {
	case method == zipDeflated:
		f := flate.NewReader(z.r)
		z.entry, z.close = io.MultiReader(names, newline(), f, newline()), f
	case method == zipStored && flags&zipDescriptor == 0:
		z.entry = io.MultiReader(names, newline(), io.LimitReader(z.r, int64(size)), newline())
	default:
		// Bytes that the archive holds as they are have been scanned as they are.
		z.entry = io.MultiReader(names, newline())
	}
	return nil
}

func newline() io.Reader { return &behind{head: []byte{'\n'}, r: nothing{}} }

type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, io.EOF }
