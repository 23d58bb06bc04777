package plan

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// LabelNetworks is the label of a container with the names of its networks,
// sorted, between commas: one that is not in all of them any more is known by it.
const LabelNetworks = "bottle.networks"

// labelNetworks tells each container of the plan which networks it is in.
func (p *Plan) labelNetworks() {
	for _, c := range p.Containers {
		var names []string
		for _, e := range c.Endpoints {
			names = append(names, e.Network)
		}
		slices.Sort(names)
		c.Labels[LabelNetworks] = strings.Join(names, ",")
	}
}

var literal = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\b[0-9]{1,3}(\.[0-9]{1,3}){3}\b`) })

// Move gives the bottle's own network another subnet of the same size, and all
// that the plan says of its addresses with it.
func (p *Plan) Move(to netip.Prefix) {
	from := p.Own().Subnet
	move := func(a netip.Addr) netip.Addr {
		if !from.Contains(a) {
			return a
		}
		n := 0
		for at := from.Addr(); at != a; at = at.Next() {
			n++
		}
		return Address(to, n)
	}
	text := func(s string) string {
		return literal().ReplaceAllStringFunc(s, func(ip string) string {
			if a, err := netip.ParseAddr(ip); err == nil {
				return move(a).String()
			}
			return ip
		})
	}
	p.Networks[0].Subnet = to
	for i := range p.Containers {
		c := &p.Containers[i]
		for j := range c.Entrypoint {
			c.Entrypoint[j] = text(c.Entrypoint[j])
		}
		for j := range c.DNS {
			c.DNS[j] = text(c.DNS[j])
		}
		for name, ip := range c.Hosts {
			c.Hosts[name] = text(ip)
		}
		for j, e := range c.Endpoints {
			if e.Network == p.Own().Name {
				c.Endpoints[j].IP = move(e.IP)
			}
		}
	}
}
