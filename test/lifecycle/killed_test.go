package lifecycle

import (
	"strconv"
	"testing"

	"bottle/pkg/plan"
	"bottle/test/rig"
)

// The namespace of a container that was killed is gone, so nothing says no to who
// connects to it, and its neighbours know its address a while longer.
func TestAKilledSidecarIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Write("bottles/dev.md", "---\ngit: {remotes: {here: {}}}\n---\n")
	r.Write("agents/dev.md", "---\nbottle: dev\nprogram: shell\n---\n")
	slug := r.Start("dev")
	const most = 60 // seconds, on a busy machine; one that nobody answers tries for two minutes
	for _, c := range []struct {
		service string
		curl    []string
	}{
		{plan.GateService, []string{"http://git-gate/"}},
		{plan.SuperviseService, []string{"http://supervise/"}},
		{plan.EgressService, []string{"--proxy", "http://egress:3128", "http://docs.example/"}},
	} {
		connect := func() (seconds float64, code int) {
			t.Helper()
			said, _, code := r.Inside(slug, append([]string{"curl", "-sS", "-o", "/dev/null", "-m", "150", "-w", "%{time_total}"}, c.curl...)...)
			seconds, err := strconv.ParseFloat(said, 64)
			if err != nil {
				t.Fatal(err)
			}
			return seconds, code
		}
		connect() // now the agent knows its neighbour
		r.Docker("kill", plan.ContainerName(slug, c.service))
		seconds, code := connect()
		t.Logf("%s: %.1f s, curl's code %d", c.service, seconds, code)
		if code == 0 || seconds > most {
			t.Errorf("who connects to a killed %s waits for %.1f s, and curl ends with %d", c.service, seconds, code)
		}
	}
}
