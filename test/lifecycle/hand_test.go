package lifecycle

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/test/rig"
)

// What an image says of health checks and signals would run before the walls
// were tried, and in the capture's container speak on the bundle's stream.
func TestAnImageDoesNotSpeakForBottleInside(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Agent("dev")
	r.Write("agents/dev.Dockerfile", "FROM bottle\nHEALTHCHECK --interval=1s CMD sh -c 'echo {} >/proc/1/fd/1; touch /tmp/ran'\nSTOPSIGNAL SIGUSR1\n")
	slug := withWork(t, r)
	said := r.Docker("inspect", "-f", "{{if .State.Health}}checked{{end}} {{.Config.StopSignal}}", "bottle-"+slug+"-agent-1")
	if strings.TrimSpace(said) != "SIGTERM" {
		t.Errorf("the engine says %q of the agent's container", said)
	}
	wantWork(t, r, slug)
}

func TestAVolumeOfTheImagesIsRefused(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Agent("dev")
	r.Write("agents/dev.Dockerfile", "FROM bottle\nVOLUME /work/cache\n")
	_, said, code := r.Run("bottle-start", "--yes", "--detach", "--workspace", "none", "dev")
	if code != 1 || !strings.Contains(said, "dev.Dockerfile: line 2: VOLUME is not taken") {
		t.Errorf("ended with %d: %s", code, said)
	}
	wantNothing(t, r)
}

func TestANameWhoseStateWasRemovedByHandIsNotTaken(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Agent("dev")
	slug := withWork(t, r)
	if err := os.RemoveAll(filepath.Join(r.Home, "state", slug)); err != nil {
		t.Fatal(err)
	}
	_, said, code := r.Run("bottle-start", "--yes", "--detach", "--workspace", "none", "--name", slug, "dev")
	if code != 6 || !strings.Contains(said, "still holds an earlier bottle of that name\nhint: bottle-stop "+slug+" keeps its work") {
		t.Errorf("ended with %d: %s", code, said)
	}
	wantWork(t, r, slug)
}

func TestWorkOfWhichNothingElseIsLeftIsKept(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Agent("dev")
	slug := withWork(t, r)
	if err := os.RemoveAll(filepath.Join(r.Home, "state", slug)); err != nil {
		t.Fatal(err)
	}
	r.Docker("rm", "-f", "bottle-"+slug+"-agent-1", "bottle-"+slug+"-egress-1")
	wantWork(t, r, slug)
}
