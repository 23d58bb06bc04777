package docker

import (
	"context"
	"io"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"

	"bottle/pkg/engine"
)

// Exec implements engine.Engine. There is no terminal: a terminal exec outlives
// a killed client, this one's standard input ends with it.
func (e *Engine) Exec(ctx context.Context, name string, x engine.Exec) (int, error) {
	made, err := e.api.ContainerExecCreate(ctx, name, container.ExecOptions{
		Cmd: x.Cmd, User: x.User, WorkingDir: x.Dir, Env: x.Env,
		AttachStdin: x.Stdin != nil, AttachStdout: true, AttachStderr: true,
	})
	if err != nil {
		return 0, wrap("run a command in "+name, err)
	}
	conn, err := hijack(ctx, func() (types.HijackedResponse, error) {
		return e.api.ContainerExecAttach(ctx, made.ID, container.ExecAttachOptions{})
	})
	if err != nil {
		return 0, wrap("run a command in "+name, err)
	}
	defer conn.Close()
	if err := pump(ctx, conn, x.Stdin, x.Stdout, x.Stderr); err != nil {
		return 0, wrap("read what a command in "+name+" says", err)
	}
	return e.exitCode(ctx, name, made.ID)
}

// hijack returns the connection that ask gets of the engine. The client itself
// waits for the engine's answer whatever becomes of ctx.
func hijack(ctx context.Context, ask func() (types.HijackedResponse, error)) (types.HijackedResponse, error) {
	type result struct {
		conn types.HijackedResponse
		err  error
	}
	done := make(chan result, 1)
	go func() {
		conn, err := ask()
		done <- result{conn, err}
	}()
	select {
	case r := <-done:
		return r.conn, r.err
	case <-ctx.Done():
		go func() {
			if r := <-done; r.err == nil {
				r.conn.Close()
			}
		}()
		return types.HijackedResponse{}, ctx.Err()
	}
}

// pump copies streams until the output ends or ctx does, whose error it returns
// then.
func pump(ctx context.Context, conn types.HijackedResponse, in io.Reader, out, errOut io.Writer) error {
	stop := context.AfterFunc(ctx, conn.Close)
	defer stop()
	if in != nil {
		go func() {
			// A reader that fails must not look like one that ended.
			if _, err := io.Copy(conn.Conn, in); err != nil {
				conn.Close()
				return
			}
			conn.CloseWrite()
		}()
	}
	_, err := stdcopy.StdCopy(orDiscard(out), orDiscard(errOut), conn.Reader)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// exitCode asks how a command ended. The stream may end a moment before the
// engine knows; there is no event for one exec that could not be missed.
func (e *Engine) exitCode(ctx context.Context, name, id string) (int, error) {
	for {
		end, err := e.api.ContainerExecInspect(ctx, id)
		if err != nil {
			return 0, wrap("ask how a command in "+name+" ended", err)
		}
		if !end.Running {
			return end.ExitCode, nil
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}
