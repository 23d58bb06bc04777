package lifecycle

import (
	"context"
	"slices"
	"sync"

	"bottle/pkg/plan"
)

// making is one try to make what the plan says. What waits for something waits
// for its channel.
type making struct {
	*bringUp
	volumes  func(context.Context) error
	files    func(context.Context) error // what containers mount
	share    func(context.Context) error // the operator's folder, where it is mounted
	network  chan struct{}               // closed when the bottle's own networks are made, or cannot be
	failed   error                       // why it cannot; valid once network is closed
	agentUp  chan struct{}               // closed when the agent's container runs
	sidecars sync.WaitGroup
	inside   *opening // valid once agentUp is closed
}

// makeContainers makes and starts what the plan says, fills the workspace and
// tries the walls, as much side by side as the engine allows. The first error
// ends what has not begun. Where it returns a conversation, the caller ends it.
func (u *bringUp) makeContainers(ctx context.Context) (*opening, error) {
	m := &making{bringUp: u, network: make(chan struct{}), agentUp: make(chan struct{})}
	m.volumes, m.files, m.share = once(m.makeVolumes), once(m.writeFiles), once(m.shareFolder)
	steps := []func(context.Context) error{m.makeNetwork, m.share, m.fill, m.seed, m.tryWalls, m.secrets}
	for _, c := range u.plan.Containers {
		if c.Service == plan.AgentService {
			steps = append(steps, func(step context.Context) error { return m.makeAgent(step, ctx, c) })
			continue
		}
		m.sidecars.Add(1)
		steps = append(steps, func(ctx context.Context) error {
			defer m.sidecars.Done()
			return m.makeSidecar(ctx, c)
		})
	}
	err := together(ctx, steps...)
	if err != nil && m.inside != nil {
		m.inside.end()
		return nil, err
	}
	return m.inside, err
}

// once makes of a step one that is done at its first call; the others wait for it.
func once(step func(context.Context) error) func(context.Context) error {
	var o sync.Once
	var err error
	return func(ctx context.Context) error {
		o.Do(func() { err = step(ctx) })
		return err
	}
}

func (m *making) makeNetwork(ctx context.Context) error {
	defer close(m.network)
	for _, n := range m.plan.Private() {
		if m.failed == nil {
			m.failed = whole(ctx, func(ctx context.Context) error { return m.Engine.CreateNetwork(ctx, n) })
		}
	}
	return m.failed
}

// awaitNetwork waits for the bottle's own network. That it could not be made is
// its maker's error, so that the caller is told of it once.
func (m *making) awaitNetwork(ctx context.Context) error {
	select {
	case <-m.network:
		return m.failed
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *making) makeVolumes(ctx context.Context) error {
	var steps []func(context.Context) error
	for _, v := range m.plan.Volumes {
		steps = append(steps, func(ctx context.Context) error {
			return whole(ctx, func(ctx context.Context) error { return m.Engine.CreateVolume(ctx, v) })
		})
	}
	if err := all(ctx, steps); err != nil {
		return err
	}
	c, ok := m.plan.Furnish()
	if !ok {
		return nil
	}
	return whole(ctx, func(ctx context.Context) error {
		if err := m.Engine.Create(ctx, c); err != nil {
			return err
		}
		return m.Engine.Remove(ctx, c.Name)
	})
}

// makeSidecar makes and starts a sidecar, and waits until it can serve. It starts
// when the bottle's own network is made and not before: the engine does not do
// both at once, and the agent waits for the network. That its start then delays
// the agent's creation is no loss: it takes longer.
func (m *making) makeSidecar(ctx context.Context, c plan.Container) error {
	early, late := m.plan.Early(c)
	if len(early) == 0 {
		early, late = late, nil
		if err := m.awaitNetwork(ctx); err != nil {
			return err
		}
	}
	if err := m.files(ctx); err != nil {
		return err
	}
	if slices.ContainsFunc(c.Mounts, func(mount plan.Mount) bool { return mount.Type == "volume" }) {
		if err := m.volumes(ctx); err != nil {
			return err
		}
	}
	if c.Service == plan.PipelockService {
		if err := m.checkPipelock(ctx, m.plan); err != nil {
			return err
		}
	}
	c.Endpoints = early
	if err := whole(ctx, func(ctx context.Context) error { return m.Engine.Create(ctx, c) }); err != nil {
		return err
	}
	if err := m.awaitNetwork(ctx); err != nil {
		return err
	}
	if err := m.start(ctx, c.Name); err != nil {
		return err
	}
	if err := m.connect(ctx, c, late); err != nil {
		return err
	}
	return m.awaitSidecar(ctx, c)
}

// makeAgent makes and starts the agent's container, and begins the conversation
// with it, which lasts for as long as outlives does.
func (m *making) makeAgent(ctx, outlives context.Context, c plan.Container) error {
	if err := m.volumes(ctx); err != nil {
		return err
	}
	if err := m.files(ctx); err != nil {
		return err
	}
	if err := m.share(ctx); err != nil {
		return err
	}
	if err := m.awaitNetwork(ctx); err != nil {
		return err
	}
	if err := whole(ctx, func(ctx context.Context) error { return m.Engine.Create(ctx, c) }); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	var err error
	if m.inside, err = m.open(outlives); err != nil {
		return err
	}
	close(m.agentUp)
	return nil
}

// fill copies the workspace when the agent's container is there to take it.
func (m *making) fill(ctx context.Context) error {
	select {
	case <-m.agentUp:
		return m.fillWorkspace(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tryWalls runs the self-test when the agent's container is up.
func (m *making) tryWalls(ctx context.Context) error {
	targets, err := m.targets(ctx)
	if err != nil {
		return err
	}
	select {
	case <-m.agentUp:
	case <-ctx.Done():
		return ctx.Err()
	}
	m.log.step("trying the walls from inside")
	return m.selfTest(m.inside, targets, func() error {
		m.sidecars.Wait() // each ends with ctx at the latest
		return ctx.Err()
	})
}

// secrets hands the sidecars their values when all can serve.
func (m *making) secrets(ctx context.Context) error {
	m.sidecars.Wait() // each ends with ctx at the latest
	if err := ctx.Err(); err != nil {
		return err
	}
	return m.handSecrets(ctx)
}

// connect joins a container that runs to the bottle's own network, which is made.
func (m *making) connect(ctx context.Context, c plan.Container, late []plan.Endpoint) error {
	for _, ep := range late {
		if err := whole(ctx, func(ctx context.Context) error { return m.Engine.Connect(ctx, c.Name, ep) }); err != nil {
			return err
		}
	}
	return nil
}
