package state

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
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

func create(t *testing.T, h *Home, slug string) *Lock {
	t.Helper()
	lock, err := h.Create(bottle.Bottle{Slug: slug})
	if err != nil {
		t.Fatal(err)
	}
	return lock
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
		"subnet_pool: 10.0.0.0/24\n": "/20 or larger", "\nsubnet_pol: x\n": `config.yaml:2: unknown key "subnet_pol"; known: subnet_pool, history`, "no_proxy: [a]\n": "line 1: cannot unmarshal !!seq into string",
		"subnet_pool: fd00::/8\n":  "IPv4",
		"history: {bottles: -1}\n": "history.bottles is -1", "history: {day: 3}\n": `config.yaml:1: unknown key "day"; known: `,
	} {
		if err := os.WriteFile(filepath.Join(h.Dir, "config.yaml"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(h.Dir); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "struct") {
			t.Errorf("%q: %v", content, err)
		}
	}
}

func TestASlugIsClaimedOnceAndItsNameMayBeUsedAgain(t *testing.T) {
	h := open(t)
	create(t, h, "web").Unlock()
	if _, err := h.Create(bottle.Bottle{Slug: "web"}); !errors.Is(err, ErrExists) {
		t.Errorf("a second claim: %v", err)
	}
	if _, err := h.Create(bottle.Bottle{Slug: "../web"}); err == nil {
		t.Error("a slug may lead out of the directory")
	}
	for round := range 4 {
		if err := h.Save(bottle.Bottle{Slug: "web", Agent: string(rune('a' + round))}); err != nil {
			t.Fatal(err)
		}
		if err := h.Retire("web", nil); err != nil {
			t.Fatal(err)
		}
		create(t, h, "web").Unlock()
	}
	for shelf, agent := range map[string]string{"web.1": "a", "web.2": "b", "web.3": "c", "web": "d"} {
		data, err := os.ReadFile(filepath.Join(h.Dir, "history", shelf, MetadataFile))
		if err != nil || !strings.Contains(string(data), `"agent": "`+agent+`"`) {
			t.Errorf("%s: %s, %v", shelf, data, err)
		}
	}
}

// A claim that comes to nothing, such as a reaper's, leaves the history of the
// bottle that had the name where it was said to be.
func TestAClaimLeavesTheHistoryWhereItIs(t *testing.T) {
	h := open(t)
	create(t, h, "web").Unlock()
	if err := h.Retire("web", nil); err != nil {
		t.Fatal(err)
	}
	create(t, h, "web").Unlock()
	if err := h.Forget("web"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(h.HistoryDir("web"), MetadataFile)); err != nil {
		t.Error(err)
	}
}

func TestFieldsOfNewerVersionsStay(t *testing.T) {
	h := open(t)
	create(t, h, "web").Unlock()
	newer := `{"slug":"web","agent":"dev","Reason":"old","status":"running","lease":{"until":"2030-01-01"},"x\"y":1}`
	if err := os.WriteFile(filepath.Join(h.StateDir("web"), MetadataFile), []byte(newer), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := h.Bottle("web")
	if err != nil {
		t.Fatal(err)
	}
	b.Status, b.Reason = bottle.Stopped, ""
	if err := h.Save(b); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(h.StateDir("web"), MetadataFile))
	var got map[string]any
	if err := errors.Join(err, json.Unmarshal(data, &got)); err != nil {
		t.Fatal(err)
	}
	lease, _ := got["lease"].(map[string]any)
	if lease["until"] != "2030-01-01" || got[`x"y`] != 1.0 || got["status"] != "stopped" || got["Reason"] != nil {
		t.Errorf("saved as %s", data)
	}
}

// A sweeper must not take what a Forget is about to fill.
func TestASweepDuringAForgetLeavesNothing(t *testing.T) {
	h := open(t)
	stop := make(chan struct{})
	var sweeper sync.WaitGroup
	sweeper.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if err := h.Sweep(); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for range 300 {
		create(t, h, "web").Unlock()
		if err := h.Forget("web"); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(h.StateDir("web")); err == nil {
			t.Fatal("a forgotten bottle is still there")
		}
	}
	close(stop)
	sweeper.Wait()
}

