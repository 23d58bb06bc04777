package escape

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const reason = "egress: " + refused + " is not on this bottle's allowlist"

// http11 has curl speak HTTP/1.1, whose status line tells what these rows look
// for. E20 and E21 try HTTP/2.
const http11 = "--http1.1"

// ask requests a path of a host from inside a bottle and returns what came.
func (s *stage) ask(t *testing.T, slug, url string) string {
	t.Helper()
	out, said, _ := s.r.Inside(slug, "curl", http11, "-sS", "-i", url)
	return out + said
}

// allowedArrives is the positive control of all of egress' rows.
func (s *stage) allowedArrives(t *testing.T, slug, host string) {
	t.Helper()
	mark := "/mark-" + strings.ReplaceAll(t.Name(), "/", "-")
	if got := s.ask(t, slug, "https://"+host+mark); !strings.Contains(got, "200 OK") || len(s.u.Heard(mark)) == 0 {
		t.Fatalf("an allowed request does not arrive, so a refused one proves nothing: %s", got)
	}
}

// blocked tries a row of egress' in the bottle, where it must be refused and
// leave nothing at the internet.
func (s *stage) blocked(t *testing.T, id, trace string) {
	t.Helper()
	s.allowedArrives(t, s.slug, allowed)
	s.holds(t, id)
	for _, e := range s.u.Heard(trace) {
		if strings.Contains(e.Host, trace) { // other rows name it in paths
			t.Errorf("the internet heard of it: %+v", e)
		}
	}
	// The probe can fail: an allowed host is not refused.
	targets := s.targets
	targets.Refused = []string{allowed}
	if r := s.probe(t, agentOf(s.slug), targets, "E1")["E1"]; r.OK || !strings.Contains(r.Detail, "200 OK") {
		t.Errorf("the probe takes an allowed host for a refused one: %+v", r)
	}
}

func refusedHost(t *testing.T, s *stage) {
	s.blocked(t, "E1", refused)
	got := s.ask(t, s.slug, "https://"+refused+"/secret")
	for _, want := range []string{"403 " + reason, "X-Bottle-Blocked: egress", "\n" + reason} {
		if !strings.Contains(got, want) {
			t.Errorf("the answer has no %q: %s", want, got)
		}
	}
	t.Run("clients", func(t *testing.T) { clients(t, s) })
	t.Run("without a lookup", func(t *testing.T) {
		b := s.listened(t)
		s.allowedArrives(t, b, elsewhere)
		s.ask(t, b, "https://unheard-of.test/")
		if heard := s.u.Heard("unheard-of"); len(s.u.Heard(elsewhere)) == 0 || len(heard) > 0 {
			t.Errorf("the name server heard %+v", heard)
		}
	})
}

func tellingName(t *testing.T, s *stage) {
	s.blocked(t, "E2", ".evil.test")
	b := s.listened(t)
	s.allowedArrives(t, b, elsewhere)
	targets := s.targets
	targets.Egress = s.egressAddress(t, b)
	if r := s.probe(t, agentOf(b), targets, "E2")["E2"]; !r.OK {
		t.Error(r)
	}
	if heard := s.u.Heard(".evil.test"); len(heard) > 0 {
		t.Errorf("the name was looked up: %+v", heard[0])
	}
}

func egressItself(t *testing.T, s *stage) { s.blocked(t, "E26", "localhost") }

func egressInsides(t *testing.T, s *stage) {
	s.holds(t, "E27")
	// The key exists, and the same search finds it where it is mounted.
	key := filepath.Join(s.r.Home, "state", s.slug, "egress", "in", "ca.key")
	info, err := os.Stat(key)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the CA's key: %v, %v", info, err)
	}
	targets := s.weakTargets
	targets.Egress = s.u.Addr
	r := s.probe(t, s.leaky, targets, "E27")["E27"]
	for _, want := range []string{"/leak/ca.key can be read", "open are [7 53 80 443]"} {
		if !strings.Contains(r.Detail, want) {
			t.Errorf("the search finds %q, not %q", r.Detail, want)
		}
	}
}

// egressAddress is where a bottle's agent reaches its egress.
func (s *stage) egressAddress(t *testing.T, slug string) netip.Addr {
	t.Helper()
	return s.addresses(t, egressOf(slug))["bottle-"+slug+"_inner"]
}
