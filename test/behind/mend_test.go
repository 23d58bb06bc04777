package behind

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"bottle/pkg/bottle"
	"bottle/test/rig"
)

func (l *lab) awaitStatus(status bottle.Status) {
	l.t.Helper()
	l.AwaitBottle("it is "+string(status), func(b bottle.Bottle) bool { return b.Status == status })
}

func (l *lab) bottle() bottle.Bottle {
	l.t.Helper()
	list := l.Bottles()
	if len(list) != 1 {
		l.t.Fatalf("%+v", list)
	}
	return list[0]
}

// A pipelock whose program hangs is connected to, and answers nothing: the bottle
// shows it, and a resume makes it anew.
func TestAPipelockThatHangsIsSeenAndMended(t *testing.T) {
	t.Parallel()
	l := start(t)
	if _, real := l.PipelockImage(); real {
		t.Skip("a real pipelock cannot be told to hang")
	}
	l.wants(l.ask("https://one.test/hang-now"), "200")
	l.awaitStatus(bottle.Degraded)
	if b := l.bottle(); b.Reason != "pipelock does not answer: run bottle-start --resume "+l.slug {
		t.Errorf("%s", b.Reason)
	}
	if _, said, code := l.Run("bottle-start", "--resume", l.slug); code != 0 {
		t.Fatalf("the resume ended with %d: %s", code, said)
	}
	l.u.JoinPipelock(l.slug) // another container
	l.awaitStatus(bottle.Running)
	l.wants(l.ask("https://one.test/again"), "200")
	told := l.AwaitEvents(l.slug, "tell of pipelock", 2, func(e bottle.Event) bool { return e.Kind == "pipelock" })
	l.wants(told[0].Reason, "did not answer in time")
	l.wants(told[1].Reason, "it answers again")
}

// A bottle-edit that is killed when its file is there, and pipelock has not taken it:
// the next program has it taken, and records the edit, once.
func TestAKilledEditIsMendedByTheNextProgram(t *testing.T) {
	t.Parallel()
	l := start(t)
	state := filepath.Join(l.Home, "state", l.slug)
	there := func(name string) bool {
		_, err := os.Lstat(filepath.Join(state, name))
		return err == nil
	}
	before := l.file()
	l.Env = []string{"EDITOR=sed -i 's/idle_timeout_seconds: 300/idle_timeout_seconds: 200/;s/  - one.test/  - other.test/'"}
	// Pipelock takes what nobody can see to be in force by a restart.
	way := l.StallAt("/containers/" + l.container("pipelock") + "/stop")
	cmd := way.Command(l.Rig, "bottle-edit", "--yes", l.slug, "pipelock")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := rig.Patient(t)
	defer cancel()
	select {
	case <-way.Stalled:
	case <-ctx.Done():
		t.Fatal("it does not come to restart pipelock")
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if l.file() == before || !there("change.json") || !there("pipelock/previous.yaml") {
		t.Fatal("it was not killed in the middle")
	}
	if _, said, code := l.Run("bottle-ls", "grants"); code != 0 {
		t.Fatalf("%d: %s", code, said)
	}
	if there("change.json") || there("pipelock/previous.yaml") {
		t.Error("it is not mended")
	}
	l.wants(l.file(), "- other.test", "idle_timeout_seconds: 200")
	l.wants(l.ask("https://one.test/"), "502", "domain not in allowlist")
	out, said, code := l.Shell(`jq -r 'select(.sidecar=="pipelock").kind' "$BOTTLE_HOME/audit.jsonl"`)
	if _, real := l.PipelockImage(); code != 0 || !real && out != "edit\n" {
		t.Errorf("%d: recorded is %q %s", code, out, said)
	}
}

// A pipelock that is only starting would be ended by the signal of a reload: an
// approval waits until it answers.
func TestAPipelockThatStartsIsNotEndedByAReload(t *testing.T) {
	t.Parallel()
	l := start(t, "two.test")
	if _, real := l.PipelockImage(); real {
		t.Skip("a real pipelock cannot be told to wait")
	}
	l.mustEdit("'s/  - one.test/&\\n  - wait-run.test/'")
	id := l.proposed("two.test")
	l.Docker("restart", l.container("pipelock"))
	since := l.started()
	type end struct {
		said string
		code int
	}
	ended := make(chan end, 1)
	go func() {
		_, said, code := l.Run("bottle-approve", id)
		ended <- end{said, code}
	}()
	ctx, cancel := rig.Patient(t)
	defer cancel()
	for !strings.Contains(l.Docker("top", l.container("egress"), "-o", "pid,args"), "bottle-egress pipelock") {
		if ctx.Err() != nil {
			t.Fatal("pipelock is not asked")
		}
	}
	l.Docker("kill", "-s", "USR1", l.container("pipelock"))
	if e := <-ended; e.code != 0 {
		t.Fatalf("%d: %s", e.code, e.said)
	}
	if l.started() != since {
		t.Error("pipelock was ended, and started again")
	}
	l.wants(l.ask("https://two.test/"), "200")
}