func TestALockHasOneHolderAndGoesWithItsBottle(t *testing.T) {
	h := open(t)
	if _, err := h.Lock("web"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a bottle that does not exist: %v", err)
	}
	held := create(t, h, "web")
	if !h.Busy("web") {
		t.Error("its maker's lock is not seen")
	}
	if _, err := h.Lock("web"); !errors.Is(err, ErrLocked) {
		t.Errorf("a second holder: %v", err)
	}
	held.Unlock()
	if h.Busy("web") {
		t.Error("a lock given up is still seen")
	}
	held, err := h.Lock("web")
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
	create(t, h, "web").Unlock()
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

func TestAClaimedSlugHasMetadataFromItsFirstMoment(t *testing.T) {
	h := open(t)
	lock, err := h.Create(bottle.Bottle{Slug: "web", Agent: "dev", Status: bottle.Starting})
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Unlock()
	if b, err := h.Bottle("web"); err != nil || b.Agent != "dev" || b.Status != bottle.Starting {
		t.Errorf("read as %+v, %v", b, err)
	}
	entries, err := os.ReadDir(filepath.Join(h.Dir, "state"))
	if err != nil || len(entries) != 1 {
		t.Errorf("the claim left %v, %v", entries, err)
	}
}

func TestOfManyClaimersOneWins(t *testing.T) {
	h := open(t)
	var won, lost atomic.Int32
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			switch _, err := h.Create(bottle.Bottle{Slug: "web"}); {
			case err == nil:
				won.Add(1)
			case errors.Is(err, ErrExists):
				lost.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || lost.Load() != 15 {
		t.Errorf("%d won, %d lost", won.Load(), lost.Load())
	}
}

// A Retire that was cut short anywhere is done again, and loses nothing.
func TestARetirementCutShortIsTakenUpAgain(t *testing.T) {
	keep := []Keep{{"a.log", "a.log"}, {filepath.Join("out", "b"), "b"}, {"missing", "missing"}}
	for done := range len(keep) + 1 {
		h := open(t)
		create(t, h, "web").Unlock()
		os.Mkdir(filepath.Join(h.StateDir("web"), "out"), 0o700)
		for _, name := range []string{"a.log", filepath.Join("out", "b")} {
			if err := os.WriteFile(filepath.Join(h.StateDir("web"), name), []byte(name), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		os.Mkdir(h.HistoryDir("web"), 0o700)
		for _, k := range keep[:done] { // as a killed one would have left it
			os.Rename(filepath.Join(h.StateDir("web"), k.From), filepath.Join(h.HistoryDir("web"), k.To))
		}
		if _, err := h.Bottle("web"); err != nil {
			t.Errorf("cut short after %d it is not known any more: %v", done, err)
		}
		if err := h.Retire("web", keep); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"a.log", "b", MetadataFile} {
			if _, err := os.Stat(filepath.Join(h.HistoryDir("web"), name)); err != nil {
				t.Errorf("cut short after %d: %v", done, err)
			}
		}
		if slugs, _ := h.Slugs(); len(slugs) > 0 {
			t.Errorf("cut short after %d it is still there", done)
		}
	}
}

func TestASweepTakesWhatTheDeadLeftAndNothingElse(t *testing.T) {
	h := open(t)
	lock := create(t, h, "web")
	dead := []string{".tmp-id-1234", "state/.tmp-new-1/lock", "state/.tmp-gone-1/old/metadata.json", "state/web/.tmp-metadata.json-1", "state/web/egress/in/.tmp-routes.yaml-1", "state/web/supervise/in/decisions/.tmp-x-1"}
	alive := []string{"id", "state/web/metadata.json", "state/web/egress/in/routes.yaml", "state/web/egress/out/.tmp-ready-1"}
	for _, name := range append(dead, alive[2:]...) {
		path := filepath.Join(h.Dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(h.Sweep(), h.SweepBottle("web")); err != nil {
		t.Fatal(err)
	}
	lock.Unlock()
	for _, name := range dead {
		if _, err := os.Lstat(filepath.Join(h.Dir, name)); err == nil {
			t.Errorf("%s is still there", name)
		}
	}
	for _, name := range alive {
		if _, err := os.Lstat(filepath.Join(h.Dir, name)); err != nil {
			t.Error(err)
		}
	}
}

// Its holder may be a program that was stopped (SIGSTOP).
func TestALockThatIsNotGivenUpHoldsNobodyForEver(t *testing.T) {
	h := open(t)
	held, err := h.LockShared(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.LockShared(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("waited with %v", err)
	}
	held.Unlock()
	if again, err := h.LockShared(t.Context()); err != nil {
		t.Error(err)
	} else {
		again.Unlock()
	}
}

func TestADirectoryThatLiesElsewhereIsTrustedNoMoreThanTheHome(t *testing.T) {
	h := open(t)
	shared := filepath.Join(t.TempDir(), "shared")
	if err := errors.Join(os.MkdirAll(filepath.Join(shared, "agents"), 0o700), os.Remove(filepath.Join(h.Dir, "agents")),
		os.Symlink(filepath.Join(shared, "agents"), filepath.Join(h.Dir, "agents"))); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(h.Dir); err != nil {
		t.Errorf("below one's own: %v", err)
	}
	if err := os.Chmod(shared, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(h.Dir); !errors.Is(err, ErrOpen) {
		t.Errorf("below a directory that others may rename: %v", err)
	}
}
