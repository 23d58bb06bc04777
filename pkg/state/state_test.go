package state

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"bottle/pkg/bottle"
)

func open(t *testing.T) *Home {
	t.Helper()
	h, err := Open(filepath.Join(t.TempDir(), "home"))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestAHomeThatOthersMayWriteIsRefused(t *testing.T) {
	h := open(t)
	if info, err := os.Stat(h.Dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("it was made as %v, %v", info.Mode(), err)
	}
	for _, dir := range []string{h.Dir, filepath.Join(h.Dir, "state"), filepath.Join(h.Dir, "agents"), filepath.Dir(h.Dir)} {
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(h.Dir); !errors.Is(err, ErrOpen) {
			t.Errorf("with %s open to all: %v", dir, err)
		}
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(h.Dir); err != nil {
		t.Errorf("closed again: %v", err)
	}
}

func TestAHomeHasOneIdWhoeverAsksFirst(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	var mu sync.Mutex
	ids := map[string]bool{}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			h, err := Open(dir)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			ids[h.ID] = true
		})
	}
	wg.Wait()
	if len(ids) != 1 {
		t.Errorf("ids: %v", ids)
	}
}

func TestMistakesInTheConfigurationAreNamed(t *testing.T) {
	h := open(t)
	for content, want := range map[string]string{
		"subnet_pool: 10.0.0.0/24\n": "/20 or larger", "subnet_pol: x\n": "subnet_pol", "subnet_pool: fd00::/8\n": "IPv4",
	} {
		if err := os.WriteFile(filepath.Join(h.Dir, "config.yaml"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(h.Dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", content, err)
		}
	}
}

func TestASlugIsClaimedOnceAndItsNameMayBeUsedAgain(t *testing.T) {
	h := open(t)
	if err := h.Create("web"); err != nil {
		t.Fatal(err)
	}
	if err := h.Create("web"); !errors.Is(err, ErrExists) {
		t.Errorf("a second claim: %v", err)
	}
	if err := h.Create("../web"); err == nil {
		t.Error("a slug may lead out of the directory")
	}
	for round := range 3 {
		if err := h.Save(bottle.Bottle{Slug: "web", Agent: string(rune('a' + round))}); err != nil {
			t.Fatal(err)
		}
		if err := h.Retire("web", map[string]string{MetadataFile: MetadataFile}); err != nil {
			t.Fatal(err)
		}
		if err := h.Create("web"); err != nil {
			t.Fatal(err)
		}
	}
	for _, shelf := range []string{"web.1", "web.2", "web.3"} {
		if _, err := os.Stat(filepath.Join(h.Dir, "history", shelf, MetadataFile)); err != nil {
			t.Error(err)
		}
	}
}

func TestALockHasOneHolderAndGoesWithItsBottle(t *testing.T) {
	h := open(t)
	if _, err := h.Lock("web"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a bottle that does not exist: %v", err)
	}
	if err := h.Create("web"); err != nil {
		t.Fatal(err)
	}
	held, err := h.Lock("web")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Lock("web"); !errors.Is(err, ErrLocked) {
		t.Errorf("a second holder: %v", err)
	}
	held.Unlock()
	held, err = h.Lock("web")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Forget("web"); err != nil {
		t.Fatal(err)
	}
	held.Unlock()
	if _, err := h.Lock("web"); !errors.Is(err, ErrNotFound) {
		t.Errorf("after it was forgotten: %v", err)
	}
}

func TestWhereMetadataLiesDecidesNotWhatItSays(t *testing.T) {
	h := open(t)
	if err := h.Create("web"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.StateDir("web"), MetadataFile), []byte(`{"slug":"../../etc","state_dir":"/etc"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := h.Bottle("web"); err != nil || b.Slug != "web" || b.StateDir != h.StateDir("web") {
		t.Errorf("read as %+v, %v", b, err)
	}
	if _, err := h.Bottle("../home"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a slug that leads out: %v", err)
	}
}
