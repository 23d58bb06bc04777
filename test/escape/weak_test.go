package escape

import (
	"errors"
	"strings"
	"testing"

	"bottle/pkg/lifecycle"
	"bottle/pkg/plan"
	"bottle/test/rig"
)

// weakened starts bottles with a setting weakened: the self-test must fail, name the row, and leave
// nothing behind.
func weakened(t *testing.T) {
	r := rig.New(t)
	u := r.Upstream(allowed)
	r.Agent("weak", allowed)
	// Only older engines give an internal network a default route.
	route := strings.HasPrefix(r.Docker("version", "-f", "{{.Server.Version}}"), "20.10")
	direct, slow := []string{"A4"}, []string{"A4"}
	if route {
		direct, slow = []string{"A1", "A4"}, []string{"A1"}
	}
	agent := func(change func(*plan.Container)) func(*plan.Plan) {
		return func(p *plan.Plan) { change(p.Find(plan.AgentService)) }
	}
	for _, c := range []struct {
		name   string
		rows   []string
		change func(*plan.Plan)
	}{
		{"a plain internal network", direct, func(p *plan.Plan) { p.Networks[0].Options = nil }},
		{"capabilities kept", []string{"A2"}, agent(func(c *plan.Container) { c.CapDrop, c.User = nil, "0:0" })},
		{"no seccomp filter", []string{"A2"}, agent(func(c *plan.Container) { c.SecurityOpt = append(c.SecurityOpt, "seccomp=unconfined") })},
		{"another name server", []string{"A3"}, agent(func(c *plan.Container) { c.DNS = []string{u.Addr.String()} })},
		{"slow to say no", slow, agent(func(c *plan.Container) {
			delete(c.Sysctls, "net.ipv4.neigh.eth0.mcast_solicit")
			delete(c.Sysctls, "net.ipv4.neigh.eth0.retrans_time_ms")
			c.Endpoints[0].Options = nil
		})},
	} {
		t.Run(c.name, func(t *testing.T) {
			slug, err := r.Up("weak", c.change)
			if !errors.Is(err, lifecycle.ErrSelfTest) {
				t.Fatalf("the bring-up of a weakened bottle ended with %v", err)
			}
			for _, id := range c.rows {
				if !strings.Contains(err.Error(), id+" FAILED") {
					t.Errorf("the error does not name %s: %v", id, err)
				}
			}
			for _, list := range [][]string{{"ps", "-aq"}, {"network", "ls", "-q"}, {"volume", "ls", "-q"}} {
				if left := r.Docker(append(list, "--filter", "label=bottle.slug="+slug)...); left != "" {
					t.Errorf("docker %s: it left %s", list[0], left)
				}
			}
		})
	}
	t.Run("nothing weakened", func(t *testing.T) {
		if _, err := r.Up("weak", func(*plan.Plan) {}); err != nil {
			t.Errorf("the same bottle as it is: %v", err)
		}
	})
}
