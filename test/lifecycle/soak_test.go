package lifecycle

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"bottle/pkg/plan"
	"bottle/test/rig"
)

var soak = flag.Duration("soak", time.Minute, "how long bottles have traffic at least; from five minutes on there are 8 of them")

// enough is how long they have it at most, where nothing longer is asked for: other
// tests want the machine.
const enough = 3 * time.Minute

// traffic is what an agent does all day, until a file appears or so many seconds are
// over: requests that are allowed, that are refused, that carry something, questions
// for names, a look at what it may ask for, and a push. It thinks in between: other
// tests run beside it.
const traffic = `cd /work
[ -d here ] || git clone -q http://git-gate/here.git
until [ -e /work/stop ] || [ $SECONDS -ge $0 ]; do
	sleep 1
	curl -s -m 20 -o /dev/null https://allowed.test/page
	curl -s -m 20 -o /dev/null https://allowed.test/a https://allowed.test/b https://allowed.test/c
	head -c 65536 /dev/zero | curl -s -m 20 -o /dev/null --data-binary @- https://allowed.test/upload
	curl -s -m 20 -o /dev/null https://refused.test/ http://refused.test/
	getent hosts nowhere.test
	curl -s -m 20 -o /dev/null --noproxy '*' -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' \
		-d '{"jsonrpc":"2.0","id":1,"method":"tools/list"}' http://supervise:8090/mcp
	git -C here -c user.name=a -c user.email=a@b.test commit -q --allow-empty -m more && git -C here push -q origin HEAD:main
done`

// holds is what a sidecar says that it holds.
type holds struct{ goroutines, descriptors, heap, resident int }

// ask has a sidecar record what it holds, and reads it.
func ask(t *testing.T, r *rig.Rig, slug, service string) (h holds) {
	t.Helper()
	out := filepath.Join(r.Home, "state", slug, service, "out")
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
	awaitWrite(t, out, func() bool { return len(told()) > before }, func() { r.Docker("kill", "-s", "USR1", plan.ContainerName(slug, service)) })
	lines := told()
	e := rig.Decode[struct{ Detail string }](t, lines[len(lines)-1])
	if _, err := fmt.Sscanf(e.Detail, "goroutines %d, descriptors %d, heap %d bytes, resident %d bytes", &h.goroutines, &h.descriptors, &h.heap, &h.resident); err != nil {
		t.Fatalf("%q: %v", e.Detail, err)
	}
	return h
}

// askAll asks the sidecars of all bottles, by container.
func askAll(t *testing.T, r *rig.Rig, slugs []string) map[string]holds {
	t.Helper()
	all := map[string]holds{}
	for _, slug := range slugs {
		for _, service := range []string{plan.EgressService, plan.SuperviseService, plan.GateService} {
			all[plan.ContainerName(slug, service)] = ask(t, r, slug, service)
		}
	}
	return all
}

// drive has all bottles make traffic until stop, which returns when it has ended, or
// until enough of it was made.
func drive(t *testing.T, r *rig.Rig, slugs []string) (stop func()) {
	t.Helper()
	var agents sync.WaitGroup
	t.Cleanup(agents.Wait) // of a test that fails meanwhile
	for _, slug := range slugs {
		if _, said, code := r.Inside(slug, "rm", "-f", "/work/stop"); code != 0 {
			t.Fatal(said)
		}
		cmd := r.Command(t.Context(), "bottle-attach", slug, "--", "bash", "-c", traffic, fmt.Sprint(max(*soak, enough).Seconds()))
		agents.Go(func() { runQuietly(t, cmd) })
	}
	return func() {
		t.Helper()
		for _, slug := range slugs {
			if _, said, code := r.Inside(slug, "touch", "/work/stop"); code != 0 {
				t.Error(said)
			}
		}
		agents.Wait()
	}
}

func runQuietly(t *testing.T, cmd *exec.Cmd) {
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// Bottles that work side by side for long need no more than they did at first.
// This lasts while the package's other tests do, for three minutes, and takes no
// place of theirs: while it waits for its own, the agents are at work.
func TestSidecarsUnderTrafficStayAsTheyAre(t *testing.T) {
	bottles := 2
	if *soak >= 5*time.Minute {
		bottles = 8
	}
	r := rig.New(t)
	u := r.Upstream("allowed.test")
	r.Write("agents/dev.md", "---\nbottle: dev\nprogram: shell\n---\n")
	r.Write("bottles/dev.md", "---\negress:\n  routes:\n    - {host: allowed.test, private: true}\ngit: {remotes: {here: {}}}\n---\n")
	var slugs []string
	for range bottles {
		slugs = append(slugs, r.Start("dev"))
		u.Join(slugs[len(slugs)-1])
	}
	stop := drive(t, r, slugs)
	<-time.After(*soak / 12) // what is kept for reuse is there then
	stop()
	first, began := askAll(t, r, slugs), time.Now()
	stop = drive(t, r, slugs)
	t.Parallel()
	<-time.After(*soak - time.Since(began))
	lasted := min(time.Since(began), max(*soak, enough))
	stop()
	t.Logf("%d bottles had traffic for %s", bottles, lasted.Round(time.Second))
	for name, is := range askAll(t, r, slugs) {
		was := first[name]
		t.Logf("%s: %+v, and at last %+v", name, was, is)
		const few, little = 8, 4 << 20
		if is.goroutines > was.goroutines+few || is.descriptors > was.descriptors+few || is.heap > was.heap+little || is.resident > was.resident+5*little {
			t.Errorf("%s held %+v, and now %+v", name, was, is)
		}
	}
	if all := r.Bottles(); len(all) != bottles {
		t.Errorf("%+v", all)
	}
	if heard := u.Heard("/upload"); len(heard) < bottles {
		t.Errorf("upstream heard %d uploads: there was no traffic", len(heard))
	}
	for _, slug := range slugs {
		out, said, _ := r.Inside(slug, "git", "-C", "/work/here", "rev-list", "--count", "origin/main")
		if n, err := strconv.Atoi(strings.TrimSpace(out)); err != nil || n < 2 {
			t.Errorf("of what %s committed %q was pushed: %s", slug, out, said)
		}
	}
	if out, said, code := r.Run("bottle-stop", "--all"); code != 0 || strings.Contains(out, "error") {
		t.Errorf("their stop ended with %d: %s%s", code, out, said)
	}
}
