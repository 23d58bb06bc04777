package egress

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bottle/pkg/policy"
)

func TestUsesAreGivenOnceWhateverHappens(t *testing.T) {
	dir := t.TempDir()
	const of = 50
	var given atomic.Int64
	for range 5 { // restarts
		u, err := openUses(dir)
		must(t, err)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 5 {
					left, err := u.reserve("x", of)
					if err != nil {
						t.Error(err)
					}
					if left {
						given.Add(1)
					}
				}
			})
		}
		wg.Wait()
		// A kill may leave half a line.
		_, err = u.file.WriteString("x-other")
		must(t, err)
		must(t, u.file.Close())
	}
	if given.Load() != of {
		t.Errorf("%d uses were given instead of %d", given.Load(), of)
	}
	u, err := openUses(dir)
	must(t, err)
	if g := (&policy.Grant{ID: "x", Uses: of}); !u.spent(g) || u.used["x-other"] > 0 {
		t.Errorf("%v", u.used)
	}
}

func TestAUseThatCannotBeRecordedIsNotGiven(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Symlink("/dev/full", filepath.Join(dir, UsesFile)))
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	must(t, err)
	u := &uses{used: map[string]int64{}, file: f}
	if left, err := u.reserve("x", 1); left || err == nil {
		t.Errorf("%v, %v", left, err)
	}
	if _, err := openUses(dir); err == nil {
		t.Error("a link was followed")
	}
}

func TestAGrantForOneRequestIsGoodForOne(t *testing.T) {
	out := t.TempDir()
	w := newWorldWith(t, Config{Out: out})
	w.serve("a.example:443", http.HandlerFunc(hello))
	w.write("routes: []\ngrants:\n- {id: once, host: a.example, uses: 1}\n")
	must(t, w.s.Reload())
	client := w.agent()
	var codes []int
	for range 3 {
		r, _ := get(t, client, "https://a.example/")
		codes = append(codes, r.StatusCode)
	}
	if fmt.Sprint(codes) != "[200 403 403]" {
		t.Errorf("%v", codes)
	}
	if data, err := os.ReadFile(filepath.Join(out, UsesFile)); err != nil || string(data) != "once\n" {
		t.Errorf("%q, %v", data, err)
	}
}

func TestTheEndOfAGrantIsTold(t *testing.T) {
	w := newWorld(t)
	end := time.Now().Add(2 * time.Second)
	w.write("routes: []\ngrants:\n- {id: short, host: a.example, expires: \"" + end.UTC().Format(time.RFC3339) + "\"}\n")
	must(t, w.s.Reload())
	if e := w.event("grant"); e.Rule != "grant short" || e.Verdict != "ended" {
		t.Errorf("%+v", e)
	}
}

// Whatever a kill left of the log, no use that it has is forgotten, and the next
// one is a line of its own.
func FuzzUses(f *testing.F) {
	f.Add([]byte("a\nb\na\n"))
	f.Add([]byte("a\n\n\x00\nhalf"))
	f.Fuzz(func(t *testing.T, log []byte) {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, UsesFile), log, 0o600))
		before, err := openUses(dir)
		must(t, err)
		given, err := before.reserve("x", 1<<40)
		if must(t, err); !given {
			t.Fatal("no use was left of so many")
		}
		must(t, before.file.Close())
		after, err := openUses(dir)
		must(t, err)
		must(t, after.file.Close())
		if !maps.Equal(before.used, after.used) {
			t.Errorf("%v became %v", before.used, after.used)
		}
	})
}
