package gitgate

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	fast "github.com/klauspost/compress/zlib"
)

// packedBy compresses data as some writer may.
func packedBy(t testing.TB, level int, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zlib.NewWriterLevel(&b, level)
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func mixed(size int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	for b.Len() < size {
		switch random.IntN(4) {
		case 0:
			b.WriteString(strings.Repeat("ab"[:1+random.IntN(2)], random.IntN(600)))
		case 1:
			for range random.IntN(400) {
				b.WriteByte(byte(random.Uint32()))
			}
		default:
			b.WriteString("func (p *pack) close() {\n\tunix.Munmap(p.data)\n}\n"[random.IntN(40):])
		}
	}
	return b.Bytes()[:size]
}

func TestWhatIsCompressedComesOutAsItWas(t *testing.T) {
	t.Parallel()
	var z inflater
	for _, size := range []int{0, 1, 2, 10, 100, 1000, 10_000, 100_000, 300_000} {
		data := mixed(size)
		for level := zlib.HuffmanOnly; level <= zlib.BestCompression; level++ {
			src := packedBy(t, level, data)
			for _, behind := range []string{"", "the rest of a pack"} {
				got := make([]byte, size)
				if err := z.run(got, append(bytes.Clone(src), behind...)); err != nil || !bytes.Equal(got, data) {
					t.Errorf("%d bytes at level %d, %d behind it: %v", size, level, len(behind), err)
				}
			}
			body := len(src) - 4
			if z.run(make([]byte, size+1), src) == nil || size > 0 && z.run(make([]byte, size-1), src) == nil || z.run(make([]byte, size), src[:body-1]) == nil {
				t.Errorf("%d bytes at level %d: too few or too many are taken", size, level)
			}
		}
	}
}

// It takes what Go's own library takes, and makes the same of it.
func FuzzInflate(f *testing.F) {
	for level := zlib.HuffmanOnly; level <= zlib.BestCompression; level++ {
		f.Add(packedBy(f, level, mixed(200)))
		f.Add(packedBy(f, level, mixed(5000)))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		r, err := zlib.NewReader(bytes.NewReader(src))
		if err != nil {
			return
		}
		want, err := io.ReadAll(io.LimitReader(r, 1<<20))
		var z inflater
		got := make([]byte, len(want))
		failed := z.run(got, src)
		if err == nil && len(want) < 1<<20 && failed != nil {
			t.Errorf("it refuses %d bytes", len(want))
		}
		if failed == nil && !bytes.Equal(got, want) {
			t.Errorf("it makes something else of %d bytes", len(want))
		}
	})
}

func BenchmarkInflate(b *testing.B) {
	for _, size := range []int{500, 5000, 50_000} {
		var packed [][]byte
		for _, f := range sources(b, "net/http") {
			if len(f) >= size {
				packed = append(packed, packedBy(b, zlib.DefaultCompression, f[:size]))
			}
		}
		var z inflater
		in := bytes.NewReader(packed[0])
		library, err := fast.NewReader(in)
		if err != nil {
			b.Fatal(err)
		}
		for name, one := range map[string]func(dst, src []byte) error{"own": z.run, "library": func(dst, src []byte) error {
			in.Reset(src)
			if err := library.(fast.Resetter).Reset(in, nil); err != nil {
				return err
			}
			_, err := io.ReadFull(library, dst)
			return err
		}} {
			b.Run(fmt.Sprintf("%d/%s", size, name), func(b *testing.B) {
				before, dst := cpu(), make([]byte, size)
				for b.Loop() {
					for _, src := range packed {
						if err := one(dst, src); err != nil {
							b.Fatal(err)
						}
					}
				}
				b.ReportMetric(float64(size*len(packed)*b.N)/1e6/(cpu()-before).Seconds(), "CPU-MB/s")
			})
		}
	}
}
