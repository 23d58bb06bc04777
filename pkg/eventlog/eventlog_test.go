package eventlog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bottle/pkg/bottle"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func event(second int, path string) string {
	return fmt.Sprintf(`{"time":%q,"source":"someone else","kind":"request","path":%q}`+"\n", noon.Add(time.Duration(second)*time.Second).Format(time.RFC3339), path)
}

// state is a state directory with these sidecars.
func state(t *testing.T, services ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, s := range services {
		if err := os.MkdirAll(filepath.Join(dir, s, "out"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func put(t *testing.T, text string, path ...string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(path...), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(text)
		f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func paths(records []Record) (list []string) {
	for _, r := range records {
		list = append(list, r.Source+r.Path)
	}
	return list
}

func TestAllSidecarsAreMergedInTheOrderOfTime(t *testing.T) {
	dir := state(t, "egress", "supervise", "agent", "git-gate")
	put(t, event(1, "/1")+event(4, "/4"), dir, "egress/out/events.jsonl.1")
	put(t, event(6, "/6")+event(5, "/5"), dir, "egress/out/events.jsonl")
	put(t, event(2, "/2")+"garbage\n"+event(7, "/7")+"[]\n{}\n\n"+event(3, "/3"), dir, "supervise/out/events.jsonl")
	put(t, event(3, "/an agent's own words"), dir, "agent/out/events.jsonl")
	sources, err := Living(dir, "dev-aaaa")
	if err != nil {
		t.Fatal(err)
	}
	records, bad, err := Read(sources, time.Time{})
	want := []string{"egress/1", "supervise/2", "supervise/3", "egress/4", "egress/5", "egress/6", "supervise/7"}
	if err != nil || bad != 3 || !slices.Equal(paths(records), want) || records[0].Slug != "dev-aaaa" {
		t.Errorf("%q, %d bad, %v", paths(records), bad, err)
	}
	records, _, err = Read(sources, noon.Add(6*time.Second))
	if err != nil || !slices.Equal(paths(records), []string{"egress/6", "supervise/7"}) {
		t.Errorf("since a time: %q, %v", paths(records), err)
	}
}

func TestAHistoryIsReadToo(t *testing.T) {
	dir := t.TempDir()
	put(t, event(2, "/2"), dir, "egress-events.jsonl")
	put(t, event(1, "/1"), dir, "egress-events.jsonl.1")
	put(t, "{}", dir, "metadata.json")
	sources, err := Past(dir, "dev-aaaa")
	if err != nil {
		t.Fatal(err)
	}
	if records, _, err := Read(sources, time.Time{}); err != nil || !slices.Equal(paths(records), []string{"egress/1", "egress/2"}) {
		t.Errorf("%q, %v", paths(records), err)
	}
	for _, find := range []func(string, string) ([]Source, error){Living, Past} {
		if sources, err := find(filepath.Join(dir, "none"), "x"); err != nil || len(sources) != 0 {
			t.Errorf("what is not there: %v, %v", sources, err)
		}
	}
}

func TestNothingLeadsTheReaderAstray(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	put(t, event(1, "/outside"), outside)
	for name, plant := range map[string]func(path string) error{
		"a link":      func(path string) error { return os.Symlink(outside, path) },
		"a FIFO":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a directory": func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		dir := state(t, "egress")
		if err := plant(filepath.Join(dir, "egress/out/events.jsonl")); err != nil {
			t.Fatal(err)
		}
		sources, err := Living(dir, "x")
		if err != nil {
			t.Fatal(err)
		}
		if records, _, err := Read(sources, time.Time{}); err == nil || len(records) > 0 {
			t.Errorf("%s: %q, %v", name, paths(records), err)
		}
	}
	dir := state(t, "egress")
	put(t, strings.Repeat("x", 3*maxLine)+"\n"+event(1, "/after"), dir, "egress/out/events.jsonl")
	sources, _ := Living(dir, "x")
	if records, bad, err := Read(sources, time.Time{}); err != nil || bad != 1 || !slices.Equal(paths(records), []string{"egress/after"}) {
		t.Errorf("an endless line: %q, %d, %v", paths(records), bad, err)
	}
}

// Whatever happens to the files while they are read, each event is told once.
func TestFollowingLosesAndDoublesNothing(t *testing.T) {
	dir := state(t, "egress")
	log := filepath.Join(dir, "egress/out/events.jsonl")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	const all = 400
	told := make(chan Record, all)
	f := Follower{Find: func() ([]Source, []string, error) {
		sources, err := Living(dir, "x")
		return sources, []string{dir}, err
	}, Emit: func(r Record) error {
		told <- r
		if len(told) == cap(told) {
			cancel()
		}
		return nil
	}}
	go func() {
		for i := range all {
			text := event(i, fmt.Sprintf("/%d", i))
			half := i % len(text)
			put(t, text[:half], log)
			put(t, text[half:], log)
			switch {
			case i%50 == 49: // as a sidecar rotates
				if err := os.Rename(log, log+".1"); err != nil {
					t.Error(err)
				}
				put(t, "", log)
			case i%7 == 0: // let the follower run
				waitFor(ctx, func() bool { return len(told) > i/2 })
			}
			if i%50 == 48 { // nothing may be two rotations behind
				waitFor(ctx, func() bool { return len(told) >= i-20 })
			}
		}
	}()
	if bad, err := f.Run(ctx); bad != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d bad, %v, and %d events", bad, err, len(told))
	}
	close(told)
	seen := map[string]int{}
	for r := range told {
		seen[r.Path]++
	}
	for i := range all {
		if n := seen[fmt.Sprintf("/%d", i)]; n != 1 {
			t.Errorf("event %d was told %d times", i, n)
		}
	}
}

func waitFor(ctx context.Context, ready func() bool) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ready() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func TestFollowingFindsNewSidecarsAndEndsWithTheBottle(t *testing.T) {
	dir := state(t, "egress")
	put(t, event(1, "/1"), dir, "egress/out/events.jsonl")
	told := make(chan string, 10)
	ended := make(chan error, 1)
	go func() {
		_, err := Follower{Find: func() ([]Source, []string, error) {
			sources, err := Living(dir, "x")
			return sources, []string{dir}, err
		}, Emit: func(r Record) error { told <- r.Source + r.Path; return nil }, Ends: true}.Run(t.Context())
		ended <- err
	}()
	if got := <-told; got != "egress/1" {
		t.Errorf("told %s", got)
	}
	other := t.TempDir()
	if err := os.MkdirAll(filepath.Join(other, "late/out"), 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, event(2, "/2"), other, "late/out/events.jsonl")
	if err := os.Rename(filepath.Join(other, "late"), filepath.Join(dir, "late")); err != nil {
		t.Fatal(err)
	}
	if got := <-told; got != "late/2" {
		t.Errorf("told %s", got)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte(event(1, "/a")), 3)
	f.Add([]byte("{}\n\n[1]\nnull\n"), 1)
	f.Fuzz(func(t *testing.T, data []byte, step int) {
		s := Source{Slug: "x", Service: "egress"}
		whole, pieces := &tail{source: s}, &tail{source: s}
		_, want := whole.split(data, nil)
		var got []Record
		var rest []byte
		for step = 1 + max(step, 0)%17; len(data) > 0; {
			n := min(step, len(data))
			rest, got = pieces.split(append(rest, data[:n]...), got)
			rest, data = slices.Clone(rest), data[n:]
		}
		if len(got) != len(want) || pieces.bad != whole.bad {
			t.Fatalf("in pieces %d and %d bad, at once %d and %d bad", len(got), pieces.bad, len(want), whole.bad)
		}
		for _, r := range got {
			if r.Source != "egress" || r.Time.IsZero() || r == (Record{Slug: "x", Event: bottle.Event{}}) {
				t.Fatalf("%+v", r)
			}
		}
	})
}
