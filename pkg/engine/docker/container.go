package docker

import (
	"context"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/pkg/stdcopy"
	"github.com/docker/go-units"

	"bottle/pkg/engine"
	"bottle/pkg/plan"
)

// Create implements engine.Engine: create on the first network, connect to the
// rest (Docker 20.10 refuses two endpoints at create).
func (e *Engine) Create(ctx context.Context, c plan.Container) error {
	var first *network.NetworkingConfig
	host := hostConfig(c)
	if len(c.Endpoints) > 0 {
		host.NetworkMode = container.NetworkMode(c.Endpoints[0].Network)
		first = &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{
			c.Endpoints[0].Network: endpoint(c.Endpoints[0])}}
	} else {
		host.NetworkMode = "none"
	}
	stop := c.StopSeconds
	config := container.Config{
		Image: c.Image, Entrypoint: c.Entrypoint, Cmd: []string{}, User: c.User, Env: environ(c.Env),
		WorkingDir: c.WorkingDir, Labels: c.Labels, Hostname: c.Service, StopTimeout: &stop,
		// What an image says of these would run beside the walls' test and speak on
		// the main process' streams, or keep the agent from being told to end.
		Healthcheck: &container.HealthConfig{Test: []string{"NONE"}}, StopSignal: "SIGTERM",
		OpenStdin: c.Stdin, StdinOnce: c.Stdin, AttachStdin: c.Stdin, AttachStdout: c.Stdin, AttachStderr: c.Stdin,
	}
	err := e.prompt(ctx, func(ctx context.Context) error {
		_, err := e.api.ContainerCreate(ctx, &config, host, first, nil, c.Name)
		return err
	})
	if err != nil {
		return wrap("create container "+c.Name, err)
	}
	for _, ep := range c.Endpoints[min(1, len(c.Endpoints)):] {
		if err := e.Connect(ctx, c.Name, ep); err != nil {
			return err
		}
	}
	return nil
}

// Connect implements engine.Engine.
func (e *Engine) Connect(ctx context.Context, name string, ep plan.Endpoint) error {
	err := e.prompt(ctx, func(ctx context.Context) error { return e.api.NetworkConnect(ctx, ep.Network, name, endpoint(ep)) })
	return wrap("connect "+name+" to "+ep.Network, err)
}

func endpoint(ep plan.Endpoint) *network.EndpointSettings {
	s := &network.EndpointSettings{Aliases: ep.Aliases, DriverOpts: ep.Options}
	if ep.IP.IsValid() {
		s.IPAMConfig = &network.EndpointIPAMConfig{IPv4Address: ep.IP.String()}
	}
	return s
}

func hostConfig(c plan.Container) *container.HostConfig {
	init := c.Init
	pids := c.Pids
	h := &container.HostConfig{
		CapDrop: c.CapDrop, CapAdd: c.CapAdd, SecurityOpt: append([]string{"seccomp=" + string(plan.Seccomp())}, c.SecurityOpt...),
		ReadonlyRootfs: c.ReadOnly, Init: &init, IpcMode: "private", Tmpfs: c.Tmpfs, Sysctls: c.Sysctls,
		DNS: c.DNS, DNSOptions: c.DNSOptions, Runtime: c.Runtime,
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyDisabled},
		LogConfig:     container.LogConfig{Type: "json-file", Config: plan.LogOptions()},
		Resources: container.Resources{Memory: c.Memory, MemorySwap: c.Memory, NanoCPUs: c.MilliCPUs * 1e6,
			PidsLimit: &pids},
	}
	if c.NoLog {
		h.LogConfig = container.LogConfig{Type: "none"}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Ulimits)) {
		l := c.Ulimits[name]
		h.Ulimits = append(h.Ulimits, &units.Ulimit{Name: name, Soft: l.Soft, Hard: l.Hard})
	}
	for _, name := range slices.Sorted(maps.Keys(c.Hosts)) {
		h.ExtraHosts = append(h.ExtraHosts, name+":"+c.Hosts[name])
	}
	for _, m := range c.Mounts {
		h.Mounts = append(h.Mounts, mount.Mount{Type: mount.Type(m.Type), Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly})
	}
	return h
}

func environ(env map[string]string) []string {
	list := make([]string, 0, len(env))
	for _, k := range slices.Sorted(maps.Keys(env)) {
		list = append(list, k+"="+env[k])
	}
	return list
}

// Start implements engine.Engine.
func (e *Engine) Start(ctx context.Context, name string) error {
	err := e.prompt(ctx, func(ctx context.Context) error { return e.api.ContainerStart(ctx, name, container.StartOptions{}) })
	return wrap("start container "+name, err)
}

// startTime bounds a start that is not interrupted.
const startTime = 2 * time.Minute

// StartAttached implements engine.Engine.
func (e *Engine) StartAttached(ctx context.Context, name string, s engine.Streams) (<-chan engine.End, error) {
	conn, err := e.attach(ctx, name)
	if err != nil {
		return nil, err
	}
	// A start that is cut short may happen all the same.
	starting, cancel := context.WithTimeout(context.WithoutCancel(ctx), startTime)
	defer cancel()
	if err := e.Start(starting, name); err != nil {
		conn.Close()
		return nil, err
	}
	return e.converse(ctx, name, conn, s), nil
}

// Attach implements engine.Engine.
func (e *Engine) Attach(ctx context.Context, name string, s engine.Streams) (<-chan engine.End, error) {
	conn, err := e.attach(ctx, name)
	if err != nil {
		return nil, err
	}
	return e.converse(ctx, name, conn, s), nil
}

