package escape

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func directConnections(t *testing.T, s *stage) {
	s.holds(t, "A1")
	s.falls(t, "A1", "it was reached")
	// What came straight to the internet came from the containers without walls.
	weak := map[netip.Addr]bool{s.addresses(t, s.weak)[s.u.Network]: true, s.addresses(t, s.leaky)[s.u.Network]: true}
	arrived := map[string]bool{}
	for _, e := range s.u.Log() {
		if e.Kind != "tcp" && e.Kind != "udp" {
			continue
		}
		arrived[e.Kind] = true
		if from := netip.MustParseAddrPort(e.From); !weak[from.Addr().Unmap()] {
			t.Errorf("a direct %s came from %s", e.Kind, from)
		}
	}
	if !arrived["tcp"] || !arrived["udp"] {
		t.Errorf("without walls only %v arrived", arrived)
	}
}

func theHost(t *testing.T, s *stage) {
	s.holds(t, "A4")
	if n := s.host.came.Load(); n > 0 {
		t.Errorf("%d connections from the bottle came to the host", n)
	}
	s.falls(t, "A4", "it answered")
	if s.host.came.Load() == 0 {
		t.Error("without walls nothing came to the host either: the listener proves nothing")
	}
}

func anotherBottle(t *testing.T, s *stage) {
	// The neighbour is there: its own agent reaches its egress.
	if out, _, code := s.r.Inside(s.other, "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "http://egress/"); code != 0 || out != "403" {
		t.Fatalf("the neighbour does not reach its own egress: %d %s", code, out)
	}
	s.holds(t, "A5")
	s.falls(t, "A5", fmt.Sprintf("UDP to %s:53: it was reached", s.u.Addr))
}

func uplink(t *testing.T, s *stage) {
	// The addresses are alive: the host, which has a way there, is answered.
	for _, a := range s.targets.Uplink {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(a.String(), "3128"), time.Minute)
		if err == nil {
			conn.Close()
			t.Errorf("egress listens on %s, where no agent is", a)
		} else if !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("%s does not answer the host either, so it proves nothing: %v", a, err)
		}
	}
	s.holds(t, "A12")
	s.falls(t, "A12", "it was reached")
	// Nor do the members of the uplink reach one another.
	for network, a := range s.addresses(t, egressOf(s.other)) {
		if !strings.HasPrefix(network, "bottle-uplink-") {
			continue
		}
		name := s.r.Container("member", "--network", "container:"+egressOf(s.slug), "--user", "0:0", "--entrypoint", "/bin/sleep", s.image(agentOf(s.slug)), "infinity")
		out, err := s.r.TryDocker("exec", name, "curl", "-sS", "--noproxy", "*", "-m", "2", "http://"+a.String()+":3128/")
		if err == nil || strings.Contains(err.Error(), "refused") {
			t.Errorf("one egress reaches another over the uplink: %s %v", out, err)
		}
	}
}
