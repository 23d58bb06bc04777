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
	for _, slug := range []string{"web-aaaa", "web-bbbb"} {
		lock, err := h.Create(bottle.Bottle{Slug: slug, Status: bottle.Running})
		if err != nil {
			t.Fatal(err)
		}
		lock.Unlock()
	}
	put := func(name string) {
		path := filepath.Join(h.StateDir(""), name)
		os.MkdirAll(filepath.Dir(path), 0o700)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"web-aaaa/supervise/out/proposals/a.json", "web-aaaa/supervise/out/proposals/b.json", "web-aaaa/egress/out/proposals/c.json",
		"web-aaaa/supervise/out/proposals/.tmp-d.json", "web-aaaa/supervise/in/decisions/b.json", "web-aaaa/egress/in/decisions/a.json"} {
		put(name)
	}
	elsewhere := t.TempDir()
	os.WriteFile(filepath.Join(elsewhere, "e.json"), nil, 0o600)
	put("web-aaaa/git-gate/out/x")
	put("web-bbbb/egress/out/x")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Symlink(elsewhere, h.StateDir("web-aaaa/git-gate/out/proposals")))
	must(os.Symlink(filepath.Join(elsewhere, "e.json"), h.StateDir("web-aaaa/egress/out/proposals/f.json")))
	must(syscall.Mkfifo(h.StateDir("web-bbbb/egress/out/proposals"), 0o600))
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
