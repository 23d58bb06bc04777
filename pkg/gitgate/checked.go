package gitgate

import (
	"bufio"
	"encoding/binary"
	"hash"
	"io"

	"github.com/klauspost/compress/zlib"
)

// checkedPack is a pack that is written for git's check, of as many objects as
// another has, since its head has to say that first: those that git is to check, as
// they are, and an empty one in the place of any other.
type checkedPack struct {
	pipe *io.PipeWriter
	buf  *bufio.Writer
	to   io.Writer // buf, and the sum at its end
	sum  hash.Hash
	left uint32 // objects that its head promises yet
	size int
	zlib *zlib.Writer
}

// begin begins one of so many objects, which can be read from what it
// returns. Its reader closes that.
func (c *checkedPack) begin(format string, count uint32) *io.PipeReader {
	r, w := io.Pipe()
	c.pipe, c.buf, c.sum, c.left = w, bufio.NewWriterSize(w, 32<<10), newHash(format), count
	c.to = io.MultiWriter(c.buf, c.sum)
	c.zlib, _ = zlib.NewWriterLevel(nil, zlib.NoCompression)
	c.to.Write(binary.BigEndian.AppendUint32([]byte(packVersion), count))
	return r
}

// put writes an object.
func (c *checkedPack) put(kind string, data []byte) error {
	if c.size += len(data); c.size > maxChecked || c.left == 0 {
		return errIndex
	}
	c.left--
	size := len(data)
	head := []byte{numbers[kind]<<4 | byte(size&15)}
	for size >>= 4; size > 0; size >>= 7 {
		head[len(head)-1] |= 0x80
		head = append(head, byte(size&0x7f))
	}
	if _, err := c.to.Write(head); err != nil {
		return err
	}
	c.zlib.Reset(c.to)
	if _, err := c.zlib.Write(data); err != nil {
		return err
	}
	return c.zlib.Close()
}

// end ends it.
func (c *checkedPack) end() error {
	c.buf.Write(c.sum.Sum(nil))
	if err := c.buf.Flush(); err != nil {
		return err
	}
	return c.pipe.Close()
}

// drop has whoever reads it see that nobody wants it.
func (c *checkedPack) drop() {
	if c.pipe != nil {
		c.pipe.CloseWithError(errIndex)
	}
}

// numbers are those that a pack has for kinds.
var numbers = func() map[string]byte {
	of := map[string]byte{}
	for number, kind := range kinds {
		of[kind] = number
	}
	return of
}()
