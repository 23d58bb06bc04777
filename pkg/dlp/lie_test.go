package dlp

import (
	"bytes"
	"fmt"
	"testing"
)

// The sender writes Content-Type: what a body is said to be must hide nothing of
// what it is.
func TestATypeThatLiesHidesNothing(t *testing.T) {
	s := scanner(t)
	forms := []string{"", "text/plain", "application/json", "application/x-www-form-urlencoded", "application/octet-stream", "image/png", "application/problem+json"}
	bodies := map[string][]byte{}
	for _, e := range encodings {
		if e.name != "gzip" { // it is told by how it begins
			bodies[e.name] = []byte("see " + e.encode(secret) + " there")
		}
	}
	for _, how := range []string{"gzip", "deflate", "zstd"} {
		bodies["raw "+how] = compressed(t, how, bytes.Repeat([]byte(secret+" "), 3))
	}
	for name, data := range bodies {
		for _, form := range forms {
			for _, size := range []int{1, 1 << 20} {
				if err := body(s, ordinary, form, "", data, size); !isFinding(err, KnownRule) {
					t.Errorf("%s as %q in pieces of %d: %v", name, form, size, err)
				}
			}
			part := fmt.Appendf(nil, "--b\r\nContent-Disposition: form-data; name=f\r\nContent-Type: %s\r\n\r\n%s\r\n--b\r\n\r\nmore\r\n--b--\r\n", form, data)
			if err := body(s, ordinary, "multipart/form-data; boundary=b", "", part, 100); !isFinding(err, KnownRule) {
				t.Errorf("%s in a part as %q: %v", name, form, err)
			}
		}
	}
}

// Whatever a form holds, a secret in it is found, in one piece or in many.
func FuzzForm(f *testing.F) {
	f.Add([]byte("a=1&b=%2&=&c"), uint8(3))
	f.Add([]byte("&#103;&#104;"), uint8(1))
	f.Add([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00="), uint8(200))
	s := scanner(f)
	f.Fuzz(func(t *testing.T, data []byte, size uint8) {
		const form = "application/x-www-form-urlencoded"
		pieces(t, s, form, "", data, int(size)+1)
		at := len(data) * int(size) / 256
		with := fmt.Appendf(nil, "%s\n%s\n%s", data[:at], secret, data[at:])
		if err := body(s, ordinary, form, "", with, int(size)+1); err == nil {
			t.Errorf("passes with the secret at %d: %q", at, with)
		}
	})
}
