package dlp

import (
	"strings"
	"testing"
)

// BenchmarkSmall is what a small request of an API costs, its head and its body.
func BenchmarkSmall(b *testing.B) {
	known := []Known{{Name: "A", Value: []byte("bench-0f1e2d3c4b5a69788796")}, {Name: "B", Value: []byte("bench-correct-horse-battery-staple")}}
	for name, body := range map[string]string{
		"run":   `{"text":"` + strings.Repeat("x", 1013) + `"}`,
		"words": `{"text":"` + strings.Repeat("all is well with it, ", 48) + `"}`,
		"many":  `{"list":[` + strings.Repeat(`{"id":12345,"name":"some name","ok":true},`, 23) + `{}]}`,
	} {
		b.Run(name, func(b *testing.B) {
			s := scanner(b, known...)
			head := []Field{{Name: []byte("Content-Type"), Value: []byte("application/json")}, {Name: []byte("User-Agent"), Value: []byte("curl/8.0")}, {Name: []byte("Accept"), Value: []byte("*/*")}}
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			defer processor(b)()
			for b.Loop() {
				q := s.Request(Policy{Host: "api.example.com"})
				if err := q.Head([]byte("/json"), head); err != nil {
					b.Fatal(err)
				}
				in, err := q.Body("application/json", "")
				if err == nil {
					_, err = in.Write([]byte(body))
				}
				if err == nil {
					err = in.Close()
				}
				if err != nil {
					b.Fatal(err)
				}
				q.Close()
			}
		})
	}
}
