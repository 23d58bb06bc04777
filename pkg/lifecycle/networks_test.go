package lifecycle

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"bottle/pkg/engine"
	"bottle/pkg/plan"
)

// An uplink that is made a second time after a start had looked is one again, when
// that start, or whoever removes it, meets two.
func TestWhoMeetsASecondUplinkGoesOn(t *testing.T) {
	l := newLab(t)
	var mu sync.Mutex
	met := map[string]bool{}
	l.fake.Fail = func(call, name string) error {
		mu.Lock()
		defer mu.Unlock()
		starts := call == "Start" && strings.HasSuffix(name, "-egress-1")
		removes := call == "RemoveNetwork" && name == plan.UplinkName(l.Home.ID)
		if (starts || removes) && !met[call] {
			met[call] = true
			return fmt.Errorf("cannot: %w", engine.ErrAmbiguous)
		}
		return nil
	}
	b, err := l.Up(t.Context(), l.spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(b.StateDir); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Reap(t.Context(), yes); err != nil {
		t.Fatal(err)
	}
	if left := l.fake.Left(); len(left) > 0 || len(met) != 2 {
		t.Errorf("left %q, met %v", left, met)
	}
}
