// Package docker is the engine of bottle's choice, through its own API. It
// speaks to a local socket only: bind mounts and user ids do not hold on an
// engine elsewhere.
package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/api/types/versions"
	"github.com/docker/docker/client"

	"bottle/pkg/engine"
	"bottle/pkg/plan"
)

// Engine is a Docker engine, 20.10 or newer.
type Engine struct {
	api    *client.Client
	socket string
	turns  turns

	patience time.Duration // see prompt
}

var _ engine.Engine = (*Engine)(nil)

// oldestAPI is Docker 20.10's.
const oldestAPI = "1.41"

// New returns the engine that DOCKER_HOST names, by default the local socket.
// Nothing is asked of it yet. A remote one is refused.
func New() (*Engine, error) { return At("") }

// At is New for the engine at host, such as unix:///run/docker.sock; empty: the
// one that DOCKER_HOST names.
func At(host string) (*Engine, error) {
	options := []client.Opt{client.FromEnv, client.WithAPIVersionNegotiation()}
	if host != "" {
		options = append(options, client.WithHost(host))
	}
	api, err := client.NewClientWithOpts(options...)
	if err != nil {
		return nil, fmt.Errorf("cannot use DOCKER_HOST: %w", err)
	}
	if host := api.DaemonHost(); !strings.HasPrefix(host, "unix://") {
		return nil, fmt.Errorf("the engine at %s is not on a local socket: bottle mounts local folders, so it needs a unix:// DOCKER_HOST", host)
	}
	return &Engine{api: api, socket: strings.TrimPrefix(api.DaemonHost(), "unix://"), turns: turns{place: make(chan struct{}, 1)}, patience: answerTime}, nil
}

// Host asks the engine what it is, and refuses one on which bottle's walls
// would not stand as planned.
func (e *Engine) Host(ctx context.Context) (engine.Host, error) {
	var info system.Info
	err := e.prompt(ctx, func(ctx context.Context) (err error) {
		info, err = e.api.Info(ctx)
		return err
	})
	if err != nil {
		return engine.Host{}, wrap("ask the engine", err)
	}
	h := engine.Host{ID: info.ID, Version: info.ServerVersion, API: e.api.ClientVersion(),
		CPUs: info.NCPU, Memory: info.MemTotal,
		Docker28: !versions.LessThan(e.api.ClientVersion(), "1.48")}
	for name := range info.Runtimes {
		h.Runtimes = append(h.Runtimes, name)
	}
	slices.Sort(h.Runtimes)
	return h, refuse(h, info.OSType, info.SecurityOptions)
}

func refuse(h engine.Host, osType string, security []string) error {
	if versions.LessThan(h.API, oldestAPI) {
		return fmt.Errorf("engine %s is too old (API %s): bottle needs Docker 20.10 or newer", h.Version, h.API)
	}
	if osType != "" && osType != "linux" {
		return fmt.Errorf("the engine runs %s containers: bottle needs Linux ones", osType)
	}
	for _, opt := range security {
		switch name, _, _ := strings.Cut(strings.TrimPrefix(opt, "name="), ","); name {
		case "userns":
			return errors.New("the engine maps user ids (userns-remap), so files would belong to others: bottle needs an engine without it")
		case "rootless":
			return errors.New("the engine is rootless, so user ids are mapped and its networks are not bottle's to close: bottle needs a rootful engine")
		}
	}
	if !slices.ContainsFunc(security, func(s string) bool { return strings.HasPrefix(s, "name=seccomp") }) {
		return errors.New("the engine has no seccomp, so bottle's walls would have a hole: use a kernel and engine with seccomp")
	}
	return nil
}

func ofHome(home string) filters.Args {
	return filters.NewArgs(filters.Arg("label", plan.LabelHome+"="+home))
}

// wrap gives an engine's error the sentinel that callers act on.
func wrap(what string, err error) error {
	var sentinel error
	switch {
	case err == nil:
		return nil
	case unreachable(err):
		sentinel = engine.ErrUnreachable
	case errdefs.IsNotFound(err), strings.HasSuffix(err.Error(), "received 404"): // the latter where streams were asked for
		sentinel = engine.ErrNotFound
	case strings.Contains(err.Error(), "Pool overlaps"):
		sentinel = engine.ErrSubnetTaken
	case strings.Contains(err.Error(), "is ambiguous"):
		sentinel = engine.ErrAmbiguous
	case errdefs.IsConflict(err), strings.Contains(err.Error(), "has active endpoints"), strings.Contains(err.Error(), "already exists"):
		sentinel = engine.ErrConflict
	default:
		return fmt.Errorf("cannot %s: %w", what, err)
	}
	return fmt.Errorf("cannot %s: %w: %w", what, sentinel, err)
}

// unreachable says whether err is of a connection that could not be made, or
// that broke before an answer.
func unreachable(err error) bool {
	var dial *net.OpError
	return client.IsErrConnectionFailed(err) || errors.As(err, &dial) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		strings.Contains(err.Error(), "permission denied while trying to connect")
}

// ignoreMissing drops the error of removing what is not there.
func ignoreMissing(err error) error {
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}
