package behind

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/fsnotify/fsnotify"

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
	out, said, code := l.Shell("bottle-log " + l.slug + ` | jq -r 'select(.kind=="pipelock").reason'`)
	if code != 0 || !strings.Contains(out, "did not answer in time") || !strings.Contains(out, "it answers again") {
		t.Errorf("%d: %s%s", code, out, said)
	}
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
	changes, err := fsnotify.NewWatcher()
	if err == nil {
		defer changes.Close()
		err = changes.Add(filepath.Join(state, "pipelock/in"))
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := l.Command(t.Context(), "bottle-edit", "--yes", l.slug, "pipelock")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := rig.Patient(t)
	defer cancel()
	for l.file() == before {
		select {
		case <-changes.Events:
		case err := <-changes.Errors:
			t.Fatal(err)
		case <-ctx.Done():
			t.Fatal("its file is not there")
		}
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if !there("change.json") || !there("pipelock/previous.yaml") {
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
