package docker

import (
	"context"
	"time"

	"github.com/docker/docker/api/types/events"

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
	out := make(chan engine.Event)
	go func() {
		defer close(out)
		for {
			select {
			case <-failed:
				return
			case m := <-messages:
				labels := m.Actor.Attributes
				ev := engine.Event{Time: time.Unix(0, m.TimeNano).UTC(), Slug: labels[plan.LabelSlug],
					Service: labels[plan.LabelService], Action: string(m.Action)}
				select {
				case out <- ev:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return out, nil
}
