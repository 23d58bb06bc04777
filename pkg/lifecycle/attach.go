package lifecycle

import (
	"context"
	"io"

	"bottle/pkg/engine"
)

// attached is the other end of a container's main process.
type attached struct {
	say   *io.PipeWriter    // to its standard input; writes fail when it has ended
	ended <-chan engine.End // its end; closed after that
}

// attaching is how one connects to a container: engine.Engine's StartAttached or
// Attach.
type attaching func(ctx context.Context, name string, s engine.Streams) (<-chan engine.End, error)

// attach starts a container, connected until ctx ends. Where stdout can be
// closed, it is when the process has ended.
func (m *Manager) attach(ctx context.Context, name string, stdout, stderr io.Writer) (attached, error) {
	return attach(ctx, m.Engine.StartAttached, name, stdout, stderr)
}

func attach(ctx context.Context, connect attaching, name string, stdout, stderr io.Writer) (attached, error) {
	in, say := io.Pipe()
	ended, err := connect(ctx, name, engine.Streams{Stdin: in, Stdout: stdout, Stderr: stderr})
	if err != nil {
		return attached{}, err
	}
	told := make(chan engine.End, 1)
	go func() {
		e := <-ended
		if c, ok := stdout.(io.Closer); ok {
			c.Close()
		}
		in.CloseWithError(io.ErrClosedPipe)
		told <- e
		close(told)
	}()
	return attached{say: say, ended: told}, nil
}
