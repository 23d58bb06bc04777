package lifecycle

import "fmt"

// trouble is what an operator's hand, or a machine's, does to a bottle that runs. It
// is shown for what it is, and a resume mends it.
type trouble struct {
	name   string
	harm   func(*resumable)
	reason func(*resumable) string
	lives  bool // the agent's session goes on
}

var troubles = []trouble{
	{"the uplink removed by hand", func(r *resumable) {
		r.Docker("network", "disconnect", "-f", uplink(r), egressName(r.slug))
		r.Docker("network", "disconnect", "-f", r.u.Network, egressName(r.slug)) // the tests' own way
		r.Docker("network", "rm", uplink(r))
	}, func(r *resumable) string { return "egress is not in network " + uplink(r) }, true},

	{"its own network removed by hand", func(r *resumable) {
		inner := "bottle-" + r.slug + "_inner"
		for _, name := range r.Containers(r.slug) {
			r.Docker("network", "disconnect", "-f", inner, name)
		}
		r.Docker("network", "rm", inner)
	}, func(r *resumable) string {
		inner := "bottle-" + r.slug + "_inner"
		return "agent is not in network " + inner + "; egress is not in network " + inner + "; supervise is not in network " + inner
	}, false},

	{"a sidecar killed", func(r *resumable) { r.Docker("kill", egressName(r.slug)) },
		func(*resumable) string { return "not up: egress (ended with exit code 137)" }, true},

	{"a sidecar removed", func(r *resumable) { r.Docker("rm", "-f", egressName(r.slug)) },
		func(*resumable) string { return "not up: egress" }, true},

	{"a sidecar out of memory", func(r *resumable) {
		limitMemory(r)
		r.Inside(r.slug, "bash", "-c", `while exec {fd}<>/dev/tcp/egress/3128; do printf 'CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n' >&$fd; done`)
		r.Docker("wait", egressName(r.slug))
		r.Docker("update", "--memory", "256m", "--memory-swap", "256m", egressName(r.slug))
	}, func(*resumable) string { return "not up: egress (ended, out of memory)" }, true},
}

// limitMemory leaves a sidecar little more than it has: an engine takes no limit
// below that, nor one under 6 MiB.
func limitMemory(r *resumable) {
	var err error
	for mib := 6; mib < 64; mib++ {
		limit := fmt.Sprintf("%dm", mib)
		if _, err = r.TryDocker("update", "--memory", limit, "--memory-swap", limit, egressName(r.slug)); err == nil {
			return
		}
	}
	r.t.Fatal(err)
}

func uplink(r *resumable) string { return "bottle-uplink-" + homeID(r.t, r.Rig) }
