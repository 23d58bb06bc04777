package bench

import (
	"fmt"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/plan"
	"bottle/test/rig"
)

// From what an agent does to the line that `bottle-ls --watch` prints of it: the
// file's time says when it was so.
func watchShowsAnActivity(t *testing.T, r *rig.Rig, rounds, bottles int) {
	slug := r.Bottles()[0].Slug
	lines, end := r.Watch(t.Context())
	defer end()
	shown := &timing{name: fmt.Sprintf("bottle-ls --watch shows an activity, %d bottles", bottles)}
	for n := range rounds * 2 {
		does := []bottle.Activity{bottle.Working, bottle.Waiting}[n%2]
		if _, said, code := r.Inside(slug, plan.InsideBin, "activity", string(does)); code != 0 {
			t.Fatal(said)
		}
		for {
			var b bottle.Bottle
			if err := lines.Decode(&b); err != nil {
				t.Fatal(err)
			}
			if b.Slug == slug && b.Activity == does {
				shown.took = append(shown.took, time.Since(b.ActivitySince))
				break
			}
		}
	}
	fmt.Printf("%s; 200 ms is the bound\n\n", shown)
}
