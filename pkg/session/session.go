// Package session is the host's side of an agent's session: it starts one,
// shows it on the operator's terminal, runs commands beside it and prints its
// screen, all by way of bottle-inside in the container. What comes out of there
// is hostile: nothing reaches a terminal but through the filter. It knows
// containers by name and nothing of bottles or the state directory.
package session

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"bottle/pkg/engine"
	"bottle/pkg/frame"
	"bottle/pkg/plan"
)

// Errors that callers act on.
var (
	ErrNoSession = errors.New("no session lives there")
	ErrNothing   = errors.New("there is nothing to type")
	ErrLives     = errors.New("a session lives there already")
	ErrDumb      = errors.New("the terminal cannot move its cursor")
	ErrViewer    = errors.New("the viewer in the container ended, the session did not")
)

// Signalled is the error where a signal ended what was shown or run. The
// convention is to exit with 128 and its number.
type Signalled struct{ Signal syscall.Signal }

func (s Signalled) Error() string { return "ended by signal: " + s.Signal.String() }

// ExitCode is the exit code for it.
func (s Signalled) ExitCode() int { return 128 + int(s.Signal) }

// signalled is the error for a signal that os/signal told of.
func signalled(sig os.Signal) Signalled {
	s, _ := sig.(syscall.Signal)
	return Signalled{s}
}

// Start starts the session that doc describes and returns when its agent runs.
// The environment in it travels over the exec's standard input alone. The error
// is ErrLives where a session lives.
func Start(ctx context.Context, e engine.Engine, container string, doc frame.Start) error {
	b, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("cannot encode the session's start: %w", err)
	}
	var said words
	code, err := e.Exec(ctx, container, engine.Exec{Cmd: []string{plan.InsideBin, "start"}, Stdin: bytes.NewReader(b), Stderr: &said})
	if err != nil {
		return fmt.Errorf("cannot start the session: %w", err)
	}
	return Started(code, said.b)
}

// Started is the error for how bottle-inside ended that was to start a session:
// nil where it did.
func Started(code int, said []byte) error {
	switch code {
	case 0:
		return nil
	case frame.ExitConflict:
		return fmt.Errorf("cannot start the session: %w", ErrLives)
	}
	w := words{said}
	return fmt.Errorf("cannot start the session: %s", w.text(code))
}

// Wait waits for the agent's end and returns its exit code.
func Wait(ctx context.Context, e engine.Engine, container string) (int, error) {
	code, err := e.Exec(ctx, container, engine.Exec{Cmd: []string{plan.InsideBin, "wait"}})
	switch {
	case err != nil:
		return 0, fmt.Errorf("cannot wait for the session's end: %w", err)
	case code == frame.ExitNoSession:
		return 0, ErrNoSession
	}
	return code, nil
}

// Send types text into the session and submits it. The error is ErrNothing where
// none of it can be typed.
func Send(ctx context.Context, e engine.Engine, container, text string) error {
	if frame.Text(text) == "" {
		return ErrNothing
	}
	var said words
	code, err := e.Exec(ctx, container, engine.Exec{Cmd: []string{plan.InsideBin, "send"}, Stdin: strings.NewReader(text), Stderr: &said})
	switch {
	case err != nil:
		return fmt.Errorf("cannot type into the session: %w", err)
	case code == frame.ExitNoSession:
		return ErrNoSession
	case code != 0:
		return fmt.Errorf("cannot type into the session: %s", said.text(code))
	}
	return nil
}

// Bounds of what is peeked at.
type bounds struct {
	bytes, lines int
	wait         time.Duration // the agent can make that for ever
}

// A screen of 300 by 100 in ever new colours has a fraction of these, and so has
// a history, which is 50,000 lines.
var (
	screenBounds  = bounds{2 << 20, 1000, 10 * time.Second}
	historyBounds = bounds{64 << 20, 60_000, time.Minute}
)

// Peek prints the session's screen, or the last one of a session that ended,
// to out: lines, in colours where level says so.
func Peek(ctx context.Context, e engine.Engine, container string, out io.Writer, level Level) error {
	return peek(ctx, e, container, []string{"peek"}, screenBounds, out, level)
}

// PeekHistory is Peek with all lines that have scrolled off the screen of a session
// that lives.
func PeekHistory(ctx context.Context, e engine.Engine, container string, out io.Writer, level Level) error {
	argv := []string{"peek", "--history"}
	if level >= Colours {
		argv = append(argv, "--color")
	}
	return peek(ctx, e, container, argv, historyBounds, out, level)
}

func peek(ctx context.Context, e engine.Engine, container string, argv []string, most bounds, out io.Writer, level Level) error {
	ctx, cancel := context.WithTimeout(ctx, most.wait)
	defer cancel()
	lines := screenLines{most: most.lines}
	f := NewFilter(&lines, min(level, Colours))
	if isTerminal(out) {
		lines.b = f.UTF8(os.Getenv)
	}
	var said words
	code, err := e.Exec(ctx, container, engine.Exec{Cmd: append([]string{plan.InsideBin}, argv...), Stdout: &bounded{f, most.bytes}, Stderr: &said})
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return errors.New("cannot read the screen: it did not come in time")
	case err != nil:
		return fmt.Errorf("cannot read the screen: %w", err)
	case code == frame.ExitNoSession:
		return ErrNoSession
	case code != 0:
		return fmt.Errorf("cannot read the screen: %s", said.text(code))
	}
	lines.b = append(lines.b, f.Restore()...)
	if n := len(lines.b); n > 0 && lines.b[n-1] != '\n' {
		lines.b = append(lines.b, '\n')
	}
	_, err = out.Write(lines.b)
	return err
}

// screenLines keeps a screen. What a terminal would do to a line beside drawing
// it is left out: go back in it, ring a bell.
type screenLines struct {
	b     []byte
	lines int
	most  int
}

func (s *screenLines) Write(p []byte) (int, error) {
	for _, b := range p {
		switch b {
		case '\r', '\b', '\a':
			continue
		case '\n':
			s.lines++
		}
		s.b = append(s.b, b)
	}
	if s.lines > s.most {
		return 0, errTooLong
	}
	return len(p), nil
}

var errTooLong = errors.New("it is longer than any screen")

// bounded passes on so many bytes and then fails.
type bounded struct {
	w    io.Writer
	left int
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errTooLong
	}
	return b.w.Write(p)
}

// words keeps the beginning of what bottle-inside complains of.
type words struct{ b []byte }

const maxWords = 2048

func (w *words) Write(p []byte) (int, error) {
	w.b = append(w.b, p[:min(len(p), maxWords-len(w.b))]...)
	return len(p), nil
}

// text is one line for people, harmless to a terminal.
func (w *words) text(code int) string {
	var b strings.Builder
	NewFilter(&b, Text).Write(w.b)
	line, _, _ := strings.Cut(strings.TrimSpace(b.String()), "\n")
	if line = strings.TrimPrefix(line, "bottle-inside: "); line == "" {
		return fmt.Sprintf("bottle-inside ended with exit code %d", code)
	}
	return line
}
