package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/engine"
	"bottle/pkg/plan"
	"bottle/pkg/session"
	"bottle/pkg/state"
)

// Again is what a resume needs besides what was recorded of the bottle.
type Again struct {
	Slug   string
	Env    map[string]string // values for the session's environment
	Values map[string]string // for the sidecars, by the names that policy and git gate have for them
	Way    Way
	// Spec is asked where an image is gone and must be made of the manifest as it
	// is now.
	Spec func(context.Context) (Spec, error)
}

// Errors of a bottle that cannot be resumed.
var (
	ErrNeverRan = errors.New("its bring-up died before its agent ran")
	ErrWorkGone = errors.New("its volumes are gone, and its work with them")
	ErrPaused   = errors.New("its agent's container is paused")
	ErrForeign  = errors.New("somebody else made it")
)

// Resume brings a bottle back under its own slug: one that is stopped or kept,
// whose containers are gone, or of which a part does not work. Containers that
// are there are started where they are; what is missing is made anew, of the
// plan that the bottle was made of, on the volumes that it has. An agent that
// lives goes on, unless it was taken out of its network. The walls are tried before the session is handed over; where
// one does not hold, the bottle is stopped. The error is a Failure where the
// engine was asked for anything; a bottle never loses what it has by it.
func (m *Manager) Resume(ctx context.Context, a Again, say Say) (bottle.Bottle, error) {
	if _, err := m.Home.Bottle(a.Slug); err != nil {
		return bottle.Bottle{}, err
	}
	host, err := m.Host(ctx)
	if err != nil {
		return bottle.Bottle{}, err
	}
	lock, err := m.Home.Lock(a.Slug)
	if err != nil {
		return bottle.Bottle{}, err
	}
	defer lock.Unlock()
	r := &revival{bringUp: &bringUp{Manager: m, host: host}, again: a}
	if err := r.look(ctx); err != nil {
		return r.bottle, err
	}
	if err := checkWay(r.plan.Find(plan.PipelockService) != nil, a.Way); err != nil {
		return r.bottle, err
	}
	r.was = r.bottle.Status
	r.lived = r.alive && r.was != bottle.Stopped // nobody began a session then
	if r.values, err = m.share(a); err != nil {
		return r.bottle, err
	}
	if r.log, err = openJournal(filepath.Join(r.bottle.StateDir, state.BringupLog), say); err != nil {
		return r.bottle, err
	}
	defer r.log.Close()
	if err := r.run(ctx); err != nil {
		return r.bottle, r.giveUp(ctx, err)
	}
	return r.bottle, nil
}

// share gives each sidecar those of the values that it needs.
func (m *Manager) share(a Again) (map[string]map[string]string, error) {
	needs, err := m.needs(a.Slug)
	if err != nil {
		return nil, err
	}
	shares := map[string]map[string]string{}
	for service, names := range needs {
		if shares[service], err = choose(a.Slug, names, a.Values); err != nil {
			return nil, err
		}
		if login := a.Values[bottle.ProxyLogin]; login != "" {
			shares[service][bottle.ProxyLogin] = login
		}
	}
	return shares, nil
}

// revival is one resume under way, its bottle's lock held.
type revival struct {
	*bringUp
	again Again

	values map[string]map[string]string // for each sidecar that takes some

	have  map[string]engine.Container // what there is, by service
	alive bool                        // the agent's container runs, and goes on
	lived bool                        // it did so before anything was begun, and had a session
	was   bottle.Status               // as it was recorded before
	told  string                      // to the agent, when its session goes on
	anew  []string                    // networks that this resume made: who was in them before is not any more
}

