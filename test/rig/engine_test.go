package rig

import (
	"strings"
	"testing"
)

const smallImage = "bottle-base:bookworm"

func TestPrivateEngine(t *testing.T) {
	e := PrivateEngine(t, EngineOptions{DiskMiB: 400, Config: map[string]any{"live-restore": true}})
	r := e.Rig()
	e.Load(smallImage)
	t.Run("has an internet of its own", func(t *testing.T) { hasAnInternetOfItsOwn(t, e, r) })
	t.Run("ends in the middle and starts again", func(t *testing.T) { endsInTheMiddleAndStartsAgain(t, e, r) })
	// What writes into a home to the last does not keep it from being removed.
	r.Container("writes", "-v", r.Home+":/home", smallImage, "bash", "-c", "while :; do mkdir -p /home/state/x; echo >/home/state/x/$RANDOM; done")
}

func hasAnInternetOfItsOwn(t *testing.T, e *Engine, r *Rig) {
	if ours, other := r.Docker("info", "-f", "{{.ID}}"), func() string { id, _ := client("info", "-f", "{{.ID}}"); return id }(); ours == other {
		t.Errorf("both engines are %s", ours)
	}
	// A container on an ordinary network gets out, to where all is recorded.
	r.Docker("run", "--rm", smallImage, "bash", "-c", "echo hello >/dev/tcp/198.51.100.7/9 || getent hosts whoever.test")
	if heard := Heard(e.Internet(), "tcp 198.51.100.7:9"); len(heard) == 0 {
		t.Errorf("the internet saw nothing of it: %+v", e.Internet())
	}
	out, err := e.Command(t.Context(), "getent", "hosts", "whoever.test").Output()
	if err != nil || !strings.HasPrefix(string(out), "192.0.2.1") {
		t.Errorf("on the engine's host the name resolves to %q, %v", out, err)
	}
	if len(Heard(e.Resolver(), "whoever.test")) == 0 {
		t.Errorf("the host's name server heard nothing: %+v", e.Resolver())
	}
}

func endsInTheMiddleAndStartsAgain(t *testing.T, e *Engine, r *Rig) {
	name := r.Container("lives", "--init", smallImage, "sleep", "1000")
	running := func() string { return strings.TrimSpace(r.Docker("inspect", "-f", "{{.State.Running}}", name)) }
	e.Kill()
	if out, err := r.TryDocker("version"); err == nil {
		t.Errorf("a killed engine answers: %s", out)
	}
	e.Start()
	if got := running(); got != "true" {
		t.Errorf("after a kill the container runs: %s", got)
	}
	e.Stop()
	e.Start()
	if got := running(); got != "true" {
		t.Errorf("after a stop the container runs: %s", got)
	}
	if out, err := r.TryDocker("run", "--rm", smallImage, "dd", "if=/dev/zero", "of=/filled", "bs=1M", "count=400"); err == nil || !strings.Contains(err.Error(), "No space left") {
		t.Errorf("on a small disk: %s %v", out, err)
	}
}
