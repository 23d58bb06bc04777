package state

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"bottle/pkg/bottle"
)

func TestWhatCouldNotBeRenewedIsKeptUntilItIs(t *testing.T) {
	h, err := Open(filepath.Join(t.TempDir(), "home"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.LockRenewal(t.Context(), "dev-aaaa"); !errors.Is(err, ErrNotFound) {
		t.Errorf("of no bottle: %v", err)
	}
	if _, err := h.TryLockRenewal("dev-aaaa"); !errors.Is(err, ErrNotFound) {
		t.Errorf("of no bottle: %v", err)
	}
	own, err := h.Create(bottle.Bottle{Slug: "dev-aaaa"})
	if err != nil {
		t.Fatal(err)
	}
	defer own.Unlock() // it is another lock than the bottle's
	lock, err := h.LockRenewal(t.Context(), "dev-aaaa")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.TryLockRenewal("dev-aaaa"); !errors.Is(err, ErrLocked) {
		t.Errorf("while another has it: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.LockRenewal(ctx, "dev-aaaa"); !errors.Is(err, context.Canceled) {
		t.Errorf("when nobody waits any more: %v", err)
	}
	want := Renewal{Tried: time.Now().UTC().Truncate(time.Second), Failed: []string{"env:A"}}
	if err := h.PutRenewal("dev-aaaa", want); err != nil {
		t.Fatal(err)
	}
	if got := h.Renewal("dev-aaaa"); !got.Tried.Equal(want.Tried) || !slices.Equal(got.Failed, want.Failed) {
		t.Errorf("%+v", got)
	}
	for range 2 {
		if err := h.PutRenewal("dev-aaaa", Renewal{}); err != nil {
			t.Error(err)
		}
	}
	if got := h.Renewal("dev-aaaa"); got.Failed != nil {
		t.Errorf("%+v", got)
	}
	if err := os.WriteFile(filepath.Join(h.StateDir("dev-aaaa"), renewalFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := h.Renewal("dev-aaaa"); got.Failed != nil {
		t.Errorf("of half a file: %+v", got)
	}
	lock.Unlock()
	if _, err := h.TryLockRenewal("dev-aaaa"); err != nil {
		t.Error(err)
	}
}

func TestTheProxyOfTheConfigurationIsRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	h, err := Open(dir)
	if err != nil || h.Config.Proxy != (Proxy{}) {
		t.Fatalf("%+v, %v", h.Config, err)
	}
	text := "upstream_proxy: http://proxy.corp:3128\nno_proxy: \"\"\nproxy_token_ref: \"cmd:pass show proxy\"\nproxy_ssh: true\n"
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	h, err = Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	p := h.Config.Proxy
	if p.URL != "http://proxy.corp:3128" || p.TokenRef != "cmd:pass show proxy" || !p.SSH || p.Except == nil || *p.Except != "" {
		t.Errorf("%+v", p)
	}
}
