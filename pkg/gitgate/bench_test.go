package gitgate

import (
	"bytes"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bottle/pkg/dlp"
)

// benchScanner looks for two secrets of the bottle's own and by all rules.
func benchScanner(b *testing.B) *scanner {
	b.Helper()
	s, err := newScanner([]dlp.Known{{Name: "a", Value: []byte(ownSecret)}, {Name: "b", Value: []byte("bench-0f1e2d3c4b5a69788796")}}, []byte("k"), 256<<20)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// sources are the files below a directory of Go's own.
func sources(b *testing.B, dir string) (files [][]byte) {
	b.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		b.Fatal(err)
	}
	err = filepath.WalkDir(filepath.Join(strings.TrimSpace(string(root)), "src", dir), func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		files = append(files, data)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return files
}

// cpu is what this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A busy machine tells more by what it counts than by what it takes: CPU-MB/s are
// of one core that does nothing else.
func BenchmarkScan(b *testing.B) {
	random := make([]byte, 1<<19)
	rand.NewChaCha8([32]byte{}).Read(random)
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		b.Fatal(err)
	}
	for _, row := range []struct {
		name  string
		files [][]byte
	}{{"source", sources(b, "net")}, {"noise", [][]byte{random}}, {"program", [][]byte{program[:8<<20]}}, {"small", bytes.SplitAfter(sources(b, "net/http")[0], []byte("}\n"))}} {
		b.Run(row.name, func(b *testing.B) {
			s := benchScanner(b)
			size := 0
			for _, f := range row.files {
				size += len(f)
			}
			b.SetBytes(int64(size))
			before := cpu()
			for b.Loop() {
				for _, f := range row.files {
					if _, err := s.blob("a.go", int64(len(f)), bytes.NewReader(f)); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(size)*float64(b.N)/1e6/(cpu()-before).Seconds(), "CPU-MB/s")
		})
	}
}
