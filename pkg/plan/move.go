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

// subnet is what the bottle's networks were cut out of.
func (p *Plan) subnet() netip.Prefix {
	own := p.Own().Subnet
	if len(p.Private()) == 1 {
		return own
	}
	return netip.PrefixFrom(own.Addr(), own.Bits()-1)
}

// Move gives the bottle another subnet of the same size, and all that the plan
// says of its addresses with it.
func (p *Plan) Move(to netip.Prefix) {
	from := p.subnet()
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
	for i, n := range p.Networks {
		if !n.External {
			p.Networks[i].Subnet = netip.PrefixFrom(move(n.Subnet.Addr()), n.Subnet.Bits())
		}
	}
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
			c.Endpoints[j].IP = move(e.IP)
		}
	}
}
