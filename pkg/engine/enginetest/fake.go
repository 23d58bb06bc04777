package enginetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"bottle/pkg/engine"
	"bottle/pkg/plan"
)

// Fake is an engine in memory. Its containers run nothing but what Exec is
// asked for, as local processes, unless OnExec says otherwise.
type Fake struct {
	// Fail, where set, is asked before every call that changes something; its
	// error becomes the call's.
	Fail func(call, name string) error
	// OnExec, where set, answers commands instead of a local process.
	OnExec func(name string, x engine.Exec) (int, error)
	// OnAttach, where set, answers for the main process of a container that is
	// started attached, instead of a local process; holds: it goes on afterwards.
	OnAttach func(c plan.Container, x engine.Exec) (code int, holds bool)
	// OnStart, where set, is told of every container that starts.
	OnStart func(c plan.Container)
	// Links are paths at which every container leaves a link.
	Links []string
	// OnSignal, where set, takes signals; otherwise they end the container.
	OnSignal func(name, signal string) error

	mu         sync.Mutex
	containers map[string]*fakeContainer
	networks   map[string]plan.Network
	volumes    map[string]plan.Volume
	images     map[string]bool
	envs       map[string]map[string]string // of images
	listeners  map[chan engine.Event]string
	Calls      []string // the changing calls, in order
}

var _ engine.Engine = (*Fake)(nil)

type fakeContainer struct {
	plan.Container
	state string
	code  int
	ended chan struct{}
}

// NewFake returns an engine that holds the named images and nothing else.
func NewFake(images ...string) *Fake {
	f := &Fake{containers: map[string]*fakeContainer{}, networks: map[string]plan.Network{}, volumes: map[string]plan.Volume{},
		images: map[string]bool{}, envs: map[string]map[string]string{}, listeners: map[chan engine.Event]string{}}
	for _, i := range images {
		f.images[i] = true
	}
	return f
}

func (f *Fake) begin(call, name string) error {
	if f.Fail != nil {
		if err := f.Fail(call, name); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Calls = append(f.Calls, call+" "+name)
	return nil
}

// Left says what the engine still holds besides images.
func (f *Fake) Left() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var left []string
	for n := range f.containers {
		left = append(left, "container "+n)
	}
	for n := range f.networks {
		left = append(left, "network "+n)
	}
	for n := range f.volumes {
		left = append(left, "volume "+n)
	}
	slices.Sort(left)
	return left
}

func (f *Fake) Host(context.Context) (engine.Host, error) {
	return engine.Host{ID: "fake", Version: "20.10.24", API: "1.41", CPUs: 2, Memory: 8 << 30, Runtimes: []string{"runc"}}, nil
}

func (f *Fake) List(_ context.Context, home string) ([]engine.Container, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []engine.Container
	for _, c := range f.containers {
		if c.Labels[plan.LabelHome] != home {
			continue
		}
		out := engine.Container{Name: c.Name, Slug: c.Labels[plan.LabelSlug], Service: c.Service, State: c.state}
		for i, e := range c.Endpoints {
			if ip := e.IP; ip.IsValid() {
				out.IPs = append(out.IPs, ip)
			} else {
				out.IPs = append(out.IPs, plan.Address(f.networks[e.Network].Subnet, 20+i))
			}
			out.Networks = append(out.Networks, e.Network)
		}
		slices.Sort(out.Networks)
		if names := c.Labels[plan.LabelNetworks]; names != "" {
			out.Planned = strings.Split(names, ",")
		}
		list = append(list, out)
	}
	return list, nil
}

