package escape

import (
	"strings"
	"testing"
)

func rawSockets(t *testing.T, s *stage) {
	s.holds(t, "A2")
	s.falls(t, "A2", "a raw ICMP socket: it worked")
}

func layerTwo(t *testing.T, s *stage) {
	s.holds(t, "A6")
	s.falls(t, "A6", "a packet socket: it worked", "SIOCSARP: it worked", "a neighbour entry: it worked")
	// Should a frame come all the same, egress is no router.
	for container, want := range map[string]string{egressOf(s.slug): "0", s.weak: "1"} {
		out := s.r.Docker("run", "--rm", "--network", "container:"+container, "--entrypoint", "cat", s.image(agentOf(s.slug)), "/proc/sys/net/ipv4/ip_forward")
		if got := strings.TrimSpace(out); got != want {
			t.Errorf("%s has ip_forward=%s, not %s", container, got, want)
		}
	}
}

func ipv6(t *testing.T, s *stage) {
	s.holds(t, "A7")
	s.falls(t, "A7", "v4-mapped")
	if hasIPv6() {
		s.falls(t, "A7", "the container has ")
	}
}

func kernelDoors(t *testing.T, s *stage) {
	s.holds(t, "A8")
	s.falls(t, "A8", "netlink beyond routes: it worked")
}

// engineAndRuntime is A10.
func engineAndRuntime(t *testing.T, s *stage) {
	t.Run("no socket of the engine's", func(t *testing.T) {
		const look = `ls -d /var/run/docker* /run/docker* /run/containerd* 2>/dev/null; find / -xdev -type s -not -path '/proc/*' -not -path '/tmp/*' 2>/dev/null; env | grep ^DOCKER`
		out, said, _ := s.r.Inside(s.slug, "sh", "-c", look+"; echo looked")
		if strings.TrimSpace(out) != "looked" {
			t.Errorf("there is %q (%s)", out, said)
		}
	})
	t.Run("runsc demanded", func(t *testing.T) {
		if strings.Contains(s.r.Docker("info", "-f", "{{json .Runtimes}}"), `"runsc"`) {
			t.Log("this engine has runsc: that its lack is refused, pkg/plan tests")
			return
		}
		s.r.Write("bottles/strict.md", "---\nruntime: runsc\n---\n")
		s.r.Write("agents/strict.md", "---\nbottle: strict\nprogram: shell\n---\n")
		out, said, code := s.r.Run("bottle-start", "--yes", "--detach", "--workspace", "none", "strict")
		if code == 0 || !strings.Contains(said, "runsc") {
			t.Errorf("a bottle that demands runsc ended with %d: %s%s", code, out, said)
		}
		if left := s.r.Docker("ps", "-aq", "--filter", "name=bottle-strict"); left != "" {
			t.Errorf("it left %s", left)
		}
		// The same bottle without the demand starts.
		s.r.Write("bottles/strict.md", "---\nruntime: runc\n---\n")
		s.r.Start("strict")
	})
}
