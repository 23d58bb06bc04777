package inside

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestConversationsAreTakenOldestFirstAndNothingThatWasPlanted(t *testing.T) {
	home, outside := t.TempDir(), t.TempDir()
	secret := filepath.Join(outside, "secret.jsonl")
	now := time.Now()
	write := func(path, text string, age time.Duration) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now, now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	write(secret, "secret", 0)
	dir := filepath.Join(home, ".claude", "projects")
	write(filepath.Join(dir, "-work", "a.jsonl"), "second", time.Minute)
	write(filepath.Join(dir, "-work-b", "b.jsonl"), "first", time.Hour)
	write(filepath.Join(dir, "-work", "notes.txt"), "no conversation", 0)
	write(filepath.Join(dir, "stray.jsonl"), "not in a folder", 0)
	for _, err := range []error{os.Symlink(secret, filepath.Join(dir, "-work", "link.jsonl")), os.Symlink(outside, filepath.Join(dir, "linked")),
		syscall.Mkfifo(filepath.Join(dir, "-work", "fifo.jsonl"), 0o600), os.Mkdir(filepath.Join(dir, "-work", "dir.jsonl"), 0o700)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := Conversations(home, ".claude/projects/*/*.jsonl", &out); err != nil || out.String() != "13\nfirst\nsecond\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
	out.Reset()
	if err := Conversations(home, ".claude/pro*/s*.jsonl", &out); err != nil || out.String() != "16\nnot in a folder\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
	for name, plant := range map[string]func(projects string) error{
		"nothing": func(string) error { return nil },
		"a link":  func(at string) error { return os.Symlink(dir, at) },
		"a file":  func(at string) error { return os.WriteFile(at, []byte("x"), 0o600) },
	} {
		home := t.TempDir()
		if err := os.Mkdir(filepath.Join(home, ".claude"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := plant(filepath.Join(home, ".claude", "projects")); err != nil {
			t.Fatal(err)
		}
		out.Reset()
		if err := Conversations(home, ".claude/projects/*/*.jsonl", &out); err != nil || out.String() != "0\n" {
			t.Errorf("%s: %q, %v", name, out.String(), err)
		}
	}
}

func TestOfTooManyConversationsTheNewestAreTaken(t *testing.T) {
	home := t.TempDir()
	dir := filepath.Join(home, "c", "p")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"old", "newer", "newest"} {
		path := filepath.Join(dir, name+".jsonl")
		if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		if name == "old" {
			if err := os.Truncate(path, maxConversations); err != nil { // sparse
				t.Fatal(err)
			}
		}
		at := time.Now().Add(time.Duration(i-9) * time.Minute)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := Conversations(home, "c/*/*.jsonl", &out); err != nil || out.String() != "13\nnewer\nnewest\n" || strings.Contains(out.String(), "old") {
		t.Errorf("%.100q, %v", out.String(), err)
	}
}
