package session

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"bottle/pkg/engine"
	"bottle/pkg/plan"
)

// Run runs a command in the session's environment and returns its exit code.
// Where in and out are terminals, it gets one of its own, behind the filter.
// Otherwise its streams stay apart and pass as they are, but for those that end
// on a terminal. When ctx ends, or this program, the command is ended too.
func Run(ctx context.Context, e engine.Engine, container string, argv []string, in io.Reader, out, errOut io.Writer) (int, error) {
	inFile, _ := in.(*os.File)
	outFile, _ := out.(*os.File)
	if tty := (Terminal{In: inFile, Out: outFile}); tty.IsTerminal() {
		return runOnTerminal(ctx, e, container, argv, tty, errOut)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT)
	defer signal.Stop(signals)
	shownOut, restoreOut := shown(out)
	defer restoreOut()
	shownErr, restoreErr := shown(errOut)
	defer restoreErr()
	r := run(ctx, e, container, engine.Exec{Cmd: append([]string{plan.InsideBin, "run", "--"}, argv...),
		Stdout: shownOut, Stderr: shownErr})
	defer r.leave()
	// The stream stays open after the input's end: should this program go, the
	// stream's end tells bottle-inside to end the command.
	go func() {
		if in != nil {
			io.Copy(r.input, in)
		}
		r.input.EOF()
	}()
	select {
	case sig := <-signals:
		return 0, signalled(sig)
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-r.ended:
	}
	if r.err != nil {
		return 0, fmt.Errorf("cannot run %s: %w", argv[0], r.err)
	}
	return r.code, nil
}

func runOnTerminal(ctx context.Context, e engine.Engine, container string, argv []string, tty Terminal, errOut io.Writer) (int, error) {
	var said words
	outcome, err := attach(ctx, e, container, tty, Options{Term: os.Getenv("TERM"), Cmd: argv}, &said)
	if err == nil && len(said.b) > 0 {
		fmt.Fprintln(errOut, said.text(outcome.Code))
	}
	return outcome.Code, err
}

// shown returns the filter in front of w where w is a terminal, and what puts
// the colours back.
func shown(w io.Writer) (io.Writer, func()) {
	if !isTerminal(w) {
		return w, func() {}
	}
	f := NewFilter(w, Colours)
	w.Write(f.UTF8(os.Getenv))
	return f, func() { w.Write(f.Restore()) }
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
