package dlp

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

func compressed(t testing.TB, how string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	switch how {
	case "gzip":
		return packed(string(data))
	case "deflate":
		w := zlib.NewWriter(&b)
		w.Write(data)
		w.Close()
	case "raw deflate":
		w, _ := flate.NewWriter(&b, 6)
		w.Write(data)
		w.Close()
	case "br":
		w := brotli.NewWriter(&b)
		w.Write(data)
		w.Close()
	case "zstd":
		w, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(data)
		w.Close()
	}
	return b.Bytes()
}

func TestKnownSecretIsFoundInEveryContentEncoding(t *testing.T) {
	s := scanner(t)
	text := []byte(strings.Repeat("nothing here. ", 5000) + secret + strings.Repeat(" nor here", 100))
	for _, how := range []string{"gzip", "deflate", "raw deflate", "br", "zstd"} {
		header := strings.TrimPrefix(how, "raw ")
		for _, size := range []int{1, 1000, 1 << 20} {
			data := compressed(t, how, text)
			if err := body(s, Policy{}, "text/plain", header, data, size); !isFinding(err, KnownRule) {
				t.Errorf("%s, pieces of %d: %v", how, size, err)
			}
			harmless := compressed(t, how, bytes.Repeat([]byte("nothing "), 9000))
			if err := body(s, Policy{}, "text/plain", header, harmless, size); err != nil {
				t.Errorf("%s, pieces of %d, harmless: %v", how, size, err)
			}
			for name, bad := range map[string][]byte{"cut": data[:len(data)/2], "followed": append(slices.Clone(harmless), "more"...)} {
				err := body(s, Policy{}, "text/plain", header, bad, size)
				if err == nil {
					t.Errorf("%s, pieces of %d, %s: passes", how, size, name)
				}
			}
		}
	}
	twice := compressed(t, "br", compressed(t, "gzip", text))
	if err := body(s, Policy{}, "text/plain", "gzip, br", twice, 100); !isFinding(err, KnownRule) {
		t.Errorf("gzip in br: %v", err)
	}
}

func TestSecretAroundCompressedDataIsFound(t *testing.T) {
	s := scanner(t)
	var named bytes.Buffer
	w := gzip.NewWriter(&named)
	w.Name, w.Comment = "x", secret
	w.Write([]byte("nothing"))
	w.Close()
	frame := compressed(t, "zstd", []byte("nothing"))
	skipped := append([]byte{0x50, 0x2a, 0x4d, 0x18, byte(len(secret)), 0, 0, 0}, secret...)
	for name, c := range map[string]struct {
		encoding string
		data     []byte
	}{
		"a comment in gzip":              {"gzip", named.Bytes()},
		"a skipped frame in zstd":        {"zstd", append(skipped, frame...)},
		"a comment in gzip, in brotli":   {"gzip, br", compressed(t, "br", named.Bytes())},
		"a comment in gzip, in base64":   {"", []byte("x " + base64.StdEncoding.EncodeToString(named.Bytes()))},
		"a comment in gzip, by its name": {"", named.Bytes()},
	} {
		if err := body(s, Policy{}, "text/plain", c.encoding, c.data, 7); !isFinding(err, KnownRule) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
