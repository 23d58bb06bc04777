package docker

import (
	"context"
	"strings"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"

	"bottle/pkg/engine"
	"bottle/pkg/plan"
)

// Events implements engine.Engine.
func (e *Engine) Events(ctx context.Context, home string) (<-chan engine.Event, error) {
	if _, err := e.api.Ping(ctx); err != nil {
		return nil, wrap("listen to the engine", err)
	}
	filter := ofHome(home)
	filter.Add("type", string(events.ContainerEventType))
	for _, action := range []events.Action{events.ActionCreate, events.ActionStart, events.ActionDie, events.ActionDestroy,
		events.ActionPause, events.ActionUnPause} {
		filter.Add("event", string(action)) // not exec_create and the like: attaching is no change
	}
	messages, failed := e.api.Events(ctx, events.ListOptions{Filters: filter})
	// What happens to a network carries no label, and no name of a container's.
	joins := filters.NewArgs(filters.Arg("type", string(events.NetworkEventType)), filters.Arg("event", string(events.ActionConnect)),
		filters.Arg("event", string(events.ActionDisconnect)))
	networks, cut := e.api.Events(ctx, events.ListOptions{Filters: joins})
	out := make(chan engine.Event)
	go func() {
		defer close(out)
		for {
			var ev engine.Event
			select {
			case <-failed:
				return
			case <-cut:
				return
			case m := <-networks:
				if !strings.HasPrefix(m.Actor.Attributes["name"], plan.Project("")) {
					continue // nobody's of ours
				}
				ev = engine.Event{Time: time.Unix(0, m.TimeNano).UTC(), Action: string(m.Action)}
			case m := <-messages:
				labels := m.Actor.Attributes
				ev = engine.Event{Time: time.Unix(0, m.TimeNano).UTC(), Slug: labels[plan.LabelSlug],
					Service: labels[plan.LabelService], Action: string(m.Action)}
			}
			select {
			case out <- ev:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}
