package dlp

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// tooSlow is when a body of 64 KiB hangs the scan: a thousand
// times what one takes.
const tooSlow = 10 * time.Second

// FuzzTime looks for a body that makes the scan slow: the input again and again.
func FuzzTime(f *testing.F) {
	for _, r := range Default().list {
		for _, k := range r.Keywords {
			f.Add([]byte(k+"="), uint8(0))
		}
	}
	f.Add([]byte("-----BEGIN PRIVATE KEY-----"), uint8(1))
	f.Add([]byte("QUJD"), uint8(2))
	f.Add([]byte("%41\\u0041&#65;"), uint8(3))
	f.Add([]byte("4a4b"), uint8(0))
	f.Add([]byte("able about above "), uint8(0))
	f.Add([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00"), uint8(0))
	f.Add([]byte(`[{"":"`), uint8(1))
	s := scanner(f)
	forms := []string{"text/plain", "application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"}
	f.Fuzz(func(t *testing.T, piece []byte, form uint8) {
		if len(piece) == 0 || len(piece) > 4096 {
			return
		}
		data := bytes.Repeat(piece, 64<<10/len(piece))
		start := time.Now()
		err := body(s, ordinary, forms[int(form)%len(forms)], "", data, 16<<10)
		if took := time.Since(start); took > tooSlow {
			t.Errorf("%v for %d bytes (%v)", took, len(data), err)
		}
	})
}

// pieces scans data as one write and as many, which must come to the same.
func pieces(t *testing.T, s *Scanner, form, encoding string, data []byte, size int) error {
	t.Helper()
	whole := body(s, ordinary, form, encoding, data, 1<<20)
	parts := body(s, ordinary, form, encoding, data, size)
	if (whole == nil) != (parts == nil) {
		t.Errorf("as a whole: %v, in pieces of %d: %v", whole, size, parts)
	}
	return whole
}

func FuzzMultipart(f *testing.F) {
	f.Add([]byte("--b\r\nContent-Disposition: form-data; name=a; filename=\"x.txt\"\r\n\r\nhello\r\n--b\r\n\r\n{\"a\":1}\r\n--b--\r\n"), uint8(3))
	f.Add([]byte("\n--b\n\n--b--"), uint8(1))
	f.Add([]byte("--b \r\nX: y\r\n z\r\n\r\n\r\n--b\r\n--b--x"), uint8(9))
	s := scanner(f)
	f.Fuzz(func(t *testing.T, data []byte, size uint8) {
		pieces(t, s, "multipart/form-data; boundary=b", "", data, int(size)+1)
		// Wherever a known secret stands, it is found or the body refused.
		at := len(data) * int(size) / 256
		with := append(append(bytes.Clone(data[:at]), secret...), data[at:]...)
		if err := body(s, ordinary, "multipart/form-data; boundary=b", "", with, int(size)+1); err == nil {
			t.Errorf("passes with the secret at %d: %q", at, with)
		}
	})
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":"c\u0041\n"},null],"d":{"e":"\ud83d\ude00"}}`), uint8(3))
	f.Add([]byte(`[[[[{"a":}]],"\`), uint8(1))
	f.Add([]byte(strings.Repeat(`{"a":[`, 200)), uint8(8))
	s := scanner(f)
	f.Fuzz(func(t *testing.T, data []byte, size uint8) {
		pieces(t, s, "application/json", "", data, int(size)+1)
		// What stands in a string of it is found, JSON or not: letters and digits
		// are no escapes. Not behind a backslash, which makes an escape of them.
		at := len(data) * int(size) / 256
		if bytes.IndexByte(data, '\\') >= 0 || bytes.IndexByte(data, '%') >= 0 {
			return
		}
		with := append(append(bytes.Clone(data[:at]), `"`+secret+`"`...), data[at:]...)
		if err := body(s, ordinary, "application/json", "", with, int(size)+1); err == nil {
			t.Errorf("passes with the secret at %d: %q", at, with)
		}
	})
}

func FuzzDecoders(f *testing.F) {
	for i, how := range []string{"gzip", "deflate", "br", "zstd"} {
		f.Add(compressed(f, how, []byte("hello, hello, hello")), uint8(i), uint8(5))
	}
	s, err := New(Default(), nil, Options{MaxDecoded: 1 << 20})
	if err != nil {
		f.Fatal(err)
	}
	// Without a name: what is told by its beginning.
	f.Add([]byte("PK\x03\x04\x14\x00\b\x00\b\x00aaaabbbbccccdddd\x05\x00\x00\x00b.txt*NMUH\xcf(\x887PK\a\bX\xe8h\xeb8\x00\x00PK\x01\x02"), uint8(6), uint8(9))
	f.Add(compressed(f, "gzip", []byte("hello, hello")), uint8(6), uint8(3))
	f.Add(compressed(f, "deflate", []byte("hello, hello")), uint8(6), uint8(200))
	names := []string{"gzip", "deflate", "br", "zstd", "gzip, br", "zstd, gzip, deflate", ""}
	f.Fuzz(func(t *testing.T, data []byte, how, size uint8) {
		pieces(t, s, "text/plain", names[int(how)%len(names)], data, int(size)+1)
	})
}

func FuzzHead(f *testing.F) {
	f.Add([]byte("/a/b?c=d&e=%41+%zz"), []byte("Cookie"), []byte("a=b; c=d"))
	f.Add([]byte("/?="), []byte("X"), []byte(""))
	s := scanner(f)
	f.Fuzz(func(t *testing.T, target, name, value []byte) {
		q := s.Request(ordinary)
		q.Head(target, []Field{{Name: name, Value: value}, {Name: value, Value: name, Credential: true}})
		q.Close()
		q = s.Request(ordinary)
		defer q.Close()
		if err := q.Head(target, []Field{{Name: name, Value: append(append(bytes.Clone(value), "; "...), secret...)}}); err == nil {
			t.Errorf("passes: %q, %q: %q", target, name, value)
		}
	})
}
