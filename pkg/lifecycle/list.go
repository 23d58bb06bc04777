package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/engine"
	"bottle/pkg/plan"
	"bottle/pkg/state"
)

// List returns all bottles of the home, sorted by slug: one call to the engine,
// joined with the state directory. With the engine out of reach it returns what
// the disk knows, and the error.
func List(ctx context.Context, h *state.Home, e engine.Engine) ([]bottle.Bottle, error) {
	l, err := look(ctx, h, e)
	if err == nil && l.failed == nil && l.torn() {
		// Something came or went between the two looks, or is lost indeed: the
		// second time it cannot be the first.
		l, err = look(ctx, h, e)
	}
	if err != nil {
		return nil, err
	}
	var id string
	if l.failed == nil && l.torn() {
		// Gone, or on another engine? Asked only where it matters.
		var host engine.Host
		if host, l.failed = e.Host(ctx); l.failed == nil {
			id = host.ID
		}
	}
	why := l.why(ctx, e)
	list := make([]bottle.Bottle, 0, len(l.recorded))
	for slug, b := range l.recorded {
		if l.failed == nil {
			b = acting(lacking(judge(b, l.live[slug], id, h.Busy, why), l.applied[slug]), l.doing[slug])
		}
		if !slices.Contains(b.Services, plan.AgentService) && !h.Exists(slug) {
			continue // taken down since: its lock went with its directory, and it was judged without
		}
		list = append(list, b)
	}
	for slug, containers := range l.live {
		if _, known := l.recorded[slug]; !known {
			b := unknown(h, slug)
			b.Reason = stateGone
			list = append(list, judge(b, containers, id, h.Busy, why))
		}
	}
	for i := range list {
		if list[i].Services == nil {
			list[i].Services = []string{}
		}
	}
	slices.SortFunc(list, func(a, b bottle.Bottle) int { return strings.Compare(a.Slug, b.Slug) })
	return list, l.failed
}

// beingStopped is the reason of a bottle that a bottle-stop is at.
const beingStopped = "it is being stopped"

const stateGone = "its state directory is gone; bottle-stop keeps its work, bottle-stop --orphans drops it"

// listing is what disk and engine say at about the same time.
type listing struct {
	recorded map[string]bottle.Bottle
	applied  map[string]map[string]bottle.Applied // what sidecars say, by slug and service
	doing    map[string]doing                     // what every agent says
	live     map[string][]engine.Container
	failed   error // of the engine
}

// look asks both side by side.
func look(ctx context.Context, h *state.Home, e engine.Engine) (l listing, err error) {
	l.live, l.applied, l.doing = map[string][]engine.Container{}, map[string]map[string]bottle.Applied{}, map[string]doing{}
	asked := make(chan []engine.Container, 1)
	go func() {
		containers, failed := e.List(ctx, h.ID)
		l.failed = failed
		asked <- containers
	}()
	l.recorded, err = records(h)
	// Whether it runs, only the engine knows; but that takes its time to answer.
	for slug, b := range l.recorded {
		l.applied[slug], l.doing[slug] = allApplied(b), readActivity(b.StateDir)
	}
	for _, c := range <-asked {
		l.live[c.Slug] = append(l.live[c.Slug], c)
	}
	return l, err
}

// torn says whether disk and engine do not know of the same bottles.
func (l listing) torn() bool {
	for slug := range l.recorded {
		if len(l.live[slug]) == 0 {
			return true
		}
	}
	return len(l.live) > len(l.recorded)
}

// why says of containers that ended, and that nobody stopped, how that was. The
// engine is asked only where there is such a one.
func (l listing) why(ctx context.Context, e engine.Engine) map[string]string {
	why := map[string]string{}
	for slug, containers := range l.live {
		if l.recorded[slug].Status == bottle.Stopped {
			continue
		}
		for _, c := range containers {
			if c.State != "exited" || c.Service == plan.CaptureService || c.Service == plan.CheckService {
				continue
			}
			end, err := e.LastEnd(ctx, c.Name)
			switch {
			case err != nil: // gone since
			case end.OutOfMemory:
				why[c.Name] = ", out of memory"
			case end.Code != 0:
				why[c.Name] = fmt.Sprintf(" with exit code %d", end.Code)
			}
		}
	}
	return why
}

// WorkAlone are the bottles of which volumes are left and nothing else: somebody
// removed state directory and containers. They are in no listing of bottles.
func (m *Manager) WorkAlone(ctx context.Context, listed []bottle.Bottle) ([]bottle.Bottle, error) {
	volumes, err := m.Engine.Volumes(ctx, m.Home.ID)
	if err != nil {
		return nil, err
	}
	var alone []bottle.Bottle
	for _, v := range volumes {
		known := func(b bottle.Bottle) bool { return b.Slug == v.Slug }
		if bottle.CheckSlug(v.Slug) == nil && !slices.ContainsFunc(listed, known) && !slices.ContainsFunc(alone, known) {
			alone = append(alone, unknown(m.Home, v.Slug))
		}
	}
	return alone, nil
}

// AddSizes adds to each bottle what it takes of the disk, by one call.
func (m *Manager) AddSizes(ctx context.Context, bottles []bottle.Bottle) error {
	used, err := m.Engine.Usage(ctx, m.Home.ID)
	if err != nil {
		return err
	}
	for i, b := range bottles {
		if b.Status == bottle.Gone {
			continue
		}
		size := used[b.Slug]
		bottles[i].Disk = &size
	}
	return nil
}

