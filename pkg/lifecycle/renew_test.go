package lifecycle

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/manifest"
	"bottle/pkg/plan"
)

// renewing is secretive with a remote whose token ages.
func renewing(t *testing.T) (*lab, *handed, bottle.Bottle) {
	t.Helper()
	l, h := secretive(t)
	l.spec.Manifest.Routes[len(l.spec.Manifest.Routes)-1].Auth.Refresh = time.Hour
	l.spec.Manifest.Git = manifest.Git{Push: manifest.Push{Refs: []string{"refs/heads/*"}, MaxSize: 1 << 20},
		Remotes: []manifest.Remote{{Name: "docs", Upstream: "https://git.example.com/docs.git", Token: reference(t, "DOCS"), Refresh: 45 * time.Minute}}}
	l.spec.Keys = map[string]string{"env:DOCS": "value-of-docs"}
	if err := os.WriteFile(filepath.Join(l.Libexec, "sidecars", "bottle-git-gate"), []byte("program"), 0o755); err != nil {
		t.Fatal(err)
	}
	b, err := l.Up(t.Context(), l.spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l, h, b
}

func sayApplied(t *testing.T, b bottle.Bottle, service string, a bottle.Applied) {
	t.Helper()
	data, err := json.Marshal(a)
	if err == nil {
		err = os.WriteFile(filepath.Join(b.StateDir, service, "out", appliedFile), data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What a sidecar says is due is so only where the operator said that it ages.
func TestWhatIsDueIsSaidByTwo(t *testing.T) {
	l, _, b := renewing(t)
	now := time.Now()
	past, future := now.Add(-time.Minute), now.Add(time.Minute)
	mine := reference(t, "file:/keys/mine").Name()
	for _, c := range []struct {
		egress, gate map[string]time.Time
		want         []string
	}{
		{nil, nil, nil},
		{map[string]time.Time{"env:TOKEN": future}, map[string]time.Time{"env:DOCS": future}, nil},
		{map[string]time.Time{"env:TOKEN": past, mine: past, "cmd:012345678901": past}, nil, []string{"env:TOKEN"}},
		{nil, map[string]time.Time{"env:DOCS": past}, []string{"env:DOCS"}},
		{map[string]time.Time{"env:TOKEN": now}, map[string]time.Time{"env:DOCS": past}, []string{"env:DOCS", "env:TOKEN"}},
	} {
		sayApplied(t, b, plan.EgressService, bottle.Applied{Due: c.egress, RenewAt: &future})
		sayApplied(t, b, plan.GateService, bottle.Applied{Due: c.gate, RenewAt: &past})
		if due, err := l.Due(b.Slug, now); err != nil || !slices.Equal(due, c.want) {
			t.Errorf("%v, %v: %q, %v", c.egress, c.gate, due, err)
		}
		if at := l.RenewAt(b.Slug); !at.Equal(past) {
			t.Errorf("the first is due at %v", at)
		}
	}
}

// Egress has no business with the keys of the git gate, and the agent's own
// values stay what they are.
func TestARenewalHandsEachSidecarItsOwn(t *testing.T) {
	l, h, b := renewing(t)
	names, err := l.Renewable(b.Slug)
	if err != nil || !slices.Equal(names, []string{"env:DOCS", "env:TOKEN"}) {
		t.Fatalf("%q, %v", names, err)
	}
	h.docs, h.who = nil, nil
	values := map[string]string{"env:DOCS": "new-value-of-docs", "env:TOKEN": "a-new-token"}
	if err := l.Renew(t.Context(), b.Slug, names, values); err != nil || len(h.docs) != 2 {
		t.Fatalf("%v, %q", err, h.who)
	}
	for i, who := range h.who {
		want := values
		if who == plan.ContainerName(b.Slug, plan.EgressService) {
			want = map[string]string{"env:TOKEN": "a-new-token"}
		}
		if !maps.Equal(h.docs[i].Values, want) {
			t.Errorf("%s was handed other values", who)
		}
	}
}
