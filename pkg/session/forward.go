package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"bottle/pkg/engine"
	"bottle/pkg/plan"
	"bottle/pkg/tunnel"
)

// Errors of forwarding.
var (
	ErrPortInUse = errors.New("the port is in use")
	ErrRefused   = tunnel.ErrRefused // nothing listens on the port in the container
	ErrTunnel    = errors.New("the container's end of the tunnel is gone")
)

// Port is a port of the host's loopback, 0 for any, and the one of the container's
// loopback that it leads to.
type Port struct{ Local, Inside uint16 }

// ParsePort reads PORT, which is the same on both sides, or LOCAL:PORT.
func ParsePort(text string) (Port, error) {
	local, inside, two := strings.Cut(text, ":")
	if !two {
		inside = local
	}
	l, err1 := strconv.ParseUint(local, 10, 16)
	i, err2 := strconv.ParseUint(inside, 10, 16)
	if err1 != nil || err2 != nil || i == 0 {
		return Port{}, fmt.Errorf("%q is neither PORT nor LOCAL:PORT", text)
	}
	return Port{uint16(l), uint16(i)}, nil
}

// Forwarding is a set of ports that are listened on.
type Forwarding struct {
	Ports []Port // none with a Local of 0
	at    [][]*net.TCPListener
}

// Listen listens for ports on the host's loopback alone: 127.0.0.1, and ::1 where
// there is one, since a browser may take either for localhost. The error is
// ErrPortInUse where somebody has one of them.
func Listen(ports []Port) (*Forwarding, error) {
	f := &Forwarding{}
	for _, p := range ports {
		at, err := listen(p.Local)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("cannot listen on port %d: %w", p.Local, err)
		}
		f.at = append(f.at, at)
		f.Ports = append(f.Ports, Port{portOf(at[0]), p.Inside})
	}
	return f, nil
}

// freeTries is how often a port that is free on one loopback may be taken on the
// other.
const freeTries = 16

func listen(port uint16) ([]*net.TCPListener, error) {
	for try := 0; ; try++ {
		four, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)})
		if err != nil {
			return nil, inUse(err)
		}
		six, err := net.ListenTCP("tcp6", &net.TCPAddr{IP: net.IPv6loopback, Port: int(portOf(four))})
		switch {
		case err == nil:
			return []*net.TCPListener{four, six}, nil
		case !errors.Is(err, syscall.EADDRINUSE): // this host has no such address
			return []*net.TCPListener{four}, nil
		}
		four.Close()
		if port != 0 || try == freeTries {
			return nil, inUse(err)
		}
	}
}

func inUse(err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return ErrPortInUse
	}
	return err
}

func portOf(l *net.TCPListener) uint16 { return uint16(l.Addr().(*net.TCPAddr).Port) }

// Close stops listening.
func (f *Forwarding) Close() {
	for _, at := range f.at {
		for _, l := range at {
			l.Close()
		}
	}
}

// Run carries connections to the container until ctx ends, or the container's end
// of the tunnel does: the error then is ErrTunnel. ready is called when it can;
// failed is told, from any goroutine, of a port that cannot be reached, once until
// it was reached again.
func (f *Forwarding) Run(ctx context.Context, e engine.Engine, container string, ready func(), failed func(Port, error)) error {
	defer f.Close()
	x := begin(ctx, e, container)
	defer x.end()
	host, err := tunnel.Open(ctx, x.out, x.in)
	if err != nil {
		return x.why(err)
	}
	defer host.Close()
	ready()
	c := carrier{ctx: ctx, host: host, failed: failed, slots: make(chan struct{}, tunnel.MaxConns)}
	for i, at := range f.at {
		quiet := new(atomic.Bool)
		for _, l := range at {
			go c.accept(l, f.Ports[i], quiet)
		}
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-host.Done():
		return x.why(ErrTunnel)
	}
}

// acceptPause is how long a listener rests that could not accept.
const acceptPause = 50 * time.Millisecond

// carrier accepts connections and has the tunnel carry them.
type carrier struct {
	ctx    context.Context
	host   *tunnel.Host
	failed func(Port, error)
	slots  chan struct{} // as many as may be open
}

// accept ends when its listener is closed. quiet says that failed was told.
func (c *carrier) accept(l *net.TCPListener, p Port, quiet *atomic.Bool) {
	for {
		c.slots <- struct{}{}
		conn, err := l.AcceptTCP()
		if err != nil {
			<-c.slots
			if errors.Is(err, net.ErrClosed) {
				return
			}
			within(acceptPause, c.ctx.Done()) // there may be no descriptor for it
			continue
		}
		go func() {
			defer func() { <-c.slots }()
			err := c.host.Carry(c.ctx, conn, p.Inside)
			if told := quiet.Swap(err != nil); err != nil && !told && c.ctx.Err() == nil {
				c.failed(p, err)
			}
		}()
	}
}

// remote is the program in the container that dials.
type remote struct {
	in     *io.PipeWriter // its standard input
	out    *io.PipeReader // its standard output
	cancel context.CancelFunc
	ended  chan struct{} // closed when said, code and err are there
	said   words
	code   int
	err    error
}

func begin(ctx context.Context, e engine.Engine, container string) *remote {
	stdin, in := io.Pipe()
	out, stdout := io.Pipe()
	x := &remote{in: in, out: out, ended: make(chan struct{})}
	ctx, x.cancel = context.WithCancel(ctx)
	go func() {
		defer close(x.ended)
		x.code, x.err = e.Exec(ctx, container, engine.Exec{Cmd: []string{plan.InsideBin, "forward"}, Stdin: stdin, Stdout: stdout, Stderr: &x.said})
		stdin.Close()
		stdout.Close()
	}()
	return x
}

// end ends the program's input, and so the program.
func (x *remote) end() {
	x.in.Close()
	x.out.Close()
	within(leaveTimeout, x.ended)
	x.cancel()
}

// why is what the program says of its end, or else err.
func (x *remote) why(err error) error {
	x.in.Close()
	if !within(leaveTimeout, x.ended) {
		return err
	}
	switch {
	case x.err != nil:
		return fmt.Errorf("cannot forward ports: %w", x.err)
	case len(x.said.b) > 0:
		return fmt.Errorf("cannot forward ports: %s", x.said.text(x.code))
	}
	return err
}
