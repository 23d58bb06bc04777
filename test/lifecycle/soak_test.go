package lifecycle

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bottle/test/rig"
)

var soak = flag.Duration("soak", 9*time.Second, "how long bottles have traffic; from a minute on there are 8 of them")

// traffic is what an agent does all day, until a file appears: requests that are
// allowed, that are refused, that carry something, and questions for names.
const traffic = `until [ -e /work/stop ]; do
	curl -s -m 20 -o /dev/null https://allowed.test/page
	curl -s -m 20 -o /dev/null https://allowed.test/a https://allowed.test/b https://allowed.test/c
	head -c 65536 /dev/zero | curl -s -m 20 -o /dev/null --data-binary @- https://allowed.test/upload
	curl -s -m 20 -o /dev/null https://refused.test/ http://refused.test/
	getent hosts nowhere.test
done`

// holds is what a sidecar says that it holds.
type holds struct{ goroutines, descriptors, heap, resident int }

// ask has egress of a bottle record what it holds, and reads it.
func ask(t *testing.T, r *rig.Rig, slug string) (h holds) {
	t.Helper()
	out := filepath.Join(r.Home, "state", slug, "egress", "out")
	told := func() []string {
		data, err := os.ReadFile(filepath.Join(out, "events.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for line := range bytes.Lines(data) {
			if bytes.Contains(line, []byte(`"kind":"self"`)) {
				lines = append(lines, string(line))
			}
		}
		return lines
	}
	before := len(told())
	awaitWrite(t, out, func() bool { return len(told()) > before }, func() { r.Docker("kill", "-s", "USR1", egressName(slug)) })
	lines := told()
	e := rig.Decode[struct{ Detail string }](t, lines[len(lines)-1])
	if _, err := fmt.Sscanf(e.Detail, "goroutines %d, descriptors %d, heap %d bytes, resident %d bytes", &h.goroutines, &h.descriptors, &h.heap, &h.resident); err != nil {
		t.Fatalf("%q: %v", e.Detail, err)
	}
	return h
}

// drive has all bottles make traffic for so long, and returns when it has ended.
func drive(t *testing.T, r *rig.Rig, slugs []string, long time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	var agents sync.WaitGroup
	defer agents.Wait()
	for _, slug := range slugs {
		r.Inside(slug, "rm", "-f", "/work/stop")
		cmd := r.Command(t.Context(), "bottle-attach", slug, "--", "bash", "-c", traffic)
		agents.Go(func() { runQuietly(t, cmd) })
	}
	<-ctx.Done()
	for _, slug := range slugs {
		if _, said, code := r.Inside(slug, "touch", "/work/stop"); code != 0 {
			t.Error(said)
		}
	}
}

func runQuietly(t *testing.T, cmd *exec.Cmd) {
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// Bottles that work side by side for long need no more than they did at first.
func TestSidecarsUnderTrafficStayAsTheyAre(t *testing.T) {
	t.Parallel()
	bottles := 2
	if *soak >= time.Minute {
		bottles = 8
	}
	r := rig.New(t)
	u := r.Upstream("allowed.test")
	r.Agent("dev", "allowed.test")
	var slugs []string
	for range bottles {
		slugs = append(slugs, r.Start("dev"))
		u.Join(slugs[len(slugs)-1])
	}
	drive(t, r, slugs, *soak/3) // what is kept for reuse is there then
	first := map[string]holds{}
	for _, slug := range slugs {
		first[slug] = ask(t, r, slug)
	}
	drive(t, r, slugs, *soak-*soak/3)
	for _, slug := range slugs {
		was, is := first[slug], ask(t, r, slug)
		t.Logf("%s: %+v, and after %s more %+v", slug, was, *soak-*soak/3, is)
		const few, little = 8, 4 << 20
		if is.goroutines > was.goroutines+few || is.descriptors > was.descriptors+few || is.heap > was.heap+little || is.resident > was.resident+5*little {
			t.Errorf("egress of %s held %+v, and now %+v", slug, was, is)
		}
	}
	if all := r.Bottles(); len(all) != bottles {
		t.Errorf("%+v", all)
	}
	if heard := u.Heard("/upload"); len(heard) < bottles {
		t.Errorf("upstream heard %d uploads: there was no traffic", len(heard))
	}
	if out, said, code := r.Run("bottle-stop", "--all"); code != 0 || strings.Contains(out, "error") {
		t.Errorf("their stop ended with %d: %s%s", code, out, said)
	}
}
