package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"bottle/pkg/bottle"
	"bottle/pkg/state"
)

func TestTheStatusLineCountsWhatWaitsAndFollowsNoLink(t *testing.T) {
	dir := t.TempDir()
	os.Chmod(dir, 0o700)
	t.Setenv("BOTTLE_HOME", dir)
	t.Setenv("DOCKER_HOST", "unix://"+filepath.Join(dir, "none.sock"))
	h, err := state.Open("")
	if err != nil {
		t.Fatal(err)
	}
	lock, err := h.Create(bottle.Bottle{Slug: "web-aaaa", Status: bottle.Running})
	if err != nil {
		t.Fatal(err)
	}
	lock.Unlock()
	put := func(name string) {
		path := filepath.Join(h.StateDir("web-aaaa"), name)
		os.MkdirAll(filepath.Dir(path), 0o700)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"supervise/out/proposals/a.json", "supervise/out/proposals/b.json", "egress/out/proposals/c.json",
		"supervise/out/proposals/.tmp-d.json", "supervise/in/decisions/b.json"} {
		put(name)
	}
	elsewhere := t.TempDir()
	os.WriteFile(filepath.Join(elsewhere, "e.json"), nil, 0o600)
	put("git-gate/out/x")
	os.Symlink(elsewhere, filepath.Join(h.StateDir("web-aaaa"), "git-gate/out/proposals"))
	put("pipelock/out/x")
	if err := syscall.Mkfifo(filepath.Join(h.StateDir("web-aaaa"), "pipelock/out/proposals"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, said bytes.Buffer
	if code := run([]string{"bottle-ls", "--status-line"}, strings.NewReader(""), &out, &said); code != 0 || !strings.HasSuffix(out.String(), "2 pending\n") {
		t.Errorf("%d %q %q", code, out.String(), said.String())
	}
}

// An engine that stalls is not waited for: the disk knows what ran, and what it did.
func TestTheStatusLineWaitsForNoEngine(t *testing.T) {
	dir := t.TempDir()
	os.Chmod(dir, 0o700)
	t.Setenv("BOTTLE_HOME", dir)
	stalled, err := net.Listen("unix", filepath.Join(dir, "stalled.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer stalled.Close()
	t.Setenv("DOCKER_HOST", "unix://"+stalled.Addr().String())
	h, err := state.Open("")
	if err != nil {
		t.Fatal(err)
	}
	for slug, activity := range map[string]bottle.Activity{"web-aaaa": bottle.Working, "web-bbbb": bottle.Waiting} {
		lock, err := h.Create(bottle.Bottle{Slug: slug, Status: bottle.Running})
		if err != nil {
			t.Fatal(err)
		}
		lock.Unlock()
		out := filepath.Join(h.StateDir(slug), "agent", "out")
		os.MkdirAll(out, 0o755)
		if err := os.WriteFile(filepath.Join(out, bottle.ActivityFile), bottle.ActivityRecord(activity, 1), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var out, said bytes.Buffer
	if code := run([]string{"bottle-ls", "--status-line"}, strings.NewReader(""), &out, &said); code != 0 || out.String() != "2 running  1 working  1 waiting  0 pending\n" {
		t.Errorf("%d %q %q", code, out.String(), said.String())
	}
}
