package dash

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"bottle/pkg/cli"
	"bottle/pkg/tmux"
)

const (
	maxLine   = 1 << 20 // of a watched program, bytes
	maxOutput = 8 << 20 // of one that is run to its end
	// again is how long a watcher that ended is left alone.
	again = 2 * time.Second
)

// bounded keeps the beginning of what is written to it. It has nothing of the
// buffer's own: a copy would go round the bound, by ReadFrom.
type bounded struct {
	buf bytes.Buffer
	max int
}

func (b *bounded) Write(p []byte) (int, error) {
	if room := b.max - b.buf.Len(); room > 0 {
		b.buf.Write(p[:min(len(p), room)])
	}
	return len(p), nil
}

// child is a program in a process group of its own, which keys at the terminal
// do not reach.
func child(ctx context.Context, argv []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Second
	return cmd
}

// finish runs a program to its end.
func finish(ctx context.Context, r Run) Done {
	cmd := child(ctx, r.Argv)
	if r.Job == Stop || r.Job == Start || r.Job == Decide {
		// What was begun goes on when the dashboard ends.
		cmd = child(context.WithoutCancel(ctx), r.Argv)
	}
	out, said := bounded{max: maxOutput}, bounded{max: 1 << 16}
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	d := Done{Run: r, Out: out.buf.String()}
	if cmd.ProcessState != nil {
		d.Code = cmd.ProcessState.ExitCode()
	}
	if popup := r.Argv[0] == "tmux"; err != nil && !(popup && left(d.Code)) {
		d.Err = oneLine(r.Argv[0], said.buf.String(), err)
	}
	return d
}

// left says whether a program ended as its user wanted: who said no, or pressed
// ctrl-c, knows that.
func left(code int) bool { return code == cli.Declined || code == cli.Interrupted }

// oneLine is what a program that failed said of itself, else how it ended.
func oneLine(program, said string, err error) string {
	program = filepath.Base(program)
	first := ""
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, program+": ") {
			return cli.Inert(line)
		}
		if first == "" {
			first = line
		}
	}
	var exit *exec.ExitError
	switch {
	case first != "":
		return cli.Inert(program + ": " + first)
	case errors.As(err, &exit):
		return fmt.Sprintf("%s ended with %v", program, exit)
	}
	return cli.Inert(err.Error())
}

// watch runs a program that prints lines, again when it ends, until ctx does.
func watch(ctx context.Context, argv []string, begin func(), line func([]byte) error, tell func(any)) {
	for ctx.Err() == nil {
		begin()
		cmd := child(ctx, argv)
		said := bounded{max: 1 << 16}
		cmd.Stderr = &said
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err == nil {
			lines(out, func(text []byte) {
				if bad := line(text); bad != nil {
					tell(Told(cli.Inert(bad.Error())))
				}
			})
			err = cmd.Wait()
		}
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("it ended")
		}
		tell(Told(oneLine(argv[0], said.buf.String(), err)))
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
	}
}

// lines calls f with each line; one that is too long is left out.
func lines(r io.Reader, f func([]byte)) {
	b := bufio.NewReaderSize(r, 64<<10)
	var line []byte
	for {
		part, err := b.ReadSlice('\n')
		if len(line) <= maxLine {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case err != nil:
			return // what has no end was cut off
		default:
			if len(line) <= maxLine {
				f(line)
			}
			line = line[:0]
		}
	}
}

// watchAll begins the watchers; tell is given what they say.
func watchAll(ctx context.Context, inTmux bool, tell func(any)) {
	go watch(ctx, []string{"bottle-ls", "--watch"}, func() { tell(Fresh{}) }, func(line []byte) error {
		a, err := DecodeAgent(line)
		if err == nil {
			tell(a)
		}
		return err
	}, tell)
	go watch(ctx, []string{"bottle-ls", "proposals", "--watch"}, func() { tell(known(ctx, tell)) }, func(line []byte) error {
		p, err := DecodeProposal(line)
		if err == nil {
			tell(p)
		}
		return err
	}, tell)
	if inTmux {
		go func() {
			for tell(Moved{}); exec.CommandContext(ctx, "tmux", tmux.Moved()[1:]...).Run() == nil; {
				tell(Moved{})
			}
		}()
	}
}

// known are the proposals that wait before they are watched.
func known(ctx context.Context, tell func(any)) Known {
	d := finish(ctx, Run{Argv: []string{"bottle-ls", "proposals"}})
	var all Known
	for line := range strings.Lines(d.Out) {
		p, err := DecodeProposal([]byte(line))
		if err != nil {
			tell(Told(cli.Inert(err.Error())))
			continue
		}
		all.Proposals = append(all.Proposals, p)
	}
	return all
}
