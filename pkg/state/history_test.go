package state

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"bottle/pkg/bottle"
)

// gone makes a bottle and retires it as one that was stopped so long ago.
func gone(t *testing.T, h *Home, slug string, ago time.Duration) {
	t.Helper()
	b := bottle.Bottle{Slug: slug, Agent: "dev", StoppedAt: time.Now().Add(-ago).UTC().Truncate(time.Second)}
	lock, err := h.Create(b)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Unlock()
	for _, name := range []string{WorkBundle, "origin.bundle"} {
		if err := os.WriteFile(filepath.Join(h.StateDir(slug), name), []byte("work"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Retire(slug, []Keep{{WorkBundle, WorkBundle}, {"origin.bundle", PushedBundle("origin")}}); err != nil {
		t.Fatal(err)
	}
}

func slugsOf(t *testing.T, h *Home) (slugs []string) {
	t.Helper()
	list, err := h.History()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		slugs = append(slugs, filepath.Base(p.Dir))
	}
	return slugs
}

const day = 24 * time.Hour

func TestTheHistoryIsPrunedByCountAndAgeTheOldestFirst(t *testing.T) {
	h := open(t)
	for slug, ago := range map[string]time.Duration{"web-old": 91 * day, "web-older": 400 * day, "web-a": day, "web-b": 2 * day, "web-c": 3 * day} {
		gone(t, h, slug, ago)
	}
	// What is no history of ours, or is not one yet.
	for _, name := range []string{"half-made", ".tmp-x", "README", "web.x", "web.0"} {
		if err := os.Mkdir(filepath.Join(h.Dir, "history", name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if got := slugsOf(t, h); !slices.Equal(got, []string{"web-a", "web-b", "web-c", "web-old", "web-older"}) {
		t.Fatalf("the history is %q", got)
	}
	pruned, err := h.Prune(time.Now())
	if slices.Sort(pruned); err != nil || !slices.Equal(pruned, []string{"web-old", "web-older"}) {
		t.Errorf("by age it pruned %q, %v", pruned, err)
	}
	h.Config.History = Retention{Bottles: 2}
	if pruned, err := h.Prune(time.Now()); err != nil || !slices.Equal(pruned, []string{"web-c"}) {
		t.Errorf("by count it pruned %q, %v", pruned, err)
	}
	h.Config.History = Retention{}
	if pruned, err := h.Prune(time.Now().Add(1000 * day)); err != nil || len(pruned) > 0 {
		t.Errorf("without a bound it pruned %q, %v", pruned, err)
	}
	for _, name := range []string{"half-made", "web.0", "README"} {
		if _, err := os.Stat(filepath.Join(h.Dir, "history", name)); err != nil {
			t.Error(err)
		}
	}
}

// A clock that runs years ahead does not take the work that was captured just now.
func TestTheNewestHistoryIsNeverPruned(t *testing.T) {
	h := open(t)
	h.Config.History = Retention{Bottles: 1, Days: 1}
	gone(t, h, "web-a", 300*day)
	if pruned, err := h.Prune(time.Now().Add(4000 * day)); err != nil || len(pruned) > 0 {
		t.Errorf("it pruned %q, %v", pruned, err)
	}
}

// The state of a bottle that is kept is not history, and neither is what a stop
// that was cut short has brought there.
func TestPruningTakesNothingOfABottleThatExists(t *testing.T) {
	h := open(t)
	gone(t, h, "web-new", time.Minute)
	gone(t, h, "web-kept", 500*day)
	lock, err := h.Create(bottle.Bottle{Slug: "web-kept", Agent: "dev"})
	if err != nil {
		t.Fatal(err)
	}
	lock.Unlock()
	if pruned, err := h.Prune(time.Now()); err != nil || len(pruned) > 0 {
		t.Errorf("it pruned %q, %v", pruned, err)
	}
	if _, err := h.Bottle("web-kept"); err != nil {
		t.Error(err)
	}
}

func TestAnEarlierBottleOfThatNameIsInTheHistoryToo(t *testing.T) {
	h := open(t)
	gone(t, h, "web", 2*day)
	gone(t, h, "web", day)
	list, err := h.History()
	if err != nil || len(list) != 2 || list[0].Bottle.Slug != "web" || list[1].Bottle.Slug != "web" || filepath.Base(list[1].Dir) != "web.1" {
		t.Fatalf("%+v, %v", list, err)
	}
	if list[0].Bottle.Bundle != filepath.Join(h.Dir, "history", "web", WorkBundle) || list[0].Bottle.History == "" {
		t.Errorf("%+v", list[0])
	}
	for _, p := range list {
		if want := map[string]string{"origin": filepath.Join(p.Dir, "pushed-origin.bundle")}; !maps.Equal(p.Bottle.Pushed, want) {
			t.Errorf("it pushed %v, want %v", p.Bottle.Pushed, want)
		}
	}
}

func TestAHistoryThatCannotBeReadIsListedByItsName(t *testing.T) {
	h := open(t)
	gone(t, h, "web", day)
	path := filepath.Join(h.HistoryDir("web"), MetadataFile)
	for _, harm := range []func() error{
		func() error { return os.WriteFile(path, []byte("{half"), 0o600) },
		func() error { os.Remove(path); return os.Symlink("/etc/passwd", path) },
	} {
		if err := harm(); err != nil {
			t.Fatal(err)
		}
		if list, err := h.History(); err != nil || len(list) != 1 || list[0].Bottle.Slug != "web" || list[0].Bottle.Agent != "?" {
			t.Errorf("%+v, %v", list, err)
		}
	}
}
