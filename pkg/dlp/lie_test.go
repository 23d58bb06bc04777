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
