package gitgate

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/bzip2"
	"encoding/binary"
	"errors"
	"io"
	"path"
	"strings"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/therootcompany/xz"
)

// content is one object that is looked through, and what is packed in it.
type content struct {
	s    *scanner
	left int64 // bytes that may be unpacked yet
	hits []hit
	bomb bool
}

const (
	maxNesting = 5       // archives within archives
	maxMembers = 100_000 // of one archive
	dictionary = 64 << 20
)

// look looks at data from all sides: as it is, as text of another width, and
// unpacked. member says where in the object it is.
func (c *content) look(name, member string, data []byte, depth int) {
	if len(c.hits) >= maxHits {
		return
	}
	c.add(member, c.s.text(name, data))
	if text := narrow(data); text != nil {
		c.add(member, c.s.text(name, text))
	}
	if !packed(data) {
		return
	}
	if depth == maxNesting {
		c.refuse(member)
		return
	}
	c.unpack(member, data, depth)
}

// add takes hits, those that are there already left out.
func (c *content) add(member string, hits []hit) {
next:
	for _, h := range hits {
		h.member = member
		for _, o := range c.hits {
			if o.rule == h.rule && o.fingerprint == h.fingerprint && (o.line == h.line || strings.HasPrefix(member, o.member)) {
				continue next
			}
		}
		c.hits = append(c.hits, h)
	}
}

// refuse says that a member cannot be read to its end.
func (c *content) refuse(member string) {
	c.add(member, []hit{{rule: ruleUnscannable}})
}

// Beginnings of what is packed.
var (
	magicZlib  = []byte("\x78")
	magicGzip  = []byte("\x1f\x8b\x08")
	magicBzip2 = []byte("BZh")
	magicXz    = []byte("\xfd7zXZ\x00")
	magicZstd  = []byte("\x28\xb5\x2f\xfd")
	magicZip   = []byte("PK\x03\x04")
	zipEnd     = []byte("PK\x05\x06")
	// What cannot be unpacked here, and is made to be.
	closedArchives = [][]byte{[]byte("7z\xbc\xaf\x27\x1c"), []byte("Rar!\x1a\x07"), []byte("\x04\x22\x4d\x18"), []byte("LZIP\x01"),
		[]byte("\x89LZO\x00\r\n\x1a\n"), []byte("\x1f\x9d\x90"), []byte("\xff\x06\x00\x00sNaPpY")}
)

// holdsNUL says whether data is no text: only there is something packed.
func holdsNUL(data []byte) bool { return bytes.IndexByte(data[:min(len(data), 8000)], 0) >= 0 }

// packed says whether there may be something to unpack.
func packed(data []byte) bool {
	for _, m := range append([][]byte{magicGzip, magicBzip2, magicXz, magicZstd, magicZip}, closedArchives...) {
		if bytes.HasPrefix(data, m) {
			return true
		}
	}
	return holdsNUL(data) || bytes.HasPrefix(data, []byte("%PDF")) || bytes.Contains(data[max(0, len(data)-1<<16):], zipEnd)
}

func (c *content) unpack(member string, data []byte, depth int) {
	for _, m := range closedArchives {
		if bytes.HasPrefix(data, m) {
			c.refuse(member)
			return
		}
	}
	src := bytes.NewReader(data)
	if isTar(data) {
		c.tar(member, tar.NewReader(src), depth)
		c.embedded(member, data[len(data)-src.Len():], depth, nil)
		return
	}
	listed := map[int]bool{}
	if bytes.Contains(data[max(0, len(data)-1<<16):], zipEnd) {
		if z, err := zip.NewReader(bytes.NewReader(data), int64(len(data))); err == nil {
			c.zip(member, z, depth, listed)
		}
	}
	if r, done := decompressor(data, src); r != nil {
		c.member(member, r, depth)
		done()
		data = data[1:]
	}
	c.embedded(member, data, depth, listed)
}

func isTar(head []byte) bool { return len(head) > 262 && string(head[257:262]) == "ustar" }

// decompressor undoes a compression that is told by how it begins; nil: none.
func decompressor(head []byte, r io.Reader) (io.Reader, func()) {
	nothing := func() {}
	switch {
	case bytes.HasPrefix(head, magicGzip):
		if z, err := gzip.NewReader(r); err == nil {
			return z, func() { z.Close() }
		}
	case bytes.HasPrefix(head, magicBzip2):
		return bzip2.NewReader(r), nothing
	case bytes.HasPrefix(head, magicXz):
		if z, err := xz.NewReader(r, dictionary); err == nil {
			return z, nothing
		}
	case bytes.HasPrefix(head, magicZstd):
		if z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(dictionary)); err == nil {
			return z, z.Close
		}
	}
	return nil, nothing
}

