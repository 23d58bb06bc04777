package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"bottle/pkg/engine"
	"bottle/pkg/frame"
	"bottle/pkg/plan"
)

// leaveTimeout is how long a viewer is waited for after its input ended.
const leaveTimeout = 2 * time.Second

// Options are how a session is shown.
type Options struct {
	Term       string   // the terminal's type, as $TERM names it
	DetachKeys []byte   // see ParseKeys; none: there is no detaching
	Cmd        []string // a command to show in place of the session
	// Copy puts text on the operator's clipboard; where it fails, or is nil, the
	// terminal is asked to.
	Copy func(ctx context.Context, text string) error
}

// Outcome is how a view of a session ended. One that was left without the
// agent's end is not Ended.
type Outcome struct {
	Ended bool
	Code  int // the agent's exit code, where it ended
}

// Attach shows the session on the terminal until the agent ends, the operator
// detaches, or a signal (the error is Signalled) or ctx ends it. However it
// ends, the terminal is as it was before, and no viewer stays in the container;
// below what was there stands the last screen of an agent that failed.
func Attach(ctx context.Context, e engine.Engine, container string, tty Terminal, o Options) (Outcome, error) {
	if o.Term == "dumb" && len(o.Cmd) == 0 {
		return Outcome{}, ErrDumb
	}
	var said words
	outcome, err := attach(ctx, e, container, tty, o, &said)
	if err == nil && outcome.Code != 0 && len(o.Cmd) == 0 {
		// An agent that failed leaves its last screen to read. Whoever waits for
		// a command line does not wait for that.
		ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
		defer cancel()
		Peek(ctx, e, container, tty.Out, Colours)
	}
	return outcome, err
}

// attach does it; said gets what bottle-inside itself complains of.
func attach(ctx context.Context, e engine.Engine, container string, tty Terminal, o Options, said *words) (Outcome, error) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT)
	defer signal.Stop(signals)
	s, err := openScreen(tty, len(o.Cmd) == 0)
	if err != nil {
		return Outcome{}, err
	}
	keys, err := newKeyboard(tty.In, o.DetachKeys)
	if err != nil {
		s.restore()
		return Outcome{}, err
	}
	if len(o.Cmd) == 0 {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		c := &copier{engine: e, container: container, screen: s, to: o.Copy, ended: make(chan struct{}, 1)}
		keys.watch = c.typed
		go c.run(ctx)
	}
	resized := make(chan os.Signal, 1) // from before the size is read, or a change might be missed
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	v := run(ctx, e, container, engine.Exec{Cmd: o.command(tty), Stdout: s, Stderr: said})
	typed := keys.start(v.input)
	go v.follow(tty, resized)
	defer keys.close()
	defer v.leave()
	defer s.restore() // first: what a viewer says on leaving is nobody's business
	for {
		select {
		case sig := <-signals:
			return Outcome{}, signalled(sig)
		case <-ctx.Done():
			return Outcome{}, ctx.Err()
		case <-v.ended:
			return v.outcome(o, said)
		case err := <-typed:
			switch {
			case errors.Is(err, errDetached):
				return Outcome{}, nil
			case errors.Is(err, errHungUp):
				return Outcome{}, Signalled{syscall.SIGHUP}
			case err != nil:
				return Outcome{}, err
			}
		}
	}
}

func (o Options) command(tty Terminal) []string {
	cols, rows := tty.size()
	cmd := []string{plan.InsideBin, "view", "--cols", strconv.Itoa(cols), "--rows", strconv.Itoa(rows)}
	if o.Term != "" {
		cmd = append(cmd, "--term", o.Term)
	}
	if len(o.Cmd) > 0 {
		cmd = append(append(cmd, "--"), o.Cmd...)
	}
	return cmd
}

// running is a bottle-inside that runs in the container and ends when its input
// does.
type running struct {
	input  *frame.Writer
	pipe   *io.PipeWriter
	cancel context.CancelFunc
	ended  chan struct{} // closed when code and err are there
	code   int
	err    error
}

// run starts x with framed input.
func run(ctx context.Context, e engine.Engine, container string, x engine.Exec) *running {
	in, pipe := io.Pipe()
	r := &running{input: frame.NewWriter(pipe), pipe: pipe, ended: make(chan struct{})}
	x.Stdin = in
	ctx, r.cancel = context.WithCancel(ctx)
	go func() {
		defer close(r.ended)
		defer in.Close()
		defer func() {
			if p := recover(); p != nil {
				r.err = fmt.Errorf("cannot talk to the engine: %v", p)
			}
		}()
		r.code, r.err = e.Exec(ctx, container, x)
	}()
	return r
}

// leave ends the input, and with it what runs, and waits for that with a limit.
func (r *running) leave() {
	r.pipe.Close()
	select {
	case <-r.ended:
	case <-time.After(leaveTimeout):
	}
	r.cancel()
}

// follow tells of the terminal's new sizes until what runs has ended. It is a
// goroutine of its own: a container that takes no input must not hold up the
// rest.
func (r *running) follow(tty Terminal, resized <-chan os.Signal) {
	for {
		select {
		case <-resized:
		case <-r.ended:
			return
		}
		cols, rows := tty.size()
		if r.input.Resize(uint16(cols), uint16(rows)) != nil {
			return
		}
	}
}

// outcome reads the end of what ran.
func (r *running) outcome(o Options, said *words) (Outcome, error) {
	switch {
	case r.err != nil && len(o.Cmd) > 0:
		return Outcome{}, fmt.Errorf("cannot run %s: %w", o.Cmd[0], r.err)
	case r.err != nil:
		return Outcome{}, fmt.Errorf("cannot show the session: %w", r.err)
	case len(o.Cmd) > 0:
		return Outcome{Ended: true, Code: r.code}, nil
	case r.code == frame.ExitNoSession:
		return Outcome{}, ErrNoSession
	case r.code == frame.ExitAlive:
		return Outcome{}, ErrViewer
	case len(said.b) > 0:
		return Outcome{}, fmt.Errorf("cannot show the session: %s", said.text(r.code))
	}
	return Outcome{Ended: true, Code: r.code}, nil
}
