package docker

import (
	"context"

	"github.com/docker/docker/api/types"

	"bottle/pkg/plan"
)

// Usage implements engine.Engine. Engines before API 1.42 count their images
// too, which takes its time.
func (e *Engine) Usage(ctx context.Context, home string) (map[string]int64, error) {
	found, err := e.api.DiskUsage(ctx, types.DiskUsageOptions{Types: []types.DiskUsageObject{types.ContainerObject, types.VolumeObject}})
	if err != nil {
		return nil, wrap("ask for the use of the disk", err)
	}
	used := map[string]int64{}
	add := func(labels map[string]string, bytes int64) {
		if labels[plan.LabelHome] == home && bytes > 0 { // -1: the engine does not know
			used[labels[plan.LabelSlug]] += bytes
		}
	}
	for _, c := range found.Containers {
		add(c.Labels, c.SizeRw)
	}
	for _, v := range found.Volumes {
		if v.UsageData != nil {
			add(v.Labels, v.UsageData.Size)
		}
	}
	return used, nil
}
