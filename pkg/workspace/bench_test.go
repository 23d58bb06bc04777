package workspace

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// hundred is a folder of 5,000 files and a large one, 100 MB together.
func hundred(b *testing.B, git bool) string {
	dir := b.TempDir()
	r := rand.New(rand.NewSource(1))
	words := strings.Fields("the agent reads and writes its files here func return err nil if for range")
	for i := range 5000 {
		var text strings.Builder
		for text.Len() < 10_000 {
			fmt.Fprintf(&text, "%s %d\n", words[r.Intn(len(words))], r.Intn(1e6))
		}
		write(b, dir, fmt.Sprintf("src/m%d/p%d/f%d.go", i%20, i%100, i), text.String())
	}
	large := make([]byte, 50<<20)
	r.Read(large)
	write(b, dir, "large.bin", string(large))
	if git {
		run(b, dir, "init", "-q")
		run(b, dir, "add", ".")
		run(b, dir, "commit", "-qm", "first")
	}
	return dir
}

// used is the processor time that this process and its children have had: on a
// busy machine it says more than the clock.
func used(who int) time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(who, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func timed(b *testing.B, name string, do func(b *testing.B) error) {
	b.Run(name, func(b *testing.B) {
		self, children := used(syscall.RUSAGE_SELF), used(syscall.RUSAGE_CHILDREN)
		for b.Loop() {
			if err := do(b); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64((used(syscall.RUSAGE_SELF)-self).Milliseconds())/float64(b.N), "own-ms/op")
		b.ReportMetric(float64((used(syscall.RUSAGE_CHILDREN)-children).Milliseconds())/float64(b.N), "children-ms/op")
	})
}

func bench(b *testing.B, dir string) {
	var stream bytes.Buffer
	if _, err := Pack(testContext(b), dir, &stream, Options{}); err != nil {
		b.Fatal(err)
	}
	timed(b, "pack", func(b *testing.B) error {
		_, err := Pack(testContext(b), dir, io.Discard, Options{})
		return err
	})
	// Memory that was never used costs a virtual machine more than any of this:
	// each round leaves to the next what it had.
	to := filepath.Join(b.TempDir(), "to")
	fresh := func(do func() error) error {
		if err := os.Mkdir(to, 0o755); err != nil {
			return err
		}
		return errors.Join(do(), os.RemoveAll(to))
	}
	timed(b, "unpack", func(b *testing.B) error {
		return fresh(func() error { return Unpack(testContext(b), bytes.NewReader(stream.Bytes()), to) })
	})
	timed(b, "tar", func(b *testing.B) error {
		return fresh(func() error { return exec.Command("sh", "-c", `tar -C "$0" -c . | tar -C "$1" -x`, dir, to).Run() })
	})
}

// The benchmarks compare with tar, which knows nothing of git.
func BenchmarkLooseRepository(b *testing.B) { bench(b, hundred(b, true)) }
func BenchmarkFolder(b *testing.B)          { bench(b, hundred(b, false)) }
func BenchmarkRepository(b *testing.B) {
	dir := hundred(b, true)
	run(b, dir, "repack", "-adq")
	bench(b, dir)
}
