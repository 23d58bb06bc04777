package lifecycle

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"bottle/pkg/bottle"
	"bottle/pkg/engine"
	"bottle/pkg/plan"
	"bottle/pkg/state"
)

// List returns all bottles of the home, sorted by slug: one call to the engine,
// joined with the state directory. With the engine out of reach it returns what
// the disk knows, and the error.
func List(ctx context.Context, h *state.Home, e engine.Engine) ([]bottle.Bottle, error) {
	slugs, err := h.Slugs()
	if err != nil {
		return nil, err
	}
	recorded := map[string]bottle.Bottle{}
	for _, slug := range slugs {
		b, err := h.Bottle(slug)
		if errors.Is(err, state.ErrNotFound) {
			continue // taken down while we looked
		}
		if err != nil {
			b = unknown(h, slug)
			b.Reason = "its metadata cannot be read"
		}
		recorded[slug] = b
	}
	containers, failed := e.List(ctx, h.ID)
	live := map[string][]engine.Container{}
	for _, c := range containers {
		live[c.Slug] = append(live[c.Slug], c)
		if _, known := recorded[c.Slug]; !known {
			recorded[c.Slug] = unknown(h, c.Slug)
		}
	}
	list := make([]bottle.Bottle, 0, len(recorded))
	for _, slug := range slices.Sorted(maps.Keys(recorded)) {
		b := recorded[slug]
		if failed == nil {
			b = judge(b, live[slug])
		}
		if b.Services == nil {
			b.Services = []string{}
		}
		list = append(list, b)
	}
	return list, failed
}

// unknown is a bottle of which only the slug is known.
func unknown(h *state.Home, slug string) bottle.Bottle {
	return bottle.Bottle{Slug: slug, Agent: "?", Bottle: "?", Program: "?", Status: "?", Workspace: "?",
		Project: plan.Project(slug), StateDir: h.StateDir(slug)}
}

// judge says how a bottle is, from what was recorded and what lives.
func judge(b bottle.Bottle, containers []engine.Container) bottle.Bottle {
	b.Services = []string{}
	agentUp := false
	var down []string
	for _, c := range containers {
		switch {
		case c.Running():
			b.Services = append(b.Services, c.Service)
			agentUp = agentUp || c.Service == plan.AgentService
		case c.Service != plan.AgentService:
			down = append(down, c.Service)
		}
	}
	for _, s := range b.Sidecars {
		if !slices.ContainsFunc(containers, func(c engine.Container) bool { return c.Service == s }) {
			down = append(down, s)
		}
	}
	slices.Sort(b.Services)
	slices.Sort(down)
	switch {
	case b.Status == bottle.Starting:
	case len(containers) == 0:
		b.Status, b.Reason = bottle.Lost, "its containers are gone"
	case !agentUp:
		b.Status = bottle.Stopped
	case len(down) > 0:
		b.Status, b.Reason = bottle.Degraded, "not up: "+strings.Join(down, ", ")
	default:
		b.Status, b.Reason = bottle.Running, ""
	}
	return b
}

// CountRunning counts the bottles of each agent that are up or coming up.
func CountRunning(bottles []bottle.Bottle) map[string]int {
	n := map[string]int{}
	for _, b := range bottles {
		switch b.Status {
		case bottle.Starting, bottle.Running, bottle.Degraded:
			n[b.Agent]++
		}
	}
	return n
}