// member looks at something that comes out of an unpacker. What was broken is
// looked at as far as it came.
func (c *content) member(member string, r io.Reader, depth int) {
	if c.left <= 0 {
		c.tooMuch(member)
		return
	}
	b := bufio.NewReaderSize(r, 1024)
	if head, _ := b.Peek(512); isTar(head) && depth+1 < maxNesting {
		c.tar(member, tar.NewReader(&metered{c, b}), depth+1)
		return
	}
	data, _ := io.ReadAll(io.LimitReader(b, min(c.left, whole)+1))
	c.left -= int64(len(data))
	if len(data) == 0 {
		return
	}
	c.look(path.Base(member), member, data, depth+1)
	switch {
	case c.left <= 0:
		c.tooMuch(member)
	case len(data) > whole: // the rest, with as much of what was before as a secret has
		c.rest(member, io.MultiReader(bytes.NewReader(data[len(data)-1<<16:]), &metered{c, b}))
	}
}

// rest looks at what is too large to be held.
func (c *content) rest(member string, r io.Reader) {
	o := c.s.dlp.Object("", c.s.without)
	defer o.Release()
	_, err := io.Copy(o, r)
	if errors.Is(err, errTooLong) {
		c.tooMuch(member)
		return
	}
	if h, found := hitOf(o.Close()); found {
		c.add(member, []hit{h})
	}
}

// tooMuch refuses what would unpack to more than may be looked at.
func (c *content) tooMuch(member string) {
	if !c.bomb {
		c.bomb = true
		c.refuse(member)
	}
}

// metered counts what is unpacked.
type metered struct {
	c *content
	r io.Reader
}

func (m *metered) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	if m.c.left -= int64(n); m.c.left < 0 {
		return 0, errTooLong
	}
	return n, err
}

func (c *content) tar(member string, t *tar.Reader, depth int) {
	for n := 0; n < maxMembers && len(c.hits) < maxHits; n++ {
		h, err := t.Next()
		if err != nil {
			if errors.Is(err, errTooLong) {
				c.tooMuch(member)
			}
			return
		}
		head := []string{h.Name, h.Linkname, h.Uname, h.Gname}
		for k, v := range h.PAXRecords {
			head = append(head, k, v)
		}
		c.add(join(member, h.Name), c.s.text("", []byte(strings.Join(head, "\n"))))
		c.member(join(member, h.Name), t, depth)
	}
	c.tooMuch(member)
}

func (c *content) zip(member string, z *zip.Reader, depth int, listed map[int]bool) {
	if len(z.File) > maxMembers {
		c.tooMuch(member)
		return
	}
	for _, f := range z.File {
		if len(c.hits) >= maxHits || c.bomb {
			return
		}
		at := join(member, f.Name)
		c.add(at, c.s.text("", []byte(f.Name+"\n"+f.Comment+"\n"+string(f.Extra))))
		r, err := f.Open()
		if f.Flags&1 != 0 || errors.Is(err, zip.ErrAlgorithm) {
			c.refuse(at) // encrypted, or of a method that nobody reads here
			continue
		}
		if err == nil {
			if where, err := f.DataOffset(); err == nil {
				listed[int(where)] = true
			}
			c.member(at, r, depth)
			r.Close()
		}
	}
}

func join(member, name string) string {
	if member == "" {
		return name
	}
	return member + "!" + name
}

const maxTries = 1 << 14 // of beginnings of compressed data in one piece

// noAccident is more bytes than come out of what only looks like compressed data.
const noAccident = 512

