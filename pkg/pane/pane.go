// Package pane shows things in tmux's right pane, which all of bottle's programs
// share: one a window, made when it is first needed, and used again from then
// on. It runs tmux; the command lines are pkg/tmux's.
package pane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"bottle/pkg/tmux"
)

// ErrNoTmux: this program runs in no pane of tmux'.
var ErrNoTmux = errors.New("this is not in tmux")

// Own is a command line of the running program's directory: program and its
// arguments, in the environment of the caller.
func Own(program string, args ...string) (tmux.Process, error) {
	exe, err := os.Executable()
	if err != nil {
		return tmux.Process{}, fmt.Errorf("cannot find this program's own path: %w", err)
	}
	path := exe[:strings.LastIndexByte(exe, '/')+1] + program
	return with(append([]string{path}, args...)), nil
}

// Follow shows the growing file at path, and goes on showing what it showed when
// the file is gone.
func Follow(path string) tmux.Process {
	return with([]string{"tail", "-n", "+1", "-f", "--", path})
}

func with(argv []string) tmux.Process {
	p := tmux.Process{Argv: argv}
	p.Dir, _ = os.Getwd() // without one, tmux takes its own
	for _, name := range tmux.Kept {
		if value, ok := os.LookupEnv(name); ok {
			p.Env = append(p.Env, name+"="+value)
		}
	}
	return p
}

// Show has the right pane of the caller's window run p, whatever it ran before.
// slug is the bottle that it shows; empty: none. With focus it has the keyboard
// then.
func Show(ctx context.Context, slug string, p tmux.Process, focus bool) error {
	here, err := tmux.ParsePane(os.Getenv("TMUX_PANE"))
	if os.Getenv("TMUX") == "" || err != nil {
		return ErrNoTmux
	}
	out, err := run(ctx, tmux.Open(here))
	if err != nil {
		return err
	}
	right, made, err := tmux.ParseOpen(out)
	if err != nil {
		return err
	}
	if made {
		// What failed is to be read. An older tmux, which has no such value, closes
		// the pane instead.
		_, _ = run(ctx, tmux.KeepFailed(right))
	}
	argv := tmux.Respawn(right, slug, p)
	if focus {
		argv = tmux.Then(argv, tmux.Focus(right))
	}
	_, err = run(ctx, argv)
	return err
}

// Copy puts text into tmux' newest buffer, and has tmux put it on the clipboard of
// the terminal that shows it, whatever its set-clipboard says.
func Copy(ctx context.Context, text string) error {
	if os.Getenv("TMUX") == "" {
		return ErrNoTmux
	}
	_, err := give(ctx, tmux.Copy(), text)
	return err
}

func run(ctx context.Context, argv []string) (string, error) { return give(ctx, argv, "") }

func give(ctx context.Context, argv []string, in string) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(in)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		line, _, _ := strings.Cut(said.String(), "\n")
		return "", fmt.Errorf("tmux %s: %w: %s", argv[1], err, line)
	}
	return string(out), nil
}
