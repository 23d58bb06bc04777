package lifecycle

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// compile makes a Go program that prints a word.
func compile(t *testing.T, path, word string, flags ...string) {
	t.Helper()
	source := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() { println(\""+word+"\") }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", append(append([]string{"build", "-o", path}, flags...), source)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func TestWhatNamesAProgramChangesWithIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "program")
	names := map[string]string{}
	look := func(what string) {
		t.Helper()
		f, err := program(path)
		if err != nil {
			t.Fatal(err)
		}
		if other, taken := names[f.ID]; taken {
			t.Errorf("%s and %s have one name", what, other)
		}
		names[f.ID] = what
	}
	for word, flags := range map[string][]string{"one": nil, "two": nil, "none": {"-ldflags=-buildid="}, "no other": {"-ldflags=-buildid="}} {
		compile(t, path, word, flags...)
		look(word)
	}
	for _, text := range []string{"", "#!/bin/sh\n", "\x7fELF and nothing more"} {
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		look(text)
	}
}

func TestAProgramThatChangesBeforeItIsReadIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "program")
	compile(t, path, "one")
	f, err := program(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.Open()
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if r.Close(); err != nil || int64(len(data)) != f.Size {
		t.Errorf("read %d of %d bytes: %v", len(data), f.Size, err)
	}
	compile(t, path, "two")
	if _, err := f.Open(); err == nil || !strings.Contains(err.Error(), "changed meanwhile") {
		t.Errorf("got %v", err)
	}
}
