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

func TestWorkThatCannotBeReadIsToldOrKept(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Agent("dev")
	some, none := withWork(t, r), r.Start("dev")
	for _, slug := range []string{some, none} {
		if _, said, code := r.Inside(slug, "sh", "-c", "mkdir /work/shut; echo >/work/shut/work; chmod 0 /work/shut"); code != 0 {
			t.Fatal(said)
		}
	}
	out, said, code := r.Run("bottle-stop", some)
	if code != 0 || !strings.Contains(out, `"notes":["\"shut\" cannot be read`) || !strings.Contains(said, some+": note: \"shut\" cannot be read") {
		t.Errorf("ended with %d: %s%s", code, out, said)
	}
	out, said, code = r.Run("bottle-stop", none)
	if code != 1 || !strings.Contains(out, `"kept":true`) || !strings.Contains(said, `nothing of it can be captured: "shut" cannot be read`) {
		t.Errorf("ended with %d: %s%s", code, out, said)
	}
	if _, said, code := r.Run("bottle-stop", "--discard", none); code != 0 {
		t.Errorf("ended with %d: %s", code, said)
	}
	wantNothing(t, r)
}

func TestACaptureWhoseEngineGoesAwayTellsHowItGoesOn(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Agent("dev")
	slug := withWork(t, r)
	for n, kept := 8, false; !kept; n++ { // the first requests only look
		out, said, code := r.CutAfter(n).Through(r, "bottle-stop", slug)
		if kept = strings.Contains(out, `"kept":true`); !kept && code == 5 {
			continue
		}
		if code != 5 || strings.Contains(said, "--discard") || !strings.Contains(said, slug+": kept, with its work; bottle-stop "+slug+" goes on") {
			t.Fatalf("ended with %d: %s%s", code, out, said)
		}
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
	r.DropContainers(slug)
	wantWork(t, r, slug)
}
