package egress

import (
	"bytes"
	"errors"
	"testing"
)

// badFrames are frames of a client's that end its connection.
var badFrames = map[string][]byte{
	"not masked":               {0x81, 0x01, 'x'},
	"a reserved bit":           {0xc1, 0x80, 0, 0, 0, 0},
	"another reserved bit":     {0x91, 0x80, 0, 0, 0, 0},
	"an unknown kind":          {0x83, 0x80, 0, 0, 0, 0},
	"an unknown control frame": {0x8b, 0x80, 0, 0, 0, 0},
	"a large ping":             {0x89, 0xfe, 0, 126, 0, 0, 0, 0},
	"a ping in fragments":      {0x09, 0x80, 0, 0, 0, 0},
	"a length too long":        {0x81, 0xfe, 0, 125, 0, 0, 0, 0},
	"a length far too long":    {0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0},
	"a negative length":        {0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
	"a fragment of nothing":    {0x80, 0x80, 0, 0, 0, 0},
	"a message in a message":   {0x01, 0x80, 0, 0, 0, 0, 0x81, 0x80, 0, 0, 0, 0},
	"half a code":              {0x88, 0x81, 0, 0, 0, 0, 3},
	"a code that is no code":   {0x88, 0x82, 0, 0, 0, 0, 0x03, 0xed},
}

// read returns what a deframer makes of a stream that comes in pieces of a size.
func readFrames(masked bool, stream []byte, size int) (got []byte, err error) {
	d := deframer{masked: masked}
	var in []byte
	for len(stream) > 0 || len(in) > 0 {
		n, p, err := d.next(in)
		if err != nil {
			return got, err
		}
		if n == 0 {
			if len(stream) == 0 {
				return got, nil
			}
			more := stream[:min(size, len(stream))]
			in, stream = append(in, more...), stream[len(more):]
			continue
		}
		if p.op.control() {
			got = append(append(got, 'c', byte(p.op)), p.data...)
		} else {
			if p.first {
				got = append(got, 'm', byte(p.op))
			}
			got = append(got, p.data...)
			if p.last {
				got = append(got, '.')
			}
		}
		in = in[n:]
	}
	return got, nil
}

func TestMalformedFrames(t *testing.T) {
	for name, frame := range badFrames {
		for _, size := range []int{1, 3, 1000} {
			if _, err := readFrames(true, bytes.Clone(frame), size); !errors.Is(err, errMalformed) {
				t.Errorf("%s, %d bytes at a time: %v", name, size, err)
			}
		}
	}
	if _, err := readFrames(false, []byte{0x81, 0x81, 1, 2, 3, 4, 5}, 1000); !errors.Is(err, errMalformed) {
		t.Errorf("an upstream's frame that is masked: %v", err)
	}
}

// FuzzFrames: how a stream is cut changes nothing, and what is written anew is
// read as the same.
func FuzzFrames(f *testing.F) {
	for _, b := range badFrames {
		f.Add(b, true, uint8(1))
	}
	f.Add(appendFrame(appendFrame(nil, false, opText, true, []byte("hel")), true, opContinuation, true, []byte("lo")), true, uint8(2))
	f.Add(appendFrame(appendFrame(nil, true, opBinary, false, make([]byte, 300)), true, opClose, false, []byte{3, 232, 'x'}), false, uint8(255))
	f.Add(appendFrame(appendFrame(nil, true, opPing, true, make([]byte, 125)), true, opText, true, make([]byte, 126)), true, uint8(7))
	f.Fuzz(func(t *testing.T, stream []byte, masked bool, size uint8) {
		whole, err := readFrames(masked, bytes.Clone(stream), len(stream)+1)
		cut, cutErr := readFrames(masked, bytes.Clone(stream), int(size)+1)
		if (err == nil) != (cutErr == nil) || !bytes.Equal(whole, cut) {
			t.Fatalf("%x: %q, %v; in pieces of %d: %q, %v", stream, whole, err, size, cut, cutErr)
		}
		var out bytes.Buffer
		w := framer{dst: &out, masked: !masked}
		d := deframer{masked: masked}
		for in := bytes.Clone(stream); len(in) > 0; {
			n, p, err := d.next(in)
			if err != nil || n == 0 {
				break
			}
			if p.op.control() {
				w.frame(true, p.op, p.data)
			} else {
				w.message(p.op, p.data, p.last)
			}
			in = in[n:]
		}
		if err := w.flush(); err != nil {
			t.Fatal(err)
		}
		if again, err := readFrames(!masked, out.Bytes(), 4096); err != nil || !bytes.Equal(again, whole) {
			t.Fatalf("%x: %q was written anew as %q (%v)", stream, whole, again, err)
		}
	})
}