func (e *Engine) attach(ctx context.Context, name string) (types.HijackedResponse, error) {
	conn, err := hijack(ctx, func() (types.HijackedResponse, error) {
		return e.api.ContainerAttach(ctx, name, container.AttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	})
	return conn, wrap("attach to container "+name, err)
}

// converse copies streams until the container's output ends, or ctx does.
func (e *Engine) converse(ctx context.Context, name string, conn types.HijackedResponse, s engine.Streams) <-chan engine.End {
	ended := make(chan engine.End, 1)
	go func() {
		defer conn.Close()
		if err := pump(ctx, conn, s.Stdin, s.Stdout, s.Stderr); err != nil {
			ended <- engine.End{Err: wrap("read what "+name+" says", err)}
			return
		}
		code, err := e.Wait(ctx, name)
		ended <- engine.End{Code: code, Err: err}
	}()
	return ended
}

// Stop implements engine.Engine; the container's own stop time holds.
func (e *Engine) Stop(ctx context.Context, name string) error {
	done, err := e.turn(ctx)
	if err != nil {
		return wrap("stop container "+name, err)
	}
	defer done()
	err = within(ctx, endings*e.patience, func(ctx context.Context) error {
		if err := e.api.ContainerStop(ctx, name, container.StopOptions{}); err != nil {
			return err
		}
		// The engine answers before it has brought its listing up to date, which it
		// does under the container's lock; an inspection waits for that. What it says
		// is a lot to read, and nobody's concern.
		return e.get(ctx, "/containers/"+name+"/json", func(io.Reader) error { return nil })
	})
	return wrap("stop container "+name, ignoreMissing(err))
}

// Signal implements engine.Engine.
func (e *Engine) Signal(ctx context.Context, name, signal string) error {
	return wrap("signal container "+name, e.api.ContainerKill(ctx, name, signal))
}

// Remove implements engine.Engine; what still runs is killed, and volumes that
// its image made the engine make, which have neither a name nor a label, go too.
func (e *Engine) Remove(ctx context.Context, name string) error {
	needed, err := e.takesTurns(ctx)
	if err != nil {
		return wrap("remove container "+name, err)
	}
	if needed { // but what has ended has left its networks
		if err := e.remove(ctx, name, false); !errdefs.IsConflict(err) {
			return err
		}
	}
	done, err := e.turn(ctx)
	if err != nil {
		return wrap("remove container "+name, err)
	}
	defer done()
	return e.remove(ctx, name, true)
}

func (e *Engine) remove(ctx context.Context, name string, force bool) error {
	err := ignoreMissing(within(ctx, endings*e.patience, func(ctx context.Context) error {
		return e.api.ContainerRemove(ctx, name, container.RemoveOptions{Force: force, RemoveVolumes: true})
	}))
	if err != nil && strings.Contains(err.Error(), "already in progress") {
		return e.gone(ctx, name)
	}
	return wrap("remove container "+name, err)
}

// gone waits until a removal that somebody else began is done.
func (e *Engine) gone(ctx context.Context, name string) error {
	done, failed := e.api.ContainerWait(ctx, name, container.WaitConditionRemoved)
	select {
	case <-done:
		return nil
	case err := <-failed:
		return wrap("remove container "+name, ignoreMissing(err))
	}
}

// Wait implements engine.Engine.
func (e *Engine) Wait(ctx context.Context, name string) (int, error) {
	ended, failed := e.api.ContainerWait(ctx, name, container.WaitConditionNotRunning)
	select {
	case end := <-ended:
		return int(end.StatusCode), nil
	case err := <-failed:
		return 0, wrap("wait for "+name, err)
	}
}

// LastEnd implements engine.Engine.
func (e *Engine) LastEnd(ctx context.Context, name string) (engine.Ended, error) {
	c, err := e.api.ContainerInspect(ctx, name)
	if err != nil {
		return engine.Ended{}, wrap("look at container "+name, err)
	}
	return engine.Ended{Code: c.State.ExitCode, OutOfMemory: c.State.OOMKilled}, nil
}

// IsLink implements engine.Engine.
func (e *Engine) IsLink(ctx context.Context, name, path string) (bool, error) {
	stat, err := e.api.ContainerStatPath(ctx, name, path)
	if errdefs.IsNotFound(err) { // the path, or the container: that has a root
		_, err = e.api.ContainerStatPath(ctx, name, "/")
	}
	return err == nil && stat.Mode&fs.ModeSymlink != 0, wrap("look into container "+name, err)
}

// Ended implements engine.Engine. The stream of an attached container ends later,
// if its standard input was to be attached once.
func (e *Engine) Ended(ctx context.Context, name string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	died, failed := e.api.Events(ctx, events.ListOptions{Filters: filters.NewArgs(
		filters.Arg("type", string(events.ContainerEventType)), filters.Arg("container", name), filters.Arg("event", string(events.ActionDie)))})
	select {
	case <-died:
		return nil
	case err := <-failed:
		return wrap("wait for "+name, err)
	}
}

// Logs implements engine.Engine: both streams, each line with its time.
func (e *Engine) Logs(ctx context.Context, name string, w io.Writer) error {
	r, err := e.api.ContainerLogs(ctx, name, container.LogsOptions{ShowStdout: true, ShowStderr: true, Timestamps: true})
	if err != nil {
		return wrap("read the log of "+name, err)
	}
	defer r.Close()
	_, err = stdcopy.StdCopy(w, w, r)
	return wrap("read the log of "+name, err)
}