// records reads what the disk knows of every bottle.
func records(h *state.Home) (map[string]bottle.Bottle, error) {
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
	return recorded, nil
}

// unknown is a bottle of which only the slug is known.
func unknown(h *state.Home, slug string) bottle.Bottle {
	return bottle.Bottle{Slug: slug, Agent: "?", Bottle: "?", Program: "?", Status: "?", Workspace: "?",
		Project: plan.Project(slug), StateDir: h.StateDir(slug)}
}

// elsewhere says whether b was made on another engine than the one that was
// asked, which can tell nothing of it then.
func elsewhere(b bottle.Bottle, id string) bool { return b.Engine != "" && id != "" && b.Engine != id }

// neverRan says whether b's bring-up has not come to where its agent starts.
func neverRan(b bottle.Bottle) bool { return b.Status == bottle.Starting && !b.Ran }

// judge says how a bottle is, from what was recorded, what lives on the engine
// id, whether a program is at work on it, and why containers ended.
func judge(b bottle.Bottle, containers []engine.Container, id string, busy func(slug string) bool, why map[string]string) bottle.Bottle {
	b.Services = []string{}
	agentUp, agentThere, agentPaused := false, false, false
	var down, astray []string
	for _, c := range containers {
		agentThere = agentThere || c.Service == plan.AgentService
		agentPaused = agentPaused || c.Service == plan.AgentService && c.State == "paused"
		switch {
		case c.Service == plan.CaptureService || c.Service == plan.RelayService || c.Service == plan.CheckService: // a program's own, or what a killed one left
		case c.Running():
			b.Services = append(b.Services, c.Service)
			agentUp = agentUp || c.Service == plan.AgentService
			for _, n := range c.Astray() {
				astray = append(astray, c.Service+" is not in network "+n)
			}
		case c.Service != plan.AgentService:
			d := c.Service
			if how := why[c.Name]; how != "" {
				d += " (ended" + how + ")"
			}
			down = append(down, d)
		}
	}
	for _, s := range b.Sidecars {
		if !slices.ContainsFunc(containers, func(c engine.Container) bool { return c.Service == s }) {
			down = append(down, s)
		}
	}
	slices.Sort(b.Services)
	slices.Sort(down)
	slices.Sort(astray)
	if len(down) > 0 {
		astray = append([]string{"not up: " + strings.Join(down, ", ")}, astray...)
	}
	again := "bottle-start --resume " + b.Slug
	if b.StartedAt.IsZero() { // its metadata cannot be read
		b.StartedAt = firstMade(containers)
	}
	atWork := b.Status == bottle.Starting && busy(b.Slug)
	switch {
	case atWork:
	case len(containers) == 0 && elsewhere(b, id):
		b.Status, b.Reason = "?", "it was made on another engine, which DOCKER_HOST does not name"
	case neverRan(b) && b.Reason == noState: // as a reaper left it that was killed
		b.Reason = stateGone
	case neverRan(b):
		b.Reason = "its bottle-start is dead; bottle-stop --orphans clears it up"
	case !agentUp && !agentPaused && busy(b.Slug): // what it is halfway is nobody's news
		b.Status, b.Reason = bottle.Stopped, beingStopped
	case len(containers) == 0:
		b.Status, b.Reason = bottle.Lost, "its containers are gone; "+again+" makes them anew, bottle-stop keeps what work is left"
	case !agentThere:
		b.Status, b.Reason = bottle.Stopped, "its agent's container is gone; "+again+" makes it anew, bottle-stop keeps what work is left"
	case agentPaused:
		b.Status, b.Reason = bottle.Stopped, "its agent's container is paused; docker unpause "+plan.ContainerName(b.Slug, plan.AgentService)+" continues it"
	case !agentUp && (b.Status == bottle.Running || b.Status == bottle.Starting): // nobody stopped it
		b.Status, b.Reason = bottle.Stopped, "its agent's container ended"+why[plan.ContainerName(b.Slug, plan.AgentService)]+"; "+again+" continues it, bottle-stop keeps its work"
	case !agentUp && b.Reason == "":
		b.Reason = "it was stopped and kept; " + again + " continues it"
	case !agentUp:
	case b.Status == bottle.Starting:
		b.Status, b.Reason = bottle.Degraded, "its bottle-start died before it handed it over; run "+again
	case b.Status == bottle.Stopped: // a resume that failed could not stop it again, or somebody else started it
		b.Status, b.Reason = bottle.Degraded, "it was stopped, and its agent's container runs; run "+again
	case len(astray) > 0:
		b.Status, b.Reason = bottle.Degraded, strings.Join(astray, "; ")+"; run "+again
	default:
		b.Status = bottle.Running
		if b.Agent != "?" { // what cannot be read is worth telling of a running one too
			b.Reason = ""
		}
	}
	return b
}

// firstMade is when the first of the containers was made.
func firstMade(containers []engine.Container) time.Time {
	var first time.Time
	for _, c := range containers {
		if first.IsZero() || c.Created.Before(first) {
			first = c.Created
		}
	}
	return first
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
