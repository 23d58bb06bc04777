package lifecycle

import (
	"context"
	"net/netip"
	"os"

	"bottle/pkg/engine"
	"bottle/pkg/plan"
)

// Plan computes the plan that Up would act on, as far as it can be known
// without making anything: the subnet is one that is free now.
func (m *Manager) Plan(ctx context.Context, s Spec) (*plan.Plan, error) {
	host, err := m.Host(ctx)
	if err != nil {
		return nil, err
	}
	networks, err := m.Engine.Networks(ctx)
	if err != nil {
		return nil, err
	}
	taken := takenSubnets(networks, hostPrefixes())
	uplink, err := freeSubnet(m.Home.Config.SubnetPool, uplinkBits, taken, pseudoRandom)
	if n, found := findNetwork(networks, plan.UplinkName(m.Home.ID)); found && len(n.Subnets) > 0 {
		uplink, err = n.Subnets[0], nil
	}
	if err != nil {
		return nil, err
	}
	inner, err := freeSubnet(m.Home.Config.SubnetPool, innerBits, taken, pseudoRandom)
	if err != nil {
		return nil, err
	}
	i, err := m.planImages(s)
	if err != nil {
		return nil, err
	}
	slug := s.Slug
	if slug == "" {
		slug = s.Manifest.Agent + "-xxxx"
	}
	return m.makePlan(slug, s, host, i, inner, uplink)
}

// makePlan is plan.Make with what is known of the host.
func (m *Manager) makePlan(slug string, s Spec, host engine.Host, i images, inner, uplink netip.Prefix) (*plan.Plan, error) {
	h := plan.Host{
		Home: m.Home.ID, StateDir: m.Home.StateDir(slug), Inside: m.insideDir(),
		OwnerUID: os.Getuid(), OwnerGID: os.Getgid(), CPUs: host.CPUs, Memory: host.Memory, Runtimes: host.Runtimes,
		Docker28: host.Docker28, IPv6: kernelHasIPv6(), Subnet: inner, Uplink: uplink, Sidecar: i.sidecar.Tag, Gate: i.gate.Tag, AgentTag: i.agent.Tag}
	if s.Workspace == WorkspaceMount {
		h.Folder, h.Git = s.Mount.Root, s.Mount.Git
	}
	p, err := plan.Make(slug, s.Manifest, s.Agent, h)
	if err != nil {
		return nil, err
	}
	if m.Adjust != nil {
		m.Adjust(p)
	}
	return p, nil
}

// kernelHasIPv6 says whether there is an IPv6 to switch off. The engine is
// local, so its kernel is this one.
func kernelHasIPv6() bool {
	_, err := os.Stat("/proc/sys/net/ipv6/conf/all/disable_ipv6")
	return err == nil
}
