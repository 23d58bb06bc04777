package lifecycle

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bottle/pkg/plan"
	"bottle/pkg/state"
)

// A bottle of which something cannot be removed stays known, and the next stop takes
// the rest.
func TestABottleThatCannotBeRemovedStaysKnown(t *testing.T) {
	l := newLab(t)
	b := l.bottle(t)
	l.fake.Fail = failFor("RemoveVolume", plan.WorkVolume)
	if _, err := l.Down(t.Context(), b.Slug, DownOptions{}, nil); err == nil || !strings.Contains(err.Error(), "run bottle-stop "+b.Slug+" again") {
		t.Error(err)
	}
	if _, err := l.Home.Bottle(b.Slug); err != nil {
		t.Errorf("nobody knows it any more: %v", err)
	}
	l.fake.Fail = nil
	if _, err := l.Down(t.Context(), b.Slug, DownOptions{}, nil); err != nil {
		t.Error(err)
	}
	if left := l.fake.Left(); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
}

// Where the agent, or a sidecar, may still run, the capture is none, and the bottle is
// kept.
func TestABottleThatDoesNotStopIsKept(t *testing.T) {
	for _, service := range []string{plan.AgentService, plan.EgressService} {
		l := newLab(t)
		b, err := l.Up(t.Context(), l.spec, nil)
		if err != nil {
			t.Fatal(err)
		}
		name := plan.ContainerName(b.Slug, service)
		l.fake.Fail = func(call, what string) error {
			if call == "Stop" && what == name {
				return errors.New("no")
			}
			return nil
		}
		took, err := l.Down(t.Context(), b.Slug, DownOptions{}, nil)
		if !errors.Is(err, ErrCapture) || !took.Kept || !l.Home.Preserved(b.Slug) {
			t.Errorf("%s: %v, %+v", service, err, took)
		}
		if left := l.fake.Left(); !slices.Contains(left, "volume "+plan.VolumeName(b.Slug, plan.WorkVolume)) {
			t.Errorf("%s: left are %q", service, left)
		}
	}
}

// What is known of a bottle and cannot be read is not written over by what keeps it.
func TestKeepingABottleWritesOverNothing(t *testing.T) {
	l := newLab(t)
	b := l.bottle(t)
	file := filepath.Join(b.StateDir, state.MetadataFile)
	if err := os.WriteFile(file, []byte("{half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Down(t.Context(), b.Slug, DownOptions{Keep: true}, nil); err != nil || !l.Home.Preserved(b.Slug) {
		t.Errorf("%v, kept: %t", err, l.Home.Preserved(b.Slug))
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "{half" {
		t.Errorf("it says %s, %v", text, err)
	}
}

// Another bottle's egress takes no values for this one.
func TestValuesAreForARunningEgressOfTheBottlesOwn(t *testing.T) {
	l := newLab(t)
	var slugs []string
	for range 2 {
		b, err := l.Up(t.Context(), l.spec, nil)
		if err != nil {
			t.Fatal(err)
		}
		slugs = append(slugs, b.Slug)
	}
	l.fake.Stop(t.Context(), plan.ContainerName(slugs[0], plan.EgressService))
	if err := l.Takes(t.Context(), slugs[0]); !errors.Is(err, ErrNotUp) {
		t.Error(err)
	}
	if err := l.Takes(t.Context(), slugs[1]); err != nil {
		t.Error(err)
	}
}
