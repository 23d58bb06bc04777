package state

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/proposal"
)

// ask files what a bottle's supervise asks, and returns its path.
func ask(t *testing.T, h *Home, slug, host string, at time.Time) string {
	t.Helper()
	p, err := proposal.Make(bottle.Proposal{Kind: bottle.EgressBlock, Justification: "to read it", Egress: &bottle.EgressAsk{Host: host}}, proposal.Rules{}, at)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(h.StateDir(slug), p.Source, "out", proposalsDir, p.ID+".json")
	os.MkdirAll(filepath.Dir(path), 0o700)
	if err := os.WriteFile(path, proposal.Encode(p), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAllProposalsAreReadOldestFirst(t *testing.T) {
	h := open(t)
	create(t, h, "web").Unlock()
	start := time.Now()
	const many = 250 // more than one goroutine's
	for n := range many {
		ask(t, h, "web", fmt.Sprintf("h%d.example", n), start.Add(time.Duration(n)*time.Second))
	}
	found, bad := h.Proposals("web", false)
	if len(found) != many || len(bad) > 0 {
		t.Fatalf("%d are read, and %v", len(found), bad)
	}
	for n, f := range found {
		if f.Egress.Host != fmt.Sprintf("h%d.example", n) || f.Slug != "web" {
			t.Errorf("at %d stands %s of %s", n, f.Egress.Host, f.Slug)
		}
	}
}

// What a sidecar may put in a proposal's place is told, and leads nowhere.
func TestAProposalIsARegularFileOfOneName(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"a link": func(path string) error {
			return os.Symlink(path+".real", path)
		},
		"two names": func(path string) error { return os.Link(path+".real", path) },
		"a pipe":    func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a folder":  func(path string) error { return os.Mkdir(path, 0o700) },
		"large":     func(path string) error { return os.WriteFile(path, make([]byte, proposal.MaxSize+1), 0o600) },
		"empty":     func(path string) error { return os.WriteFile(path, nil, 0o600) },
	} {
		h := open(t)
		create(t, h, "web").Unlock()
		ask(t, h, "web", "good.example", time.Now())
		path := ask(t, h, "web", "bad.example", time.Now())
		if err := os.Rename(path, path+".real"); err != nil {
			t.Fatal(err)
		}
		if err := spoil(path); err != nil {
			t.Fatal(err)
		}
		found, bad := h.Proposals("web", false)
		told := slices.ContainsFunc(bad, func(err error) bool { return strings.HasPrefix(err.Error(), "cannot read the proposal ") })
		if len(found) != 1 || found[0].Egress.Host != "good.example" || !told {
			t.Errorf("%s: %d are read, and %v", name, len(found), bad)
		}
	}
}

// A sidecar's queue that is none is told, and nothing waits for it.
func TestAQueueIsADirectory(t *testing.T) {
	h := open(t)
	create(t, h, "web").Unlock()
	dir := filepath.Dir(ask(t, h, "web", "docs.example", time.Now()))
	if err := os.Rename(dir, dir+".real"); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func() error{
		"a link": func() error { return os.Symlink(dir+".real", dir) },
		"a pipe": func() error { return syscall.Mkfifo(dir, 0o600) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		found, bad := h.Proposals("web", false)
		if len(found) > 0 || len(bad) != 1 || !strings.Contains(bad[0].Error(), "no directory") || h.Undecided() > 0 {
			t.Errorf("%s: %d are read, and %v", name, len(found), bad)
		}
		os.Remove(dir)
	}
}