func (f *Fake) Events(ctx context.Context, home string) (<-chan engine.Event, error) {
	in, out := make(chan engine.Event, 100), make(chan engine.Event)
	f.mu.Lock()
	f.listeners[in] = home
	f.mu.Unlock()
	go func() {
		defer close(out)
		defer func() { f.mu.Lock(); delete(f.listeners, in); f.mu.Unlock() }()
		for {
			select {
			case <-ctx.Done():
				return
			case ev := <-in:
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

// tell is called with the lock held.
func (f *Fake) tell(c *fakeContainer, action string) {
	for ch, home := range f.listeners {
		if c.Labels[plan.LabelHome] == home {
			ch <- engine.Event{Time: time.Now(), Slug: c.Labels[plan.LabelSlug], Service: c.Service, Action: action}
		}
	}
}

func (f *Fake) Create(_ context.Context, c plan.Container) error {
	if err := f.begin("Create", c.Name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.Image != "" && !f.images[c.Image] {
		return fmt.Errorf("create %s: no image %s: %w", c.Name, c.Image, engine.ErrNotFound)
	}
	if _, there := f.containers[c.Name]; there {
		return fmt.Errorf("create container %s: %w", c.Name, engine.ErrConflict)
	}
	made := &fakeContainer{Container: c, state: "created", ended: make(chan struct{})}
	f.containers[c.Name] = made
	f.tell(made, "create")
	return nil
}

func (f *Fake) find(name string) (*fakeContainer, error) {
	c, there := f.containers[name]
	if !there {
		return nil, fmt.Errorf("container %s: %w", name, engine.ErrNotFound)
	}
	return c, nil
}

func (f *Fake) Start(_ context.Context, name string) error {
	if err := f.begin("Start", name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	c, err := f.find(name)
	if err != nil {
		return err
	}
	for _, e := range c.Endpoints {
		if _, there := f.networks[e.Network]; !there {
			return fmt.Errorf("start %s: network %s: %w", name, e.Network, engine.ErrNotFound)
		}
	}
	if c.state == "exited" {
		c.ended = make(chan struct{})
	}
	c.state = "running"
	f.tell(c, "start")
	if f.OnStart != nil {
		f.OnStart(c.Container)
	}
	if len(c.Entrypoint) > 0 && c.Entrypoint[0] == "sh" { // one that ends by itself
		var failed *exec.ExitError
		if errors.As(exec.Command(c.Entrypoint[0], c.Entrypoint[1:]...).Run(), &failed) {
			c.code = failed.ExitCode()
		}
		f.end(c)
	}
	return nil
}

// StartAttached runs the entrypoint as a local process, or asks OnAttach.
func (f *Fake) StartAttached(ctx context.Context, name string, s engine.Streams) (<-chan engine.End, error) {
	if err := f.Start(ctx, name); err != nil {
		return nil, err
	}
	return f.Attach(ctx, name, s)
}

// Attach does for a container that runs what StartAttached does.
func (f *Fake) Attach(ctx context.Context, name string, s engine.Streams) (<-chan engine.End, error) {
	f.mu.Lock()
	c, err := f.find(name)
	f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	x := engine.Exec{Cmd: c.Entrypoint, Stdin: s.Stdin, Stdout: s.Stdout, Stderr: s.Stderr}
	ended, closed := make(chan engine.End, 1), make(chan engine.End, 1)
	go func() {
		code, holds, err := f.attached(c, x)
		if holds {
			<-c.ended
		}
		f.mu.Lock()
		if c.state == "running" { // otherwise it was stopped, and its code is known
			c.code = code
		}
		f.end(c)
		f.mu.Unlock()
		ended <- engine.End{Code: code, Err: err}
	}()
	go func() {
		select {
		case e := <-ended:
			closed <- e
		case <-ctx.Done():
			closed <- engine.End{Err: ctx.Err()}
		}
	}()
	return closed, nil
}

func (f *Fake) attached(c *fakeContainer, x engine.Exec) (code int, holds bool, err error) {
	if f.OnAttach != nil {
		code, holds = f.OnAttach(c.Container, x)
		return code, holds, nil
	}
	code, err = run(context.Background(), x)
	return code, false, err
}

func (f *Fake) Signal(_ context.Context, name, signal string) error {
	if err := f.begin("Signal", name); err != nil {
		return err
	}
	f.mu.Lock()
	c, err := f.find(name)
	if err == nil && c.state != "running" {
		err = fmt.Errorf("cannot signal %s: %w", name, engine.ErrConflict)
	}
	if err == nil && f.OnSignal == nil {
		c.code = 129
		f.end(c)
	}
	f.mu.Unlock()
	if err == nil && f.OnSignal != nil {
		err = f.OnSignal(name, signal)
	}
	return err
}

func (f *Fake) LastEnd(_ context.Context, name string) (engine.Ended, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, err := f.find(name)
	if err != nil {
		return engine.Ended{}, err
	}
	return engine.Ended{Code: c.code}, nil
}

func (f *Fake) IsLink(_ context.Context, name, path string) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := f.find(name)
	return err == nil && slices.Contains(f.Links, path), err
}

func (f *Fake) Logs(_ context.Context, name string, w io.Writer) error {
	_, err := fmt.Fprintf(w, "2026-01-01T00:00:00Z %s said this\n", name)
	return err
}

func (f *Fake) Exec(ctx context.Context, name string, x engine.Exec) (int, error) {
	f.mu.Lock()
	_, err := f.find(name)
	f.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if f.OnExec != nil {
		return f.OnExec(name, x)
	}
	return run(ctx, x)
}

func run(ctx context.Context, x engine.Exec) (int, error) {
	cmd := exec.CommandContext(ctx, x.Cmd[0], x.Cmd[1:]...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = append(cmd.Environ(), x.Env...), x.Stdin, x.Stdout, x.Stderr
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	var failed *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case errors.As(err, &failed):
		return failed.ExitCode(), nil
	}
	return 0, err
}
