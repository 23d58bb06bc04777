package lifecycle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"bottle/pkg/agent"
	"bottle/pkg/bottle"
	"bottle/pkg/engine"
	"bottle/pkg/manifest"
	"bottle/pkg/plan"
	"bottle/pkg/spool"
	"bottle/pkg/state"
	"bottle/pkg/workspace"
)

// What becomes of the operator's folder.
const (
	WorkspaceCopy  = "copy"  // it is copied to /work
	WorkspaceMount = "mount" // it is at /work itself, but for its .git
	WorkspaceNone  = "none"  // /work is empty
)

// Spec is what is asked for.
type Spec struct {
	Manifest  manifest.Manifest
	Agent     agent.Agent
	Slug      string            // empty: a new one
	Workspace string            // WorkspaceCopy, WorkspaceMount or WorkspaceNone
	Folder    string            // what is copied or mounted, absolute
	Mount     workspace.Info    // of Folder, by workspace.Mountable; for WorkspaceMount
	Task      string            // what the agent is to do first; empty: nothing yet
	Rebuild   bool              // the agent's image is made anew, though it exists
	Secrets   map[string]string // values for the session's environment
	// Credentials are values for egress, by the names that the policy has for
	// them. Neither map may reach a file, an argv or a log.
	Credentials map[string]string
	// Keys are values for the git gate alone, by the names of their references.
	Keys       map[string]string
	KnownHosts map[string]string // lines of a known_hosts file, by the remote's name
	Way        Way
}

// Way is how what is brought up reaches the outside.
type Way struct {
	Proxy *bottle.Proxy // nil: by itself
	Login string        // the proxy's, user:password; it is among the values for sidecars too
	// Env is what programs of this machine are told of it. Like Login it may reach no
	// file, argv or log.
	Env  []string
	Hide []string // what of a login such programs may say, in all forms of it
}

// Failure is a bring-up that failed, after everything made was taken down, or as
// much of it as the engine let.
type Failure struct {
	Err  error
	Tail []string // the last lines of the log
	Log  string   // where the whole log is
	Left error    // why something could not be taken down; nil: nothing is left
}

func (f *Failure) Error() string { return f.Err.Error() }
func (f *Failure) Unwrap() error { return f.Err }

// Up makes a bottle and starts its session. Whatever goes wrong, or when ctx
// ends, everything that was made is taken down, and the error is a Failure.
func (m *Manager) Up(ctx context.Context, s Spec, say Say) (bottle.Bottle, error) {
	if err := checkWay(hasPipelock(s), s.Way); err != nil {
		return bottle.Bottle{}, err
	}
	u := &bringUp{Manager: m, spec: s, planned: make(chan error, 1)}
	go func() { // it reads all programs: meanwhile the engine is asked what it is
		var err error
		if u.images, err = m.planImages(s); err == nil && hasGate(s) {
			u.facts, err = gateFacts(ctx, s)
		}
		u.planned <- err
	}()
	// Intent before action: from here on the bottle is listed.
	lock, err := u.claim(ctx)
	if err != nil {
		return u.bottle, err
	}
	defer lock.Unlock()
	log, err := openJournal(filepath.Join(u.bottle.StateDir, state.BringupLog), say)
	if err != nil {
		return u.bottle, errors.Join(err, m.Home.Forget(u.bottle.Slug))
	}
	defer log.Close()
	u.log = log
	if err := u.run(ctx); err != nil {
		return u.bottle, u.undo(ctx, err)
	}
	return u.bottle, nil
}

// claim claims a slug and records what is to be. A slug of which the engine still
// holds something is not claimed: what a failed start takes down, and what a
// reaper takes of a dead one, would be an earlier bottle's work.
func (u *bringUp) claim(ctx context.Context) (*state.Lock, error) {
	s := u.spec
	u.bottle = bottle.Bottle{Agent: s.Manifest.Agent, Bottle: s.Manifest.BottleName, Program: s.Agent.Name(), Status: bottle.Starting,
		StartedAt: time.Now().UTC().Truncate(time.Second), Workspace: s.Workspace, Folder: s.Folder, Home: u.Home.ID}
	for {
		u.bottle.Slug = s.Slug
		if s.Slug == "" {
			u.bottle.Slug = state.NewSlug(s.Manifest.Agent)
		}
		u.bottle.Project, u.bottle.StateDir = plan.Project(u.bottle.Slug), u.Home.StateDir(u.bottle.Slug)
		if err := together(ctx, u.mayStart, u.nothingRemains); err != nil {
			return nil, err
		}
		u.bottle.Engine = u.host.ID
		lock, err := u.Home.Create(u.bottle)
		if s.Slug != "" || !errors.Is(err, state.ErrExists) {
			return lock, err
		}
	}
}

// mayStart finds out what the engine is, and whether it has what the manifest
// demands.
func (u *bringUp) mayStart(ctx context.Context) (err error) {
	if u.host, err = u.Host(ctx); err != nil {
		return err
	}
	_, err = plan.Runtime(u.spec.Manifest.Runtime, u.host.Runtimes)
	return err
}