// embedded looks for compressed data that begins anywhere: that of PDF, of images,
// of git's own packs, of an archive behind something else or without its
// directory. listed are members of a zip that were looked at, by where they are.
func (c *content) embedded(member string, data []byte, depth int, listed map[int]bool) {
	src := bytes.NewReader(nil)
	tries := 0
	for _, magic := range [][]byte{magicZlib, magicGzip, magicBzip2, magicXz, magicZstd, magicZip} {
		for i := 0; ; i++ {
			next := bytes.Index(data[i:], magic)
			if next < 0 {
				break
			}
			i += next
			src.Reset(data[i:])
			r, done := beginning(data[i:], src)
			if at := i + localHead(data[i:]); r == nil || listed[at] {
				continue
			}
			if tries++; tries > maxTries || c.left <= 0 {
				c.tooMuch(member)
				return
			}
			text, err := io.ReadAll(io.LimitReader(r, min(c.left, whole)))
			done()
			c.left -= int64(len(text))
			switch {
			case err == nil || len(text) > noAccident:
				c.look("", member, text, depth+1)
			case len(text) > 0:
				c.add(member, c.s.text("", text))
			}
			if err == nil && len(text) > 0 && len(magic) == 1 { // it was one: go on behind it
				i = len(data) - src.Len() - 1
			}
		}
	}
}

// beginning undoes a compression that begins here, or that of a zip's member whose
// head is here; nil: neither.
func beginning(data []byte, src *bytes.Reader) (io.Reader, func()) {
	nothing := func() {}
	switch n := localHead(data); {
	case n > 0 && n < len(data) && data[8] == byte(zip.Deflate):
		src.Seek(int64(n), io.SeekCurrent)
		return flate.NewReader(src), nothing
	case len(data) > 2 && data[0] == magicZlib[0] && (int(data[0])<<8|int(data[1]))%31 == 0 && data[1]&0x20 == 0:
		if z, err := zlib.NewReader(src); err == nil {
			return z, nothing
		}
		return nil, nothing
	}
	return decompressor(data, src)
}

// localHead is the length of the head of a zip's member; 0: it is none.
func localHead(data []byte) int {
	if len(data) < 30 || !bytes.HasPrefix(data, magicZip) {
		return 0
	}
	return 30 + int(binary.LittleEndian.Uint16(data[26:])) + int(binary.LittleEndian.Uint16(data[28:]))
}

// minWide is how many characters of UTF-16 or UTF-32 are taken for a text.
const minWide = 12

// narrow writes what stands in data in UTF-16 and UTF-32 as bytes; nil: nothing.
// Characters beyond the first 256 end a line: no secret has them.
func narrow(data []byte) []byte {
	var out []byte
	for i := 0; ; {
		next := bytes.IndexByte(data[i:], 0)
		if next < 0 {
			return out
		}
		if i += next; i == 0 || data[i-1] == 0 {
			i++
			continue
		}
		from, at, width := len(out), i-1, 2
		if bytes.HasPrefix(data[i:], []byte{0, 0, 0}) {
			width = 4
		}
		for at+width <= len(data) && data[at] != 0 && bytes.Count(data[at+1:at+width], []byte{0}) == width-1 {
			out = append(out, data[at])
			at += width
		}
		if len(out)-from < minWide {
			out = out[:from]
		} else {
			if at < len(data) && data[at] != 0 { // the other order has its zeros before
				out = append(out, data[at])
			}
			out = append(out, '\n')
		}
		i = max(at, i+1)
	}
}

// stream looks at an object that is too large to be held: as it is and, where it
// is compressed or a tar, unpacked.
func (c *content) stream(name string, r io.Reader) ([]hit, error) {
	o := c.s.dlp.Object(name, c.s.without)
	defer o.Release()
	sink := &scanning{o: o}
	b := bufio.NewReaderSize(io.TeeReader(r, sink), 1<<16)
	head, err := b.Peek(1024)
	if err != nil {
		return nil, err
	}
	for _, m := range closedArchives {
		if bytes.HasPrefix(head, m) {
			c.refuse("")
		}
	}
	if bytes.HasPrefix(head, magicZip) {
		c.refuse("") // its members could be looked at one by one only where it is held
	} else if isTar(head) {
		c.tar("", tar.NewReader(b), 0)
	} else if z, done := decompressor(head, b); z != nil {
		c.member("", z, 0)
		done()
	}
	if _, err := io.Copy(io.Discard, b); err != nil {
		return nil, err
	}
	if sink.err == nil {
		sink.err = o.Close()
	}
	if h, found := hitOf(sink.err); found {
		c.add("", []hit{h})
	}
	return c.hits, nil
}

// scanning takes all that is written, and keeps what was found.
type scanning struct {
	o   io.Writer
	err error
}

func (s *scanning) Write(p []byte) (int, error) {
	if s.err == nil {
		_, s.err = s.o.Write(p)
	}
	return len(p), nil
}
