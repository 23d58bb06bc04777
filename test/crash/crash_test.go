// Package crash kills the programs at random moments, on a real engine, and
// sees that the next ones find the truth: nothing is left that nothing owns,
// nothing of another home is touched, no file is half-written, and no work is
// lost.
package crash

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"bottle/pkg/bottle"
	"bottle/pkg/plan"
	"bottle/test/rig"
)

var (
	rounds = flag.Int("rounds", 30, "how many programs are killed")
	seed   = flag.Uint64("seed", 0, "of the random moments; 0: a new one")
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }

// How long the programs take at most here, about: the moments are drawn from it.
const (
	startTime  = 700 * time.Millisecond
	resumeTime = 600 * time.Millisecond
	stopTime   = 500 * time.Millisecond
	attachTime = 150 * time.Millisecond
)

// arena is the home whose programs are killed, and what is known of its work.
type arena struct {
	*rig.Rig
	t     *testing.T
	dice  *rand.Rand
	alive []string          // bottles that are up and were not stopped
	work  map[string]string // slug → what its agent committed
	kills map[string]int    // program → how often one was killed while it ran
}

func TestKilledProgramsLeaveNothingBehindAndLoseNothing(t *testing.T) {
	t.Parallel()
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", s)
	a := &arena{Rig: repository(t, rig.New(t)), t: t, dice: rand.New(rand.NewPCG(s, 0)), work: map[string]string{}, kills: map[string]int{}}
	a.Agent("dev")
	other := newNeighbour(t)
	for n := range *rounds {
		a.round(n)
		if n%10 == 9 {
			a.reap()
			other.wantUntouched(t)
		}
	}
	a.reap()
	other.wantUntouched(t)
	a.stopAll()
	t.Logf("killed: %v", a.kills)
	if a.kills["bottle-start"] == 0 || a.kills["bottle-stop"] == 0 {
		t.Error("no program was killed while it ran: the test shows nothing")
	}
}

// repository makes the rig's folder a small git repository.
func repository(t *testing.T, r *rig.Rig) *rig.Rig {
	t.Helper()
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"config", "user.name", "Ada"}, {"config", "user.email", "ada@example.com"},
		{"commit", "-q", "--allow-empty", "-m", "first"}} {
		git(t, r.Dir, args...)
	}
	return r
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (a *arena) round(n int) {
	switch {
	case n%3 == 2:
		a.killStop(n)
	case n%7 == 3 && len(a.alive) > 0:
		a.kill("bottle-attach", attachTime, a.alive[0], "--", "sleep", "30")
	default:
		a.kill("bottle-start", startTime, "--yes", "--detach", "dev")
	}
}

// kill runs a program and kills it after a while, at most about as long as it
// takes.
func (a *arena) kill(program string, most time.Duration, args ...string) {
	a.t.Helper()
	a.killed(a.Command(a.t.Context(), program, args...), program, most)
}

// killed is kill for a program that is prepared.
func (a *arena) killed(cmd *exec.Cmd, program string, most time.Duration) {
	a.t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what it starts dies with it
	if err := cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	select {
	case <-time.After(time.Duration(a.dice.Int64N(int64(most)))):
		a.kills[program]++
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
	case <-ended:
	}
}

// killStop has an agent work, and kills the stop of its bottle.
func (a *arena) killStop(n int) {
	a.t.Helper()
	out, said, code := a.Run("bottle-start", "--yes", "--detach", "dev")
	if code != 0 {
		a.t.Fatalf("bottle-start ended with %d: %s", code, said)
	}
	slug, work := strings.TrimSpace(out), fmt.Sprintf("work of round %d", n)
	script := "cd /work && echo '" + work + "' >work && git add work && git commit -qm '" + work + "'"
	if _, said, code := a.Inside(slug, "sh", "-c", script); code != 0 {
		a.t.Fatalf("the agent's work ended with %d: %s", code, said)
	}
	a.work[slug] = work
	if n%2 == 0 {
		a.alive = append(a.alive, slug)
		return
	}
	a.kill("bottle-stop", stopTime, slug)
}

// reap clears up and looks at what is left. What a killed program asked of the engine
// may come to it only then: that is the next reaper's.
func (a *arena) reap() {
	a.t.Helper()
	ctx, cancel := rig.Patient(a.t)
	defer cancel()
	left := a.reapOnce()
	for ; len(left) > 0 && ctx.Err() == nil; left = a.reapOnce() {
		a.t.Logf("after a reaper there are %v", left)
	}
	if len(left) > 0 {
		a.t.Errorf("whatever is reaped, there are %v", left)
	}
	for _, dir := range []string{"", "state"} {
		for _, name := range entries(a.t, a.Home, dir) {
			if strings.HasPrefix(name, ".tmp-") {
				a.t.Errorf("%s is left", filepath.Join(dir, name))
			}
		}
	}
}

// reapOnce clears up once, and returns what nothing owns all the same.
func (a *arena) reapOnce() (left []string) {
	a.t.Helper()
	if _, said, code := a.Run("bottle-stop", "--orphans", "--yes"); code != 0 {
		a.t.Errorf("the reaper ended with %d: %s", code, said)
	}
	out, said, code := a.Run("bottle-stop", "--orphans", "--dry-run")
	if code != 0 {
		a.t.Errorf("the reaper that only looks ended with %d: %s", code, said)
	}
	if out != "" {
		left = append(left, out)
	}
	owned := map[string]bool{}
	for _, slug := range entries(a.t, a.Home, "state") {
		owned[slug] = true
		if b := a.sound(slug); !b.Ran {
			left = append(left, slug+", which never ran and is "+string(b.Status))
		}
	}
	for _, o := range holdings(a.t, a.Rig) {
		if o.slug != "" && !owned[o.slug] {
			left = append(left, o.String())
		}
	}
	return left
}