// nothingRemains makes sure that the engine holds nothing under the slug. If there
// is a state directory, it is a bottle, and Create says so.
func (u *bringUp) nothingRemains(ctx context.Context) error {
	if exists(u.bottle.StateDir) {
		return nil
	}
	left, err := u.find(ctx, u.bottle.Slug)
	if err == nil && !left.empty() {
		err = fmt.Errorf("%s: %w", u.bottle.Slug, ErrRemains)
	}
	return err
}

// bringUp is one bring-up under way.
type bringUp struct {
	*Manager
	spec   Spec
	host   engine.Host
	log    *journal
	bottle bottle.Bottle
	images images          // valid when planned has said so
	facts  workspace.Facts // as images
	plan   *plan.Plan
	subdir string // of the workspace, where the session starts
	way    engine.BuildWay

	planned chan error
}

func (u *bringUp) run(ctx context.Context) error {
	u.log.step("making the bottle")
	if err := errors.Join(<-u.planned, u.standsAlone()); err != nil {
		return err
	}
	if err := u.makeImages(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	inside, err := u.makeBottle(ctx)
	if inside != nil {
		defer inside.end()
	}
	if err != nil {
		return err
	}
	u.log.step("starting %s", u.spec.Agent.Name())
	return u.handOver(inside)
}

// handOver starts the agent. That it may have run is recorded before: no reaper
// takes it from then on.
func (u *bringUp) handOver(inside *opening) error {
	u.nameServices()
	if err := u.saveSession(u.bottle.Slug, u.spec, u.subdir); err != nil {
		return err
	}
	u.bottle.Ran = true
	if err := u.Home.Save(u.bottle); err != nil {
		return err
	}
	if err := u.startSession(inside, withSecrets(firstSession(u.spec, u.subdir), u.spec.Secrets)); err != nil {
		return err
	}
	u.bottle.Status = bottle.Running
	if err := u.Home.Save(u.bottle); err != nil {
		return err
	}
	u.log.step("%s is up", u.bottle.Slug)
	return nil
}

// nameServices records what the plan has, as it is listed: nothing changes for who
// watches.
func (u *bringUp) nameServices() {
	u.bottle.Services, u.bottle.Sidecars = nil, nil
	for _, c := range u.plan.Containers {
		u.bottle.Services = append(u.bottle.Services, c.Service)
		if c.Service != plan.AgentService {
			u.bottle.Sidecars = append(u.bottle.Sidecars, c.Service)
		}
	}
	slices.Sort(u.bottle.Services)
	slices.Sort(u.bottle.Sidecars)
}

// undo takes down what a failed bring-up made, and keeps its log.
func (u *bringUp) undo(ctx context.Context, cause error) error {
	interrupted := ctx.Err() != nil
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
	defer cancel()
	if interrupted {
		u.log.step("interrupted: taking down what was made")
	} else {
		u.log.step("failed: %v", cause)
		u.log.step("taking down what was made")
	}
	failure := &Failure{Err: cause, Tail: u.log.Tail(), Log: filepath.Join(u.bottle.StateDir, state.BringupLog)}
	if interrupted {
		failure.Err = context.Canceled
	}
	if failure.Left = u.takeDown(ctx); failure.Left == nil {
		failure.Log = filepath.Join(u.Home.HistoryDir(u.bottle.Slug), state.BringupLog)
		failure.Left = u.dropUplink(ctx, u.host.ID)
	}
	return failure
}

// takeDown removes all that was made but the log, and the bottle with it.
func (u *bringUp) takeDown(ctx context.Context) error {
	left, err := u.find(ctx, u.bottle.Slug)
	if err != nil {
		return err
	}
	if err := u.saveLogs(ctx, u.bottle.Slug, left.containers, u.log); err != nil {
		u.log.step("the containers' logs are incomplete: %v", err)
	}
	if err := u.remove(ctx, left); err != nil {
		return err
	}
	u.unshare(ctx, u.bottle, u.log)
	return u.Home.Retire(u.bottle.Slug, u.historyFiles(u.bottle.Slug))
}

// planFile is the plan a bottle was made of, for what comes later in its life.
const planFile = "plan.json"

func (m *Manager) savePlan(p *plan.Plan) error {
	data, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot encode the plan: %w", err)
	}
	return spool.WriteFile(filepath.Join(m.Home.StateDir(p.Slug), planFile), data, 0o600)
}

func (m *Manager) loadPlan(slug string) (*plan.Plan, error) {
	data, err := spool.ReadFile(m.Home.StateDir(slug), planFile, 1<<20)
	if err != nil {
		return nil, fmt.Errorf("cannot read the plan of %s: %w", slug, err)
	}
	var p plan.Plan
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, fmt.Errorf("cannot read the plan of %s: %w", slug, err)
	}
	if p.Find(plan.AgentService) == nil {
		return nil, fmt.Errorf("cannot read the plan of %s: it has no agent", slug)
	}
	return &p, nil
}
