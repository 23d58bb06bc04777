package enginetest

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"bottle/pkg/engine"
	"bottle/pkg/plan"
)

func (f *Fake) Networks(context.Context) ([]engine.Network, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []engine.Network
	for _, n := range f.networks {
		list = append(list, engine.Network{Name: n.Name, ID: n.Name, Labels: n.Labels, Subnets: []netip.Prefix{n.Subnet}, Internal: n.Internal})
	}
	return list, nil
}

func (f *Fake) CreateNetwork(_ context.Context, n plan.Network) error {
	if err := f.begin("CreateNetwork", n.Name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, other := range f.networks {
		if other.Subnet.Overlaps(n.Subnet) {
			return fmt.Errorf("create network %s: %w", n.Name, engine.ErrSubnetTaken)
		}
	}
	f.networks[n.Name] = n
	return nil
}

func (f *Fake) RemoveNetwork(_ context.Context, name string) error {
	if err := f.begin("RemoveNetwork", name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.containers {
		if c.state == "running" && slices.ContainsFunc(c.Endpoints, func(e plan.Endpoint) bool { return e.Network == name }) {
			return fmt.Errorf("remove network %s: %w", name, engine.ErrConflict)
		}
	}
	delete(f.networks, name)
	return nil
}

func (f *Fake) Volumes(_ context.Context, home string) ([]engine.Volume, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []engine.Volume
	for _, v := range f.volumes {
		if v.Labels[plan.LabelHome] == home {
			list = append(list, engine.Volume{Name: v.Name, Slug: v.Labels[plan.LabelSlug]})
		}
	}
	return list, nil
}

func (f *Fake) CreateVolume(_ context.Context, v plan.Volume) error {
	if err := f.begin("CreateVolume", v.Name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if old, there := f.volumes[v.Name]; there && (old.Labels[plan.LabelHome] != v.Labels[plan.LabelHome] || old.Labels[plan.LabelSlug] != v.Labels[plan.LabelSlug]) {
		return fmt.Errorf("create volume %s: %w", v.Name, engine.ErrConflict)
	}
	f.volumes[v.Name] = v
	return nil
}

func (f *Fake) RemoveVolume(_ context.Context, name string) error {
	if err := f.begin("RemoveVolume", name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.volumes, name)
	return nil
}

// Usage says that every volume takes a page.
func (f *Fake) Usage(_ context.Context, home string) (map[string]int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	used := map[string]int64{}
	for _, v := range f.volumes {
		if v.Labels[plan.LabelHome] == home {
			used[v.Labels[plan.LabelSlug]] += 4096
		}
	}
	return used, nil
}

func (f *Fake) Connect(_ context.Context, name string, ep plan.Endpoint) error {
	if err := f.begin("Connect", name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	c, err := f.find(name)
	if err != nil {
		return err
	}
	if _, there := f.networks[ep.Network]; !there {
		return fmt.Errorf("network %s: %w", ep.Network, engine.ErrNotFound)
	}
	if slices.ContainsFunc(c.Endpoints, func(e plan.Endpoint) bool { return e.Network == ep.Network }) {
		return fmt.Errorf("connect %s to %s: %w", name, ep.Network, engine.ErrConflict)
	}
	c.Endpoints = append(slices.Clone(c.Endpoints), ep)
	f.tell(c, "connect")
	return nil
}

// Disconnect takes a container out of a network, as an operator's hand may.
func (f *Fake) Disconnect(name, network string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c, err := f.find(name); err == nil {
		c.Endpoints = slices.DeleteFunc(slices.Clone(c.Endpoints), func(e plan.Endpoint) bool { return e.Network == network })
		f.tell(c, "disconnect")
	}
}
