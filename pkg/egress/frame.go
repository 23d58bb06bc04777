package egress

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"io"
)

// opcode is what a frame of WebSocket is (RFC 6455, 5.2).
type opcode uint8

const (
	opContinuation opcode = 0
	opText         opcode = 1
	opBinary       opcode = 2
	opClose        opcode = 8
	opPing         opcode = 9
	opPong         opcode = 10
)

func (o opcode) control() bool { return o >= opClose }

func (o opcode) known() bool { return o <= opBinary || o >= opClose && o <= opPong }

const (
	finBit       = 0x80
	maskBit      = 0x80
	maxFrameHead = 14
	maxControl   = 125     // bytes of a control frame
	maxFrame     = 1 << 50 // bytes of a frame: more is no length that anybody means
)

// frameHead is a frame's, up to its payload.
type frameHead struct {
	fin    bool
	op     opcode
	masked bool
	key    [4]byte
	length int64
}

// parseFrameHead reads a head and returns its size; 0: it is not all here. What
// no extension was agreed on for is an error, and so is a length that is not
// written in the shortest way.
func parseFrameHead(b []byte) (h frameHead, size int, err error) {
	if len(b) < 2 {
		return h, 0, nil
	}
	h.fin, h.op, h.masked, h.length = b[0]&finBit != 0, opcode(b[0]&0x0f), b[1]&maskBit != 0, int64(b[1]&^maskBit)
	switch {
	case b[0]&0x70 != 0:
		return h, 0, malformed("a frame with a reserved bit")
	case !h.op.known():
		return h, 0, malformed("a frame of an unknown kind")
	case h.op.control() && (!h.fin || h.length > maxControl):
		return h, 0, malformed("a control frame that is large or in fragments")
	}
	size = 2
	switch h.length {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if h.masked {
		size += len(h.key)
	}
	if len(b) < size {
		return h, 0, nil
	}
	least := int64(0)
	switch h.length {
	case 126:
		h.length, least = int64(binary.BigEndian.Uint16(b[2:])), 126
	case 127:
		n := binary.BigEndian.Uint64(b[2:])
		if n > maxFrame {
			return h, 0, malformed("a frame without end")
		}
		h.length, least = int64(n), 1<<16
	}
	if h.length < least {
		return h, 0, malformed("a frame's length that is written too long")
	}
	if h.masked {
		copy(h.key[:], b[size-len(h.key):])
	}
	return h, size, nil
}

// applyMask masks or unmasks bytes of a payload from its byte at on.
func applyMask(p []byte, key [4]byte, at int64) {
	var tile [256]byte
	for i := range tile[:min(len(tile), len(p))] {
		tile[i] = key[(at+int64(i))&3]
	}
	for len(p) > 0 {
		p = p[subtle.XORBytes(p, p, tile[:]):]
	}
}

// piece is what has come of a frame's payload: all of a control frame, any part
// of another.
type piece struct {
	op    opcode // of the message
	data  []byte // unmasked
	first bool   // a message begins
	last  bool   // the message ends
	size  int64  // bytes of its frame
	left  int64  // of these, how many are to come
	fin   bool   // no other frame of the message follows
}

// deframer reads the frames of one side piece by piece. It is strict.
type deframer struct {
	masked bool // what this side must do
	inside bool // a frame is under way
	head   frameHead
	left   int64  // of its payload
	open   bool   // a message is under way
	op     opcode // of that
}

// next consumes a prefix of b, in which it unmasks, and returns how much, and
// what is in it. 0: more must come.
func (d *deframer) next(b []byte) (n int, p piece, err error) {
	if !d.inside {
		h, size, err := parseFrameHead(b)
		if err == nil && size > 0 {
			err = d.check(&h)
		}
		switch {
		case err != nil || size == 0:
			return 0, piece{}, err
		case h.op.control():
			return d.control(h, size, b)
		}
		if p.first = !d.open; p.first {
			d.op = h.op
		}
		d.inside, d.open, d.head, d.left, n = true, true, h, h.length, size
	}
	p.data = b[n:]
	if int64(len(p.data)) > d.left {
		p.data = p.data[:d.left]
	}
	if d.head.masked {
		applyMask(p.data, d.head.key, d.head.length-d.left)
	}
	n += len(p.data)
	d.left -= int64(len(p.data))
	d.inside = d.left > 0
	p.op, p.size, p.left, p.fin = d.op, d.head.length, d.left, d.head.fin
	p.last = p.fin && !d.inside
	d.open = !p.last
	return n, p, nil
}

// check holds a head against what came before it.
func (d *deframer) check(h *frameHead) error {
	switch {
	case h.masked != d.masked && d.masked:
		return malformed("a frame that is not masked")
	case h.masked != d.masked:
		return malformed("a frame that is masked")
	case h.op.control():
	case d.open && h.op != opContinuation:
		return malformed("a message within a message")
	case !d.open && h.op == opContinuation:
		return malformed("a fragment of no message")
	}
	return nil
}

// control returns a control frame, once it is here whole.
func (d *deframer) control(h frameHead, size int, b []byte) (int, piece, error) {
	end := size + int(h.length)
	if len(b) < end {
		return 0, piece{}, nil
	}
	data := b[size:end]
	if h.masked {
		applyMask(data, h.key, 0)
	}
	if h.op == opClose && !closes(data) {
		return 0, piece{}, malformed("a close frame without a code that closes")
	}
	return end, piece{op: h.op, data: data, first: true, last: true, size: h.length, fin: true}, nil
}

// closes says whether a close frame's payload is empty or begins with a code that
// may be sent (RFC 6455, 7.4).
func closes(data []byte) bool {
	if len(data) < 2 {
		return len(data) == 0
	}
	switch code := binary.BigEndian.Uint16(data); {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014, code >= 3000 && code <= 4999:
		return true
	}
	return false
}

// appendFrame writes a frame; a masked one gets a fresh mask.
func appendFrame(out []byte, fin bool, op opcode, masked bool, data []byte) []byte {
	first, second := byte(op), byte(0)
	if fin {
		first |= finBit
	}
	if masked {
		second = maskBit
	}
	out = append(out, first)
	switch n := len(data); {
	case n < 126:
		out = append(out, second|byte(n))
	case n < 1<<16:
		out = binary.BigEndian.AppendUint16(append(out, second|126), uint16(n))
	default:
		out = binary.BigEndian.AppendUint64(append(out, second|127), uint64(n))
	}
	if !masked {
		return append(out, data...)
	}
	var key [4]byte
	rand.Read(key[:]) // it never fails
	out = append(out, key[:]...)
	from := len(out)
	out = append(out, data...)
	applyMask(out[from:], key, 0)
	return out
}

// framer gathers frames for one side; who waits for more flushes it first. Its
// frames are its own: between two writes no frame is under way.
type framer struct {
	dst    io.Writer
	masked bool
	open   bool // the last frame of the message under way is yet to come
	out    []byte
}

// message sends a part of a message; last: it ends with it.
func (f *framer) message(op opcode, data []byte, last bool) error {
	if f.open {
		op = opContinuation
	}
	f.open = !last
	return f.frame(last, op, data)
}

// frame sends one frame.
func (f *framer) frame(fin bool, op opcode, data []byte) error {
	if len(f.out)+maxFrameHead+len(data) > bufSize {
		if err := f.flush(); err != nil {
			return err
		}
	}
	if f.out == nil {
		f.out = getBuf()
	}
	f.out = appendFrame(f.out, fin, op, f.masked, data)
	return nil
}

func (f *framer) flush() error {
	out := f.out
	if f.out = nil; out == nil {
		return nil
	}
	return flush(f.dst, out, nil)
}
