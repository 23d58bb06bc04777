package dlp

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// goSource is the directory of Go's own source. A binary that was built with
// -trimpath does not know it.
func goSource(t testing.TB) string {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(root)), "src")
}

// source returns at least n bytes of Go's own source.
func source(t testing.TB, n int) []byte {
	t.Helper()
	var b []byte
	files, err := filepath.Glob(filepath.Join(goSource(t), "*", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if b = append(b, data...); len(b) >= n {
			return b[:n]
		}
	}
	t.Fatalf("only %d bytes of source", len(b))
	return nil
}

func random(n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// messages is a request to a model of about n bytes.
func messages(t testing.TB, n int) []byte {
	var list []any
	for text := source(t, n*9/10); len(text) > 0; {
		k := min(len(text), 3000)
		list = append(list, map[string]any{"role": "user", "content": []any{map[string]any{"type": "tool_result", "tool_use_id": "toolu_01A09q90qw90lq917835lq9", "content": string(text[:k])}}})
		text = text[k:]
	}
	b, err := json.Marshal(map[string]any{"model": "claude-sonnet-4-5", "max_tokens": 8192, "stream": true, "messages": list})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// picture is a request of about n bytes that holds an image.
func picture(t testing.TB, n int) []byte {
	image := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x02\x00\x00\x00\x02\x00\x08\x06\x00\x00\x00\xf4x\xd4\xfa"), random(n*3/4)...)
	b, err := json.Marshal(map[string]any{"model": "claude-sonnet-4-5", "messages": []any{map[string]any{"role": "user", "content": []any{
		map[string]any{"type": "image", "source": map[string]any{"type": "base64", "media_type": "image/png", "data": base64.StdEncoding.EncodeToString(image)}},
		map[string]any{"type": "text", "text": "What is in this picture?"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func BenchmarkBody(b *testing.B) {
	var known []Known
	for i := range 10 {
		known = append(known, Known{Name: fmt.Sprint("K", i), Value: []byte(base64.RawURLEncoding.EncodeToString(random(30 + i)))})
	}
	s := scanner(b, known...)
	for _, c := range []struct {
		name, form string
		data       []byte
		model      bool
	}{
		{"2KiB", "application/json", messages(b, 2<<10), false},
		{"64KiB", "application/json", messages(b, 64<<10), false},
		{"1MiB", "application/json", messages(b, 1<<20), false},
		{"1MiB/model", "application/json", messages(b, 1<<20), true},
		{"1MiB/image", "application/json", picture(b, 1<<20), false},
		{"1MiB/hashes", "text/plain", []byte(hashes(1 << 20)), false},
		{"1MiB/gzip", "text/plain", compressed(b, "gzip", source(b, 1<<20)), false},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.data)))
			b.ReportAllocs()
			defer processor(b)()
			for b.Loop() {
				encoding := ""
				if c.name == "1MiB/gzip" {
					encoding = "gzip"
				}
				if err := body(s, Policy{Host: "x", Model: c.model}, c.form, encoding, c.data, 16<<10); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// processor reports the time that the processor spent, which does not depend on
// who else wants it.
func processor(b *testing.B) func() {
	used := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	before := used()
	return func() { b.ReportMetric(float64(used()-before)/float64(b.N)/1e6, "cpu-ms/op") }
}

// BenchmarkWorst scans what was made to be slow. Some of it is refused.
func BenchmarkWorst(b *testing.B) {
	s := scanner(b)
	for _, piece := range []string{"atlasv1", "xapp", "yandex", "key=a1", "secret key token api = 'AAAA1 ", "MFRGGZDF", "QUJD", "4a", "%41", "\\u0041", "&#65;", "a\x00",
		"able about above absorb accident ", "\"\",", "[[", "H4sIAAAAAAAA ", "KLUv/QBYAAA= ", "-----BEGIN PRIVATE KEY-----", "://a:b1",
		"_mmk=" + strings.Repeat("a", 70) + "1,"} {
		data := []byte(strings.Repeat(piece, 1<<20/len(piece)))
		b.Run(piece[:min(len(piece), 12)], func(b *testing.B) {
			defer processor(b)()
			for b.Loop() {
				body(s, ordinary, "text/plain", "", data, 16<<10)
			}
		})
	}
}

func BenchmarkHead(b *testing.B) {
	s := scanner(b)
	fields := []Field{{Name: []byte("Host"), Value: []byte("api.github.com")}, {Name: []byte("User-Agent"), Value: []byte("curl/8.5.0")},
		{Name: []byte("Accept"), Value: []byte("application/json")}, {Name: []byte("Authorization"), Value: []byte("Bearer x"), Credential: true},
		{Name: []byte("Content-Type"), Value: []byte("application/json")}, {Name: []byte("X-Request-Id"), Value: []byte("5f0c8b9e-7b1d-4c8e-9a53-0e4b4d1f7a11")}}
	b.ReportAllocs()
	for b.Loop() {
		q := s.Request(Policy{Host: "api.github.com"})
		if err := q.Head([]byte("/repos/ada/engine/pulls?state=open&per_page=100"), fields); err != nil {
			b.Fatal(err)
		}
		q.Close()
	}
}

// hashes is a lock file of about n bytes.
func hashes(n int) string {
	var b strings.Builder
	r := rand.New(rand.NewPCG(3, 4))
	for b.Len() < n {
		fmt.Fprintf(&b, "    \"node_modules/pkg-%d\": {\n      \"version\": \"%d.%d.%d\",\n      \"integrity\": \"sha512-%s\",\n      \"commit\": \"%x\"\n    },\n", r.IntN(9999),
			r.IntN(20), r.IntN(20), r.IntN(20), base64.StdEncoding.EncodeToString(random(64)), random(20))
	}
	return b.String()
}