// sound reads the documents of a bottle's state directory whole.
func (a *arena) sound(slug string) bottle.Bottle {
	a.t.Helper()
	dir := filepath.Join(a.Home, "state", slug)
	var b bottle.Bottle
	var p plan.Plan
	var compose map[string]any
	for name, decode := range map[string]func([]byte) error{
		"metadata.json":      func(data []byte) error { return json.Unmarshal(data, &b) },
		"plan.json":          func(data []byte) error { return json.Unmarshal(data, &p) },
		"docker-compose.yml": func(data []byte) error { return yaml.Unmarshal(data, &compose) },
	} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = decode(data)
		}
		if err != nil {
			a.t.Errorf("%s of %s: %v", name, slug, err)
		}
	}
	return b
}

// stopAll stops what is left: all work must be there, and nothing else.
func (a *arena) stopAll() {
	a.t.Helper()
	for _, slug := range a.alive {
		if out, said, _ := a.Inside(slug, "pgrep", "-x", "sleep"); out != "" {
			a.t.Errorf("a killed bottle-attach left its command in %s: %s%s", slug, out, said)
		}
	}
	if out, said, code := a.Run("bottle-stop", "--all"); code != 0 && len(entries(a.t, a.Home, "state")) > 0 {
		a.t.Errorf("bottle-stop --all ended with %d: %s%s", code, out, said)
	}
	if left := holdings(a.t, a.Rig); len(left) > 0 {
		a.t.Errorf("the engine still holds %v", left)
	}
	if left := entries(a.t, a.Home, "state"); len(left) > 0 {
		a.t.Errorf("state is left: %v", left)
	}
	for slug, work := range a.work {
		bundle := filepath.Join(a.Home, "history", slug, "work.bundle")
		git(a.t, a.Dir, "-c", "transfer.fsckObjects=true", "fetch", "-q", "--no-tags", bundle, "refs/heads/*:refs/heads/bottle/"+slug+"/*")
		if got := strings.TrimSpace(git(a.t, a.Dir, "show", "bottle/"+slug+"/work:work")); got != work {
			a.t.Errorf("the work of %s is %q, want %q", slug, got, work)
		}
	}
}

func entries(t *testing.T, home, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(filepath.Join(home, dir))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

// holding is something that the engine has of a home.
type holding struct{ kind, name, slug string }

func (h holding) String() string { return h.kind + " " + h.name }

func holdings(t *testing.T, r *rig.Rig) []holding {
	t.Helper()
	id, err := os.ReadFile(filepath.Join(r.Home, "id"))
	if err != nil {
		t.Fatal(err)
	}
	var list []holding
	for kind, args := range map[string][]string{"container": {"ps", "-a"}, "network": {"network", "ls"}, "volume": {"volume", "ls"}} {
		name := "{{.Name}}"
		if kind == "container" {
			name = "{{.Names}}"
		}
		out := r.Docker(append(args, "--filter", "label=bottle.home="+strings.TrimSpace(string(id)), "--format", name+"\t{{.Label \"bottle.slug\"}}")...)
		for line := range strings.Lines(out) {
			name, slug, _ := strings.Cut(strings.TrimSpace(line), "\t")
			list = append(list, holding{kind, name, slug})
		}
	}
	slices.SortFunc(list, func(a, b holding) int { return strings.Compare(a.String(), b.String()) })
	return list
}

// neighbour is another home on the same engine, with a bottle that lives and
// with what a killed start left: neither is ours to judge.
type neighbour struct {
	*rig.Rig
	held  []holding
	state []string
}

func newNeighbour(t *testing.T) *neighbour {
	t.Helper()
	n := &neighbour{Rig: rig.New(t)}
	n.Agent("dev")
	n.Start("dev")
	id := homeID(t, n.Rig)
	for _, slug := range []string{"dev-dead", "dev-gone"} { // the one has a state directory, the other has none
		n.Docker("volume", "create", "--label", "bottle.home="+id, "--label", "bottle.slug="+slug, "bottle-"+slug+"_"+id)
	}
	n.Write("state/dev-dead/lock", "")
	n.Write("state/dev-dead/metadata.json", `{"slug":"dev-dead","agent":"dev","status":"starting","home":"`+id+`"}`)
	n.held, n.state = holdings(t, n.Rig), entries(t, n.Home, "state")
	return n
}

func homeID(t *testing.T, r *rig.Rig) string {
	t.Helper()
	id, err := os.ReadFile(filepath.Join(r.Home, "id"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(id))
}

func (n *neighbour) wantUntouched(t *testing.T) {
	t.Helper()
	if now := holdings(t, n.Rig); !slices.Equal(now, n.held) {
		t.Errorf("of another home the engine held %v, and now %v", n.held, now)
	}
	if now := entries(t, n.Home, "state"); !slices.Equal(now, n.state) {
		t.Errorf("another home's state was %v and is %v", n.state, now)
	}
}
