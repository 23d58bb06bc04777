package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

func TestReadersSeeWholeFilesOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc")
	contents := []string{strings.Repeat("a", 8000), strings.Repeat("b", 12000)}
	if err := WriteFile(path, []byte(contents[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 10 {
				if err := WriteFile(path, []byte(contents[i%2]), 0o600); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 200 {
		data, err := os.ReadFile(path)
		if err != nil || string(data) != contents[0] && string(data) != contents[1] {
			t.Fatalf("%d bytes, %v", len(data), err)
		}
	}
	wg.Wait()
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

// TestTemporaryFileIsBesideTheFile: a rename from elsewhere is a copy, or fails.
func TestTemporaryFileIsBesideTheFile(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("TMPDIR", "/nowhere")
	if err := WriteFile("doc", []byte("x"), 0o600); err != nil {
		t.Error(err)
	}
}

func TestReadFileIsNotLedAstray(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "secret")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(outside, []byte("secret"), 0o600))
	must(os.Symlink(outside, filepath.Join(dir, "link")))
	must(syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	must(os.Mkdir(filepath.Join(dir, "folder"), 0o700))
	must(os.WriteFile(filepath.Join(dir, "large"), make([]byte, 101), 0o600))
	must(os.WriteFile(filepath.Join(dir, "good"), make([]byte, 100), 0o600))
	must(os.Symlink("good", filepath.Join(dir, "within")))
	for _, name := range []string{"link", "fifo", "folder", "large", "../secret", "/etc/passwd", "..", ".", "/", ""} {
		if data, err := ReadFile(dir, name, 100); err == nil {
			t.Errorf("%s was read: %q", name, data)
		}
	}
	for _, name := range []string{"fifo", "folder", "large"} {
		if _, err := ReadFile(dir, name, 100); !errors.Is(err, ErrUnsafe) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"good", "within", "folder/../good"} {
		if data, err := ReadFile(dir, name, 100); err != nil || len(data) != 100 {
			t.Errorf("%s: %d bytes, %v", name, len(data), err)
		}
	}
	t.Chdir(dir)
	if _, err := ReadFile("", "good", 100); err == nil {
		t.Error("no directory was taken for the working directory")
	}
}

func TestSweepTakesTemporaryFilesAlone(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{TempPrefix + "x-1", "kept"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Sweep(dir); err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 || entries[0].Name() != "kept" {
		t.Errorf("left: %v", entries)
	}
}

func TestOfManyWhoCreateAFileOneWins(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc")
	var won atomic.Int32
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			switch err := CreateFile(path, fmt.Append(nil, i), 0o600); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, fs.ErrExist):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if entries, _ := os.ReadDir(filepath.Dir(path)); won.Load() != 1 || len(entries) != 1 {
		t.Errorf("%d won, %d files", won.Load(), len(entries))
	}
}
