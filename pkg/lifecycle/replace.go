package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"bottle/pkg/plan"
	"bottle/pkg/spool"
	"bottle/pkg/state"
)

// DockerfileInForce is where, below agent/in, the Dockerfile is that the agent's
// image is made of.
const DockerfileInForce = "current-config/Dockerfile"

// ErrWentBack is wrapped by the error for a new image that its bottle could not
// go over to: the old one runs again.
var ErrWentBack = errors.New("the bottle could not go over to the new image, and went back to the old one")

// Rebuild makes a new image for a running bottle's agent out of a Dockerfile and
// goes over to it: with the same home, work, networks and conversation. answer is
// called when the image stands, before anything is stopped; its error undoes it.
// A step that fails is a *BuildError, and the bottle is as it was. Where the walls
// of the new container do not hold, or it does not come up, the old image runs
// again (ErrWentBack). Until it is done no reaper takes the bottle.
func (m *Manager) Rebuild(ctx context.Context, a Again, dockerfile string, answer func() error, say Say) error {
	host, err := m.Host(ctx)
	if err != nil {
		return err
	}
	lock, err := m.Home.Lock(a.Slug)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	r := &revival{bringUp: &bringUp{Manager: m, host: host}, again: a}
	if err := r.look(ctx); err != nil {
		return err
	}
	if r.values, err = m.share(a); err != nil {
		return err
	}
	for _, service := range []string{plan.AgentService, plan.EgressService} {
		if !r.have[service].Running() {
			return fmt.Errorf("%s cannot get another image: %s does not run: %w", a.Slug, service, ErrNotUp)
		}
	}
	if r.log, err = openJournal(filepath.Join(r.bottle.StateDir, state.BringupLog), say); err != nil {
		return err
	}
	defer r.log.Close()
	kept := m.Home.Preserved(a.Slug)
	if err := m.preserve(a.Slug); err != nil {
		return err
	}
	err = r.rebuild(ctx, dockerfile, answer)
	if kept {
		return errors.Join(err, m.preserve(a.Slug)) // the resume gave it up
	}
	return errors.Join(err, m.Home.Release(a.Slug))
}

func (m *Manager) preserve(slug string) error {
	return spool.WriteFile(filepath.Join(m.Home.StateDir(slug), state.PreserveFile), nil, 0o600)
}

func (r *revival) rebuild(ctx context.Context, dockerfile string, answer func() error) error {
	r.log.step("making a new image for %s", r.again.Slug)
	inForce, err := r.inForce()
	if err != nil {
		return err
	}
	before := r.plan
	old := before.Find(plan.AgentService).Image
	tag, env, err := r.buildImage(ctx, before, dockerfile, inForce, r.log)
	if err != nil {
		r.log.step("failed: %v", err)
		return err
	}
	if err := answer(); err != nil {
		return errors.Join(err, r.dropImage(ctx, tag, old))
	}
	// From here on it is told to the agent, so it is done to its end.
	ctx = context.WithoutCancel(ctx)
	r.told = "The operator approved your Dockerfile, and you run in the image that it makes now. It is in /etc/bottle/" + DockerfileInForce + ". Go on with your task."
	failed := r.goOver(ctx, before.Replace(tag, env), dockerfile)
	if failed == nil {
		return r.dropImage(ctx, old, tag)
	}
	r.log.step("going back to the old image: %v", failed)
	r.told = "The operator approved your Dockerfile, but its image could not be gone over to: you run in the old one. Go on with your task."
	if err := r.goOver(ctx, before, inForce); err != nil {
		return r.giveUp(ctx, errors.Join(failed, err))
	}
	return errors.Join(fmt.Errorf("%w: %w", ErrWentBack, failed), r.dropImage(ctx, tag, old))
}

// goOver replaces the agent's container by the plan's, and starts its session
// again. What is to be is recorded before: a resume ends what a kill cut short.
func (r *revival) goOver(ctx context.Context, p *plan.Plan, dockerfile string) error {
	r.plan = p
	if err := errors.Join(r.rewrite(), r.putInForce(dockerfile)); err != nil {
		return err
	}
	r.log.step("stopping the agent")
	name := plan.ContainerName(r.again.Slug, plan.AgentService)
	if err := errors.Join(r.Engine.Stop(ctx, name), r.Engine.Remove(ctx, name)); err != nil {
		return err
	}
	if err := r.look(ctx); err != nil { // it reads the plan that was written
		return err
	}
	return r.run(ctx)
}

// dropImage removes an image of this bottle's own, unless it is the one that
// stays.
func (r *revival) dropImage(ctx context.Context, tag, stays string) error {
	if tag == stays || !plan.IsRebuilt(r.again.Slug, tag) {
		return nil
	}
	return r.Engine.RemoveImage(ctx, tag)
}

// inForce is the Dockerfile in force; of a bottle that has none, the one that
// changes nothing.
func (r *revival) inForce() (string, error) {
	dir := filepath.Join(r.bottle.StateDir, "agent", "in")
	data, err := spool.ReadFile(dir, DockerfileInForce, maxSession)
	if errors.Is(err, fs.ErrNotExist) {
		return OriginalDockerfile, nil
	}
	return string(data), err
}

// OriginalDockerfile is in force until another one is approved.
const OriginalDockerfile = "FROM bottle\n"

func (r *revival) putInForce(text string) error {
	path := filepath.Join(r.bottle.StateDir, "agent", "in", DockerfileInForce)
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return spool.WriteFile(path, []byte(text), 0o644)
}
