package crash

import (
	"slices"
	"strings"
	"testing"

	"bottle/test/rig"
)

// step is how many calls lie between two at which the engine goes away: all of
// them in a long run.
func step() int {
	if *rounds > 100 {
		return 1
	}
	return 4
}

func TestAnEngineThatGoesAwayDuringAStartIsSaidAndClearedUp(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Agent("dev")
	whole := r.CutAfter(1 << 20)
	if _, said, code := whole.Through(r, "bottle-start", "--yes", "--detach", "--workspace", "none", "dev"); code != 0 {
		t.Fatalf("bottle-start ended with %d: %s", code, said)
	}
	calls := whole.Requests()
	if calls < 12 {
		t.Fatalf("a start makes %d requests only", calls)
	}
	for n := 0; n < calls-1; n += step() {
		_, said, code := r.CutAfter(n).Through(r, "bottle-start", "--yes", "--detach", "--workspace", "none", "dev")
		if code == 0 && n > calls*3/4 {
			continue // how many requests a start makes differs by a few
		}
		if code != 5 || !strings.Contains(said, "bottle-start: the Docker engine cannot be reached") {
			t.Errorf("after %d of %d requests it ended with %d: %s", n, calls, code, said)
		}
	}
	if _, said, code := r.Run("bottle-stop", "--orphans", "--yes"); code != 0 {
		t.Errorf("the reaper ended with %d: %s", code, said)
	}
	// What had begun to run is a bottle, and stops as one.
	if out, said, code := r.Run("bottle-stop", "--all"); code != 0 {
		t.Errorf("bottle-stop --all ended with %d: %s%s", code, out, said)
	}
	wantNothing(t, r)
}

// wantNothing fails where something is left of a home whose bottles were stopped, that
// a reaper leaves too: what a start asked of the engine that was cut off may come to
// it late.
func wantNothing(t *testing.T, r *rig.Rig) {
	t.Helper()
	ctx, cancel := rig.Patient(t)
	defer cancel()
	for {
		held, state := holdings(t, r), entries(t, r.Home, "state")
		switch {
		case len(held)+len(state) == 0:
			return
		case ctx.Err() != nil:
			t.Errorf("the engine still holds %v, and state is left: %v", held, state)
			return
		}
		t.Logf("once more: %v, %v", held, state)
		if _, said, code := r.Run("bottle-stop", "--orphans", "--yes"); code != 0 {
			t.Errorf("the reaper ended with %d: %s", code, said)
		}
	}
}

func TestAnEngineThatGoesAwayDuringAStopLosesNoWork(t *testing.T) {
	t.Parallel()
	a := &arena{Rig: repository(t, rig.New(t)), t: t, work: map[string]string{}}
	a.Agent("dev")
	slugs := func() (out []string) {
		for n := range 4 {
			slug := a.Start("dev", "--workspace", "copy")
			a.work[slug] = slug
			script := "cd /work && echo " + slug + " >work && git add work && git commit -qm work"
			if _, said, code := a.Inside(slug, "sh", "-c", script); code != 0 {
				t.Fatalf("round %d: the agent's work ended with %d: %s", n, code, said)
			}
			out = append(out, slug)
		}
		return out
	}()
	whole := a.CutAfter(1 << 20)
	if out, said, code := whole.Through(a.Rig, "bottle-stop", slugs[0]); code != 0 {
		t.Fatalf("bottle-stop ended with %d: %s%s", code, out, said)
	}
	calls := whole.Requests()
	for n := 0; n < calls-1; n += step() {
		slug := slugs[1+n%3]
		if !slices.Contains(entries(t, a.Home, "state"), slug) {
			continue // an earlier one got that far
		}
		_, said, code := a.CutAfter(n).Through(a.Rig, "bottle-stop", slug)
		if code == 0 || !rig.OneLine("bottle-stop", said) {
			t.Errorf("after %d of %d requests it ended with %d: %s", n, calls, code, said)
		}
	}
	for _, b := range a.Bottles() {
		if b.Status == "?" {
			t.Errorf("%s is not known any more: %s", b.Slug, b.Reason)
		}
	}
	a.stopAll()
}

func TestAnEngineThatGoesAwayDuringAResumeLosesNothing(t *testing.T) {
	t.Parallel()
	l := &lived{arena: &arena{Rig: repository(t, rig.New(t)), t: t, work: map[string]string{}}}
	l.Agent("dev")
	l.begin()
	if _, said, code := l.Inside(l.slug, "sh", "-c", "echo kept >/work/acked"); code != 0 {
		t.Fatal(said)
	}
	l.acked = []string{"kept"}
	lose := func() {
		t.Helper()
		l.DropContainers(l.slug)
		l.TryDocker("network", "rm", "bottle-"+l.slug+"_inner") // an earlier try may not have come to it
	}
	lose()
	whole := l.CutAfter(1 << 20)
	if _, said, code := whole.Through(l.Rig, "bottle-start", "--resume", l.slug); code != 0 {
		t.Fatalf("the resume ended with %d: %s", code, said)
	}
	calls := whole.Requests()
	if calls < 10 {
		t.Fatalf("a resume makes %d requests only", calls)
	}
	for n := 0; n < calls-1; n += step() {
		lose()
		_, said, code := l.CutAfter(n).Through(l.Rig, "bottle-start", "--resume", l.slug)
		if code == 0 && n > calls*3/4 {
			continue // how many requests a resume makes differs by a few
		}
		if code != 5 || !strings.Contains(said, "bottle-start: the Docker engine cannot be reached") {
			t.Errorf("after %d of %d requests it ended with %d: %s", n, calls, code, said)
		}
		l.wantTruth()
	}
	if out, said, code := l.Run("bottle-stop", "--orphans", "--yes"); code != 0 || out != "" {
		t.Errorf("the reaper took %s%s", out, said)
	}
	l.resumed()
	l.end()
	l.stopAll()
}
