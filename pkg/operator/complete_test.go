package operator

import (
	"slices"
	"testing"

	"bottle/pkg/bottle"
	"bottle/pkg/state"
)

func TestThePipelockOfABottleThatHasOneIsOffered(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("BOTTLE_HOME", dir)
	home, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for slug, sidecars := range map[string][]string{"dev-aaaa": {"egress", "pipelock"}, "dev-bbbb": {"egress"}} {
		lock, err := home.Create(bottle.Bottle{Slug: slug, Agent: "dev", Bottle: "dev", Status: bottle.Running, Sidecars: sidecars})
		if err != nil {
			t.Fatal(err)
		}
		lock.Unlock()
	}
	for slug, want := range map[string][]string{"dev-aaaa": {"routes", "pipelock"}, "dev-bbbb": {"routes"}, "gone": {"routes"}} {
		var got []string
		for _, c := range CompleteEdits([]string{slug}) {
			got = append(got, c.Value)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q", slug, got)
		}
	}
}
