package frame

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

func TestWhatIsWrittenIsReadInWhateverPieces(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	long := bytes.Repeat([]byte("0123456789"), MaxPayload/5)
	if n, err := w.Write(long); n != len(long) || err != nil {
		t.Fatal(n, err)
	}
	w.Resize(213, 57)
	w.EOF()
	r := NewReader(iotest.OneByteReader(&b))
	var got []byte
	for {
		f, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if f.Kind == Data {
			got = append(got, f.Payload...)
			continue
		}
		if cols, rows := f.Size(); f.Kind != Resize || cols != 213 || rows != 57 {
			t.Fatalf("%q %d×%d", f.Kind, cols, rows)
		}
		break
	}
	if !bytes.Equal(got, long) {
		t.Fatal("data changed on the way")
	}
	if f, err := r.Next(); err != nil || f.Kind != EOF {
		t.Fatal(f, err)
	}
	if _, err := r.Next(); err != io.EOF {
		t.Fatalf("at the end: %v", err)
	}
}

func TestStreamsThatBreakTheFormatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want error
	}{
		"unknown kind":          {"x\x00\x00\x00\x00", ErrKind},
		"longer than the bound": {"d\x00\x01\x00\x01", ErrLength},
		"length of four GiB":    {"d\xff\xff\xff\xff", ErrLength},
		"resize of three bytes": {"r\x00\x00\x00\x03abc", ErrLength},
		"eof with a payload":    {"e\x00\x00\x00\x01a", ErrLength},
		"cut in the header":     {"d\x00\x00", io.ErrUnexpectedEOF},
		"cut in the payload":    {"d\x00\x00\x00\x05abc", io.ErrUnexpectedEOF},
		"cut before it":         {"d\x00\x00\x00\x05", io.ErrUnexpectedEOF},
	} {
		if _, err := NewReader(bytes.NewReader([]byte(c.in))).Next(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("d\x00\x00\x00\x03abcr\x00\x00\x00\x04\x00\x50\x00\x18e\x00\x00\x00\x00"))
	f.Add([]byte("d\xff\xff\xff\xff"))
	f.Add([]byte("r\x00\x00\x00\x05"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, b := NewReader(bytes.NewReader(in)), bytes.Buffer{}
		w := NewWriter(&b)
		for {
			f, err := r.Next()
			if err != nil {
				break
			}
			if len(f.Payload) > MaxPayload {
				t.Fatal("payload above the bound")
			}
			if err := w.send(f.Kind, f.Payload); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.HasPrefix(in, b.Bytes()) {
			t.Fatalf("read frames do not write what was read: %q of %q", b.Bytes(), in)
		}
	})
}