// look finds what is left of the bottle, and refuses where that is not enough.
func (r *revival) look(ctx context.Context) (err error) {
	slug := r.again.Slug
	if r.bottle, err = r.Home.Bottle(slug); err != nil { // as whoever had the lock left it
		return err
	}
	if neverRan(r.bottle) {
		return fmt.Errorf("%s cannot be resumed: %w", slug, ErrNeverRan)
	}
	if r.plan, err = r.loadPlan(slug); err != nil {
		return err
	}
	var volumes []engine.Volume
	r.have = map[string]engine.Container{}
	err = together(ctx, func(ctx context.Context) error {
		list, err := r.Engine.List(ctx, r.Home.ID)
		for _, c := range list {
			if c.Slug == slug {
				r.have[c.Service] = c
			}
		}
		return err
	}, func(ctx context.Context) (err error) {
		volumes, err = r.Engine.Volumes(ctx, r.Home.ID)
		return err
	})
	if err != nil {
		return err
	}
	var gone []string
	for _, v := range r.plan.Volumes {
		if v.Key == plan.GitVolume { // what is in it was pushed out of the work: it is made anew
			continue
		}
		if !slices.ContainsFunc(volumes, func(have engine.Volume) bool { return have.Name == v.Name }) {
			gone = append(gone, v.Name)
		}
	}
	agent := r.have[plan.AgentService]
	switch {
	case len(r.have) == 0 && !slices.ContainsFunc(volumes, func(v engine.Volume) bool { return v.Slug == slug }) && elsewhere(r.bottle, r.host.ID):
		return fmt.Errorf("%s: %w", slug, ErrElsewhere)
	case len(gone) > 0:
		return fmt.Errorf("%s cannot be resumed: %w: %s", slug, ErrWorkGone, strings.Join(gone, ", "))
	case agent.State == "paused":
		return fmt.Errorf("%s cannot be resumed: %w", slug, ErrPaused)
	}
	r.alive = agent.Running()
	return nil
}

func (r *revival) run(ctx context.Context) error {
	slug := r.again.Slug
	r.log.step("resuming %s", slug)
	// Intent before action. It ran: no reaper takes it, whatever becomes of this.
	r.bottle.Status, r.bottle.Reason, r.bottle.Engine = bottle.Starting, "", r.host.ID
	if err := r.Home.Save(r.bottle); err != nil {
		return err
	}
	if err := r.clear(ctx); err != nil {
		return err
	}
	if err := r.networks(ctx); err != nil {
		return err
	}
	if err := r.images(ctx); err != nil {
		return err
	}
	if err := r.bring(ctx); err != nil {
		return err
	}
	r.nameServices()
	r.bottle.Status = bottle.Running
	if err := errors.Join(r.Home.Release(slug), r.Home.Save(r.bottle)); err != nil {
		return err
	}
	r.log.step("%s is up", slug)
	return nil
}

// bringTries bounds how often a resume begins anew.
const bringTries = 3

// bring mends a living agent's bottle, and revives any other. What a killed stop
// asked of the engine may still be under way: then it goes on with what that left.
func (r *revival) bring(ctx context.Context) error {
	for try := 1; ; try++ {
		r.alive = r.alive && r.fits(*r.plan.Find(plan.AgentService))
		bring := r.revive
		if r.alive {
			bring = r.mend
		}
		failed := bring(ctx)
		if ctx.Err() != nil || engine.Away(failed) {
			return failed
		}
		if err := r.look(ctx); err != nil {
			return errors.Join(failed, err)
		}
		if !r.ended() || try == bringTries {
			return failed
		}
		r.log.step("a container ended meanwhile")
	}
}

// ended says whether there is a container that does not run.
func (r *revival) ended() bool {
	for _, c := range r.have {
		if !c.Running() {
			return true
		}
	}
	return false
}

// clear removes what a stop left that was killed in its capture, and a build.
func (r *revival) clear(ctx context.Context) error {
	if err := r.Home.SweepBottle(r.again.Slug); err != nil {
		return err
	}
	for _, service := range []string{plan.BuildService, plan.RelayService, plan.CheckService} { // of a build, or a check, that was killed
		built, there := r.have[service]
		if !there {
			continue
		}
		delete(r.have, service)
		if err := r.Engine.Remove(ctx, built.Name); err != nil {
			return err
		}
	}
	left, there := r.have[plan.CaptureService]
	if !there {
		return nil
	}
	delete(r.have, plan.CaptureService)
	_, scratch := r.plan.Capture("")
	return whole(ctx, func(ctx context.Context) error {
		return r.remove(ctx, remains{containers: []string{left.Name}, volumes: []string{scratch.Name}})
	})
}

