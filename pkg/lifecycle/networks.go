package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"bottle/pkg/engine"
	"bottle/pkg/plan"
)

// makeBottle makes networks, volumes and containers. What stands in networks
// that are there already starts at once; the rest when the bottle's own network
// is made, which claims its subnet. It returns when the sidecars can serve.
func (u *bringUp) makeBottle(ctx context.Context) (inside *opening, err error) {
	host := hostPrefixes()
	uplink, networks, err := u.uplinkSubnet(ctx, host)
	if err != nil {
		return nil, err
	}
	for range subnetTries {
		inner, err := freeSubnet(u.Home.Config.SubnetPool, innerBits, takenSubnets(networks, host), pseudoRandom)
		if err != nil {
			return nil, err
		}
		if u.plan, err = u.makePlan(u.bottle.Slug, u.spec, u.host, u.images, inner, uplink); err != nil {
			return nil, err
		}
		inside, err = u.makeContainers(ctx)
		if !errors.Is(err, engine.ErrSubnetTaken) {
			return inside, err
		}
		// Somebody was quicker: what was planned for that subnet goes, and we look again.
		left, err := u.find(ctx, u.bottle.Slug)
		if err != nil {
			return nil, err
		}
		if err := u.remove(ctx, left); err != nil {
			return nil, err
		}
		if networks, err = u.Engine.Networks(ctx); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("cannot find a subnet: %d in a row were taken by others first", subnetTries)
}

const subnetTries = 32

// uplinkSubnet returns the subnet of the home's uplink, which it makes if need
// be, and the engine's networks. It looks and makes under the home's lock, since
// a name alone keeps nobody from making two.
func (u *bringUp) uplinkSubnet(ctx context.Context, host []netip.Prefix) (netip.Prefix, []engine.Network, error) {
	lock, err := u.Home.LockShared(ctx)
	if err != nil {
		return netip.Prefix{}, nil, err
	}
	defer lock.Unlock()
	name := plan.UplinkName(u.Home.ID)
	for range subnetTries {
		networks, err := u.Engine.Networks(ctx)
		if err == nil && several(networks, name) {
			if err = u.oneUplink(ctx); err == nil {
				networks, err = u.Engine.Networks(ctx)
			}
		}
		if err != nil {
			return netip.Prefix{}, nil, err
		}
		if n, found := findNetwork(networks, name); found && len(n.Subnets) > 0 {
			return n.Subnets[0], networks, nil
		}
		subnet, err := freeSubnet(u.Home.Config.SubnetPool, uplinkBits, takenSubnets(networks, host), pseudoRandom)
		if err != nil {
			return netip.Prefix{}, nil, err
		}
		err = whole(ctx, func(ctx context.Context) error {
			return u.Engine.CreateNetwork(ctx, plan.Uplink(u.Home.ID, subnet))
		})
		if err == nil {
			return subnet, networks, nil
		}
		if !errors.Is(err, engine.ErrSubnetTaken) && !errors.Is(err, engine.ErrConflict) {
			return netip.Prefix{}, nil, err
		}
	}
	return netip.Prefix{}, nil, fmt.Errorf("cannot make the network %s: every subnet was taken by others first", name)
}

func several(networks []engine.Network, name string) bool {
	n := 0
	for _, have := range networks {
		if have.Name == name {
			n++
		}
	}
	return n > 1
}

// oneUplink leaves one of several uplinks: what a killed start asked of the engine
// may come to it after another start had looked, and an engine makes two of one
// name. One that somebody is in stays; of others all programs choose the same. What
// has not this home's label is not judged. The home's lock is held.
func (m *Manager) oneUplink(ctx context.Context) error {
	networks, err := m.Engine.Networks(ctx)
	if err != nil {
		return err
	}
	networks = slices.DeleteFunc(networks, func(n engine.Network) bool {
		return n.Name != plan.UplinkName(m.Home.ID) || n.Labels[plan.LabelHome] != m.Home.ID
	})
	slices.SortFunc(networks, func(a, b engine.Network) int { return strings.Compare(b.ID, a.ID) })
	left := len(networks)
	for _, n := range networks {
		if left == 1 {
			break
		}
		switch err := m.Engine.RemoveNetwork(ctx, n.ID); {
		case err == nil:
			left--
		case !errors.Is(err, engine.ErrConflict):
			return err
		}
	}
	return nil
}

// start starts a container, whose networks are told by their names.
func (m *Manager) start(ctx context.Context, name string) error {
	return whole(ctx, func(ctx context.Context) error {
		err := m.Engine.Start(ctx, name)
		if !errors.Is(err, engine.ErrAmbiguous) {
			return err
		}
		lock, err := m.Home.LockShared(ctx)
		if err != nil {
			return err
		}
		defer lock.Unlock()
		if err := m.oneUplink(ctx); err != nil {
			return err
		}
		return m.Engine.Start(ctx, name)
	})
}

// hostPrefixes are the networks the host itself is in.
func hostPrefixes() []netip.Prefix {
	var list []netip.Prefix
	for _, p := range hostInterfaces() {
		list = append(list, p.Masked())
	}
	return list
}

// hostInterfaces are the addresses of the host with the length of their network.
func hostInterfaces() []netip.Prefix {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil // a conflict then shows when the network is made
	}
	var list []netip.Prefix
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			list = append(list, p)
		}
	}
	return list
}
