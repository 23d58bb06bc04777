package sidecar

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The kernel's watchers are few: a sidecar has one, and each part of it is told
// of its own directory.
func TestAllWatchesOfASidecarTakeOneOfTheKernels(t *testing.T) {
	outer := t.TempDir()
	inner := filepath.Join(outer, "inner")
	if err := os.Mkdir(inner, 0o700); err != nil {
		t.Fatal(err)
	}
	changes := map[string]<-chan struct{}{}
	for _, dir := range []string{outer, inner} {
		var err error
		if changes[dir], err = watch(dir); err != nil {
			t.Fatal(err)
		}
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc: ", err)
	}
	kernels := 0
	for _, fd := range fds {
		if to, _ := os.Readlink("/proc/self/fd/" + fd.Name()); strings.HasSuffix(to, "inotify") {
			kernels++
		}
	}
	if kernels != 1 {
		t.Errorf("two watches take %d of the kernel's", kernels)
	}
	for mine, others := range map[string]string{outer: inner, inner: outer} {
		if err := os.WriteFile(filepath.Join(mine, "file"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		select {
		case <-changes[mine]:
		case <-time.After(time.Minute):
			t.Fatalf("nothing is told of a change in %s", mine)
		}
		select {
		case <-changes[others]:
			t.Errorf("a change in %s is told of as one in %s", mine, others)
		case <-time.After(4 * settleTime):
		}
	}
}
