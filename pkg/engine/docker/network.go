package docker

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"

	"bottle/pkg/engine"
	"bottle/pkg/plan"
)

func unix(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }

// Networks implements engine.Engine.
func (e *Engine) Networks(ctx context.Context) ([]engine.Network, error) {
	var found []network.Summary
	err := e.prompt(ctx, func(ctx context.Context) (err error) {
		found, err = e.api.NetworkList(ctx, network.ListOptions{})
		return err
	})
	if err != nil {
		return nil, wrap("list networks", err)
	}
	list := make([]engine.Network, 0, len(found))
	for _, n := range found {
		out := engine.Network{Name: n.Name, ID: n.ID, Labels: n.Labels, Internal: n.Internal}
		for _, c := range n.IPAM.Config {
			if p, err := netip.ParsePrefix(c.Subnet); err == nil {
				out.Subnets = append(out.Subnets, p)
			}
		}
		list = append(list, out)
	}
	return list, nil
}

// CreateNetwork implements engine.Engine. The subnet is explicit, so of several
// creates with the same one a single one wins.
func (e *Engine) CreateNetwork(ctx context.Context, n plan.Network) error {
	no := false
	err := e.prompt(ctx, func(ctx context.Context) error {
		_, err := e.api.NetworkCreate(ctx, n.Name, network.CreateOptions{
			Driver: "bridge", Internal: n.Internal, EnableIPv6: &no, Options: n.Options, Labels: n.Labels,
			IPAM: &network.IPAM{Config: []network.IPAMConfig{{Subnet: n.Subnet.String(), Gateway: n.Subnet.Addr().Next().String()}}},
		})
		return err
	})
	return wrap("create network "+n.Name, err)
}

// RemoveNetwork implements engine.Engine.
func (e *Engine) RemoveNetwork(ctx context.Context, name string) error {
	err := e.prompt(ctx, func(ctx context.Context) error { return e.api.NetworkRemove(ctx, name) })
	return wrap("remove network "+name, ignoreMissing(err))
}

// Volumes implements engine.Engine.
func (e *Engine) Volumes(ctx context.Context, home string) ([]engine.Volume, error) {
	var found volume.ListResponse
	err := e.prompt(ctx, func(ctx context.Context) (err error) {
		found, err = e.api.VolumeList(ctx, volume.ListOptions{Filters: filters.NewArgs(filters.Arg("label", plan.LabelHome+"="+home))})
		return err
	})
	if err != nil {
		return nil, wrap("list volumes", err)
	}
	list := make([]engine.Volume, 0, len(found.Volumes))
	for _, v := range found.Volumes {
		list = append(list, engine.Volume{Name: v.Name, Slug: v.Labels[plan.LabelSlug]})
	}
	return list, nil
}

// CreateVolume implements engine.Engine. Of a volume that is there already the
// engine makes no error: whose it is, its labels tell.
func (e *Engine) CreateVolume(ctx context.Context, v plan.Volume) error {
	made, err := e.api.VolumeCreate(ctx, volume.CreateOptions{Name: v.Name, Labels: v.Labels})
	if err == nil && (made.Labels[plan.LabelHome] != v.Labels[plan.LabelHome] || made.Labels[plan.LabelSlug] != v.Labels[plan.LabelSlug]) {
		return fmt.Errorf("cannot create volume %s: %w: it is somebody else's", v.Name, engine.ErrConflict)
	}
	return wrap("create volume "+v.Name, err)
}

// RemoveVolume implements engine.Engine.
func (e *Engine) RemoveVolume(ctx context.Context, name string) error {
	return wrap("remove volume "+name, ignoreMissing(e.api.VolumeRemove(ctx, name, false)))
}
