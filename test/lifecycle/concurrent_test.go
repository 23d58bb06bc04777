package lifecycle

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"bottle/pkg/bottle"
	"bottle/test/rig"
)

// ending is how a program ended.
type ending struct {
	out, said string
	code      int
}

// atOnce runs a program several times at once.
func atOnce(r *rig.Rig, times int, program string, args ...string) []ending {
	ends := make([]ending, times)
	var wg sync.WaitGroup
	for i := range ends {
		wg.Go(func() { ends[i].out, ends[i].said, ends[i].code = r.Run(program, args...) })
	}
	wg.Wait()
	return ends
}

func TestTenStartsAtOnceAreTenBottles(t *testing.T) {
	t.Parallel()
	const n = 10
	r := rig.New(t)
	r.Agent("dev", "allowed.test")
	for _, e := range atOnce(r, n, "bottle-start", "--yes", "--detach", "--workspace", "none", "dev") {
		if e.code != 0 {
			t.Errorf("one ended with %d: %s", e.code, e.said)
		}
	}
	for _, b := range r.Bottles() {
		if b.Status != bottle.Running {
			t.Errorf("%s is %s: %s", b.Slug, b.Status, b.Reason)
		}
	}
	id := strings.TrimSpace(readFile(t, filepath.Join(r.Home, "id")))
	var subnets []string
	uplinks := 0
	for name := range strings.Lines(r.Docker("network", "ls", "--filter", "label=bottle.home="+id, "--format", "{{.Name}}")) {
		name = strings.TrimSpace(name)
		if strings.HasPrefix(name, "bottle-uplink-") {
			uplinks++
			continue
		}
		subnets = append(subnets, r.Docker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", name))
	}
	slices.Sort(subnets)
	if got := len(slices.Compact(subnets)); got != n || uplinks != 1 {
		t.Errorf("%d subnets and %d uplinks for %d bottles", got, uplinks, n)
	}
	if out, said, code := r.Run("bottle-stop", "--all"); code != 0 {
		t.Errorf("bottle-stop --all ended with %d: %s%s", code, out, said)
	}
	wantNothing(t, r)
}

// Of one bottle, from its start to its end.
func TestProgramsThatMeetAtABottle(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Agent("dev")
	t.Run("a stop during a start leaves the start alone", func(t *testing.T) { stopDuringAStartLeavesTheStartAlone(t, r) })
	t.Run("two reapers at once reap once", func(t *testing.T) { twoReapersAtOnceReapOnce(t, r, "web") })
	t.Run("of two stops at once one tells of the other", func(t *testing.T) { ofTwoStopsAtOnceOneTellsOfTheOther(t, r, "web") })
}

func stopDuringAStartLeavesTheStartAlone(t *testing.T, r *rig.Rig) {
	watch := r.Command(t.Context(), "bottle-ls", "--watch")
	lines, err := watch.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	start := r.Command(t.Context(), "bottle-start", "--yes", "--detach", "--workspace", "none", "--name", "web", "dev")
	if err := start.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1)
	if _, err := lines.Read(buf); err != nil { // the watcher tells when it is being made
		t.Fatal(err)
	}
	_, said, code := r.Run("bottle-stop", "web")
	if err := start.Wait(); err != nil {
		t.Errorf("the start ended with %v", err)
	}
	if code != 6 || !strings.Contains(said, "another program is at work on web") {
		t.Errorf("the stop ended with %d: %s", code, said)
	}
	if all := r.Bottles(); len(all) != 1 || all[0].Status != bottle.Running {
		t.Errorf("listed as %+v", all)
	}
	lines.Close()
	watch.Wait()
}

func twoReapersAtOnceReapOnce(t *testing.T, r *rig.Rig, alive string) {
	id := strings.TrimSpace(readFile(t, filepath.Join(r.Home, "id")))
	for n := range 6 {
		r.Docker("volume", "create", "--label", "bottle.home="+id, "--label", fmt.Sprintf("bottle.slug=gone-%d", n), fmt.Sprintf("bottle-gone-%d_%s", n, id))
	}
	for _, e := range atOnce(r, 3, "bottle-stop", "--orphans", "--yes") {
		if e.code != 0 {
			t.Errorf("one ended with %d: %s", e.code, e.said)
		}
	}
	if left := r.Docker("volume", "ls", "-q", "--filter", "label=bottle.home="+id); strings.Contains(left, "gone") {
		t.Errorf("left are %s", left)
	}
	if all := r.Bottles(); len(all) != 1 || all[0].Slug != alive || all[0].Status != bottle.Running {
		t.Errorf("listed as %+v", all)
	}
}

func ofTwoStopsAtOnceOneTellsOfTheOther(t *testing.T, r *rig.Rig, slug string) {
	stopped := 0
	for _, e := range atOnce(r, 4, "bottle-stop", slug) {
		switch {
		case e.code == 0:
			stopped++
		case e.code == 6 && strings.Contains(e.said, "another program is at work on "+slug):
		case e.code == 3 && strings.Contains(e.said, `no bottle named "`+slug+`"`):
		default:
			t.Errorf("one ended with %d: %s", e.code, e.said)
		}
	}
	if stopped != 1 {
		t.Errorf("%d stops stopped it", stopped)
	}
	wantNothing(t, r)
	if _, err := os.Stat(filepath.Join(r.Home, "history", slug, "metadata.json")); err != nil {
		t.Error(err)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
