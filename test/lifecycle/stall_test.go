package lifecycle

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/test/rig"
)

// interrupt interrupts a program over and over, as an operator does who does not
// want to wait, and returns how often it took and what was said.
func interrupt(t *testing.T, cmd *exec.Cmd, when <-chan struct{}) (times int, said string, code int) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stderr = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	select {
	case <-when:
	case <-ended: // it needed fewer requests
		return 0, out.String(), cmd.ProcessState.ExitCode()
	}
	for times = 1; ; times++ {
		cmd.Process.Signal(os.Interrupt)
		wait := 700 * time.Millisecond
		if times == 2 { // now it has only to end
			wait = time.Minute
		}
		select {
		case <-ended:
			return times, out.String(), cmd.ProcessState.ExitCode()
		case <-time.After(wait):
		}
		if times == 2 {
			cmd.Process.Kill()
			<-ended
			t.Fatalf("%s goes on after %d interrupts: %s", cmd.Args, times, out.String())
		}
	}
}

func TestAnEngineThatStallsHoldsNobody(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Agent("dev")
	start := []string{"--yes", "--detach", "--workspace", "none", "dev"}
	whole := r.CutAfter(1 << 20)
	out, said, code := whole.Through(r, "bottle-start", start...)
	if code != 0 {
		t.Fatalf("bottle-start ended with %d: %s", code, said)
	}
	for n := 1; n < whole.Requests(); n += 5 {
		way := r.StallAfter(n)
		if times, said, code := interrupt(t, way.Command(r, "bottle-start", start...), way.Stalled); times > 0 && code != 130 {
			t.Errorf("bottle-start at request %d, after %d interrupts: %d, %s", n, times, code, said)
		}
	}
	slug := strings.TrimSpace(out)
	for n := 1; n < 24; n += 5 {
		if !slices.ContainsFunc(r.Bottles(), func(b bottle.Bottle) bool { return b.Slug == slug }) {
			break
		}
		way := r.StallAfter(n)
		if times, said, code := interrupt(t, way.Command(r, "bottle-stop", slug), way.Stalled); times > 0 && code != 130 {
			t.Errorf("bottle-stop at request %d, after %d interrupts: %d, %s", n, times, code, said)
		}
	}
	if _, said, code := r.Run("bottle-stop", "--orphans", "--yes"); code != 0 {
		t.Errorf("the reaper ended with %d: %s", code, said)
	}
	r.Run("bottle-stop", "--all")
	wantNothing(t, r)
}

func stalledIsListedAsAway(t *testing.T, r *rig.Rig, slug string) {
	for _, args := range [][]string{nil, {"agents"}} {
		out, said, code := r.StallAfter(0).Through(r, "bottle-ls", args...)
		if code != 5 || !strings.Contains(said, "the Docker engine has not answered for 15s") || !rig.OneLine("bottle-ls", said) {
			t.Errorf("%v ended with %d: %s", args, code, said)
		}
		if len(args) == 0 && !strings.Contains(out, `"slug":"`+slug+`"`) || strings.Count(out, "\n") != 1 {
			t.Errorf("%v lists %s", args, out)
		}
	}
}
