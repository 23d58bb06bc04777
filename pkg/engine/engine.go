// Package engine says what bottle needs of a container engine, and nothing
// more. Engines are in packages below it and pass pkg/engine/enginetest.
package engine

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
	"time"

	"bottle/pkg/plan"
)

// Errors that callers act on; an engine wraps them.
var (
	ErrUnreachable = errors.New("the engine cannot be reached")
	ErrSilent      = errors.New("the engine has not answered")
	ErrNotFound    = errors.New("no such object")
	ErrConflict    = errors.New("it exists already, or is in use")
	ErrSubnetTaken = errors.New("the subnet overlaps with another network")
	ErrAmbiguous   = errors.New("there are several of that name")
)

// Away says whether err is of an engine that is not there, or does not answer: it is
// no use to ask it for something else.
func Away(err error) bool { return errors.Is(err, ErrUnreachable) || errors.Is(err, ErrSilent) }

// Engine runs containers. All methods are safe for concurrent use. Objects are
// named as in the plan; removing what is not there is no error.
type Engine interface {
	Host(ctx context.Context) (Host, error)

	// List returns the containers that carry the label bottle.home=home, in
	// one call.
	List(ctx context.Context, home string) ([]Container, error)
	// Events streams what happens to those containers until ctx ends. The
	// channel is closed when the stream ends for whatever reason.
	Events(ctx context.Context, home string) (<-chan Event, error)

	// Networks returns all networks of the engine, other people's too.
	Networks(ctx context.Context) ([]Network, error)
	CreateNetwork(ctx context.Context, n plan.Network) error // ErrSubnetTaken, ErrConflict
	// RemoveNetwork takes a name or an ID: ErrConflict while in use, ErrAmbiguous.
	RemoveNetwork(ctx context.Context, name string) error

	Volumes(ctx context.Context, home string) ([]Volume, error)
	// CreateVolume makes a volume; one of that name with the same home and slug
	// is taken as made, another's is ErrConflict.
	CreateVolume(ctx context.Context, v plan.Volume) error
	RemoveVolume(ctx context.Context, name string) error

	// Usage returns how many bytes of disk the volumes and containers of each
	// slug take, in one call. It is slow where there is much: the engine counts.
	Usage(ctx context.Context, home string) (map[string]int64, error)

	HasImage(ctx context.Context, ref string) (bool, error)
	// Build builds an image from a tar stream whose Dockerfile is at its root; its
	// steps go the way, and the builder's words go to log.
	Build(ctx context.Context, tag string, context io.Reader, way BuildWay, log io.Writer) error
	// ImageEnv returns the environment that an image gives its containers.
	ImageEnv(ctx context.Context, ref string) (map[string]string, error)
	// Commit makes an image of a container that has ended, and gives it the tag.
	Commit(ctx context.Context, name, tag string) error
	// RemoveImage takes a tag away, and the image where it was the last one.
	RemoveImage(ctx context.Context, tag string) error // ErrConflict while in use

	// Create makes a container and joins it to all its networks.
	Create(ctx context.Context, c plan.Container) error
	// Connect joins a container, running or not, to one more network.
	Connect(ctx context.Context, name string, ep plan.Endpoint) error
	Start(ctx context.Context, name string) error
	// StartAttached starts a container that was made with Stdin, connected to the
	// streams of its main process. The channel gets its end when its output ends,
	// or when ctx does, which ends the connection and not the container.
	StartAttached(ctx context.Context, name string, s Streams) (<-chan End, error)
	// Attach is StartAttached for a container that runs. Who attaches to one before
	// it starts and dies then, has closed its standard input for whoever comes next.
	Attach(ctx context.Context, name string, s Streams) (<-chan End, error)
	Stop(ctx context.Context, name string) error
	Remove(ctx context.Context, name string) error
	// Signal sends a signal, such as HUP, to the main process of a container:
	// ErrConflict where it does not run, ErrNotFound where there is none.
	Signal(ctx context.Context, name, signal string) error
	// Wait returns when the container does not run (any more), with its exit code.
	Wait(ctx context.Context, name string) (int, error)
	// LastEnd tells of the last end of a container that does not run.
	LastEnd(ctx context.Context, name string) (Ended, error)
	// Ended returns when the main process of a running container has ended. Wait
	// and Stop return when the engine has cleared up behind it too, which takes
	// most of their time. Of a container that does not run it may say nothing.
	Ended(ctx context.Context, name string) error
	// IsLink says whether a symbolic link stands at an absolute path in the file
	// system that a container which has ended leaves. Links on the way are followed.
	IsLink(ctx context.Context, name, path string) (bool, error)
	Logs(ctx context.Context, name string, w io.Writer) error
	// Exec runs a command in a container, without a terminal, and returns its
	// exit code. When ctx ends, the command's standard input ends.
	Exec(ctx context.Context, name string, x Exec) (int, error)
}

// BuildWay is how the steps of a build reach the outside.
type BuildWay struct {
	Container string            // in the network of this one; empty: in the engine's default
	Env       map[string]string // what a proxy is told by (HTTP_PROXY and such); it is in no image
}

// Host is what an engine tells of itself.
type Host struct {
	ID       string
	Version  string // such as 20.10.24
	API      string // the API version in use, such as 1.41
	CPUs     int
	Memory   int64 // bytes
	Runtimes []string
	Docker28 bool // it knows isolated gateways and sysctls per endpoint (API 1.48)
}

// Container is a container that exists.
type Container struct {
	Name    string
	Slug    string
	Service string
	State   string // created, running, paused, restarting, removing, exited, dead
	Status  string // for people: "Exited (137) 2 minutes ago"
	IPs     []netip.Addr
	Created time.Time
	// Networks are the names of those that it is in, sorted; Planned of those that
	// it was made to be in. The latter is nil where nobody said.
	Networks, Planned []string
}

// Astray are the networks that the container was made to be in and is not.
func (c Container) Astray() []string {
	var names []string
	for _, n := range c.Planned {
		if !slices.Contains(c.Networks, n) {
			names = append(names, n)
		}
	}
	return names
}

// Running says whether the container runs.
func (c Container) Running() bool { return c.State == "running" }

// Network is a network that exists.
type Network struct {
	Name    string
	ID      string
	Labels  map[string]string
	Subnets []netip.Prefix
	// Internal says that it leads to its members alone.
	Internal bool
}

// Volume is a volume that exists.
type Volume struct {
	Name string
	Slug string
}

// Event is a change of a container, or of who is in a network.
type Event struct {
	Time    time.Time
	Slug    string // empty of a network: whose it is an engine does not tell
	Service string
	Action  string // create, start, die, destroy, connect, disconnect, …
}

// Streams are the standard streams of a container's main process. Stdout and
// Stderr may be nil: dropped.
type Streams struct {
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
}

// Ended is how a container ended last.
type Ended struct {
	Code        int
	OutOfMemory bool // a process of it was killed for its memory
}

// End is how a container's main process ended.
type End struct {
	Code int
	Err  error // why that is not known
}

// Exec is a command to run in a container.
type Exec struct {
	Cmd    []string
	User   string // empty: the container's
	Dir    string // empty: the container's
	Env    []string
	Stdin  io.Reader // nil: none
	Stdout io.Writer // nil: dropped
	Stderr io.Writer // nil: dropped
}