// revive starts the containers, tries the walls and starts the session, as a
// bring-up does.
func (r *revival) revive(ctx context.Context) error {
	m := &making{bringUp: r.bringUp, agentUp: make(chan struct{})}
	defer func() {
		if m.inside != nil {
			m.inside.end()
		}
	}()
	steps := r.sidecarSteps(m)
	steps = append(steps, m.tryWalls, func(step context.Context) error {
		c := *r.plan.Find(plan.AgentService)
		if err := r.restart(step, c); err != nil {
			return err
		}
		var err error
		if m.inside, err = r.openBy(ctx, r.Engine.Attach); err == nil {
			close(m.agentUp)
		}
		return err
	})
	if err := together(ctx, steps...); err != nil {
		return err
	}
	r.log.step("starting %s", r.bottle.Program)
	doc, err := r.NextSession(r.again.Slug, r.again.Env)
	if err != nil {
		return err
	}
	if !doc.Terminal { // one that takes words for commands is told nothing
		doc.Typed = r.told
	}
	return r.startSession(m.inside, doc)
}

// mend brings up what a living agent lacks, and leaves its session alone.
func (r *revival) mend(ctx context.Context) error {
	m := &making{bringUp: r.bringUp}
	if err := together(ctx, r.sidecarSteps(m)...); err != nil {
		return err
	}
	if err := r.tryWalls(ctx); err != nil {
		return err
	}
	doc, err := r.NextSession(r.again.Slug, r.again.Env)
	if err != nil {
		return err
	}
	err = session.Start(ctx, r.Engine, plan.ContainerName(r.again.Slug, plan.AgentService), doc)
	if errors.Is(err, session.ErrLives) {
		return nil
	}
	return err
}

// sidecarSteps bring all sidecars up, and then hand them their values.
func (r *revival) sidecarSteps(m *making) []func(context.Context) error {
	steps := []func(context.Context) error{func(ctx context.Context) error {
		m.sidecars.Wait() // each ends with ctx at the latest
		if err := ctx.Err(); err != nil {
			return err
		}
		return r.handEach(ctx, r.again.Slug, r.ownLogins(r.again.Slug, r.again.Way.Proxy, r.values), func(service string) bool { return r.plan.Find(service) != nil })
	}}
	for _, c := range r.plan.Containers {
		if c.Service == plan.AgentService {
			continue
		}
		m.sidecars.Add(1)
		steps = append(steps, func(ctx context.Context) error {
			defer m.sidecars.Done()
			return r.sidecar(ctx, c)
		})
	}
	return steps
}

// giveUp leaves a bottle that could not be resumed as it was: an agent that lived
// goes on, unless its walls do not hold; everything else is stopped, and kept.
func (r *revival) giveUp(ctx context.Context, cause error) error {
	interrupted := ctx.Err() != nil
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), clearTime)
	defer cancel()
	if interrupted {
		cause = context.Canceled
	}
	r.log.step("failed: %v", cause)
	failure := &Failure{Err: cause, Tail: r.log.Tail(), Log: filepath.Join(r.bottle.StateDir, state.BringupLog)}
	if r.lived && r.alive && !errors.Is(cause, ErrSelfTest) {
		r.bottle.Status = r.was // what of it is not up, the engine tells
		failure.Left = r.Home.Save(r.bottle)
		return failure
	}
	r.log.step("stopping what was started")
	t := &tearDown{Manager: r.Manager, took: Took{Slug: r.again.Slug}, log: r.log}
	var err error
	if t.left, err = r.find(ctx, r.again.Slug); err == nil {
		err = t.stop(ctx)
	}
	failure.Left = err
	r.bottle.Status = bottle.Stopped
	why := oneLine(cause)
	if interrupted {
		why = "interrupted"
	}
	r.bottle.Reason = fmt.Sprintf("it could not be resumed at %s: %s; bottle-start --resume %s tries again",
		time.Now().UTC().Format(time.RFC3339), why, r.again.Slug)
	failure.Left = errors.Join(failure.Left, r.Home.Save(r.bottle))
	return failure
}

// oneLine is an error's first line.
func oneLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
