// Package bench times the programs against what they are compared with, in one
// run and in turn, so that a machine whose speed drifts says the same of both.
// No test of it fails for being slow.
package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"bottle/test/rig"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }

// size is how much is done: a full run where BOTTLE_BENCH is set, and otherwise
// just enough to see that the measuring itself works.
func size() (rounds, bottles int) {
	if os.Getenv("BOTTLE_BENCH") != "" {
		return 12, 20
	}
	return 1, 2
}

// long skips what takes many seconds of an engine's time even once.
func long(t *testing.T) {
	t.Helper()
	if rounds, _ := size(); rounds == 1 {
		t.Skip("make bench runs it")
	}
}

// timing collects what one side of a comparison took.
type timing struct {
	name string
	took []time.Duration
}

func (t *timing) run(tb testing.TB, do func()) {
	tb.Helper()
	start := time.Now()
	do()
	t.took = append(t.took, time.Since(start))
}

func (t *timing) median() time.Duration {
	sorted := slices.Sorted(slices.Values(t.took))
	return sorted[len(sorted)/2]
}

func (t *timing) String() string {
	return fmt.Sprintf("%-52s median %4d ms, min %4d, max %4d", t.name, t.median().Milliseconds(),
		slices.Min(t.took).Milliseconds(), slices.Max(t.took).Milliseconds())
}

// report prints both sides and the ratio of their medians.
func report(ours, theirs *timing) {
	fmt.Printf("%s\n%s\n%52s ratio of medians %.2f (%d rounds, in turn)\n\n", ours, theirs, "",
		float64(ours.median())/float64(theirs.median()), len(ours.took))
}

// must runs a command to its end.
func must(tb testing.TB, name string, args ...string) {
	tb.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		tb.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
}

// A start with its self-test, and a stop with its capture, against
// docker-compose on the very file that bottle-start rendered. docker-compose
// returns before egress is ready, tests nothing and captures nothing. The least
// that could be asked of the engine shows how much of each is the engine's.
func TestUpAndDownAgainstCompose(t *testing.T) {
	long(t)
	rounds, _ := size()
	r := rig.New(t)
	r.Agent("dev", "allowed.test")
	r.Start("dev") // the shared network is external in the file: somebody must have it up
	model := r.Start("dev")
	file := filepath.Join(r.Home, "state", model, "docker-compose.yml")
	compose := func(args ...string) {
		must(t, "docker-compose", append([]string{"-p", "bottle-" + model, "-f", file}, args...)...)
	}
	least := readPlan(t, r, model)
	compose("down", "-v") // its state stays: the file's mounts are there
	up, composeUp := &timing{name: "bottle-start --detach --workspace none, self-test"}, &timing{name: "docker-compose up -d"}
	bareUp, bareDown := &timing{name: "the engine's calls alone, up"}, &timing{name: "the engine's calls alone, down"}
	down, composeDown := &timing{name: "bottle-stop, capture included"}, &timing{name: "docker-compose down -v"}
	for range rounds {
		var slug string
		up.run(t, func() { slug = r.Start("dev") })
		composeUp.run(t, func() { compose("up", "-d") })
		down.run(t, func() {
			if _, said, code := r.Run("bottle-stop", slug); code != 0 {
				t.Fatalf("bottle-stop ended with %d: %s", code, said)
			}
		})
		composeDown.run(t, func() { compose("down", "-v") })
		bareUp.run(t, func() { least.up(t) })
		bareDown.run(t, func() { least.down(t) })
	}
	report(up, composeUp)
	report(bareUp, composeUp)
	report(down, composeDown)
	report(bareDown, composeDown)
}

// What is looked at while many bottles run: all of it looks at the same ones.
func TestManyBottlesAreLookedAt(t *testing.T) {
	rounds, bottles := size()
	r := rig.New(t)
	r.Agent("dev")
	startMany(t, r, bottles)
	t.Run("list", func(t *testing.T) { listAgainstDockerPs(t, r, rounds, bottles) })
	t.Run("status line", func(t *testing.T) { statusLine(t, r, rounds, bottles) }) // while no agent does anything
	t.Run("watch", func(t *testing.T) { watchShowsAnActivity(t, r, rounds, bottles) })
}

func listAgainstDockerPs(t *testing.T, r *rig.Rig, rounds, bottles int) {
	list := &timing{name: fmt.Sprintf("bottle-ls, %d bottles", bottles)}
	ps, psAll := &timing{name: "docker ps"}, &timing{name: "docker ps -a"}
	for range rounds * 4 {
		list.run(t, func() {
			if _, said, code := r.Run("bottle-ls"); code != 0 {
				t.Fatalf("bottle-ls ended with %d: %s", code, said)
			}
		})
		ps.run(t, func() { must(t, "docker", "ps") })
		psAll.run(t, func() { must(t, "docker", "ps", "-a") })
	}
	report(list, ps)
	report(list, psAll)
}
