package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"bottle/pkg/inside"
	"bottle/pkg/workspace"
)

// Exit codes of the workspace's subcommands, besides 0 and 1.
const (
	exitUsage   = 2
	exitNothing = 4 // there is no work to capture
)

// unpack makes the workspace out of the stream that the host packed, and tells
// the commit that it is at then.
func unpack(args []string, in io.Reader, out, errOut io.Writer) int {
	return withDir(args, errOut, func(ctx context.Context, dir string) error {
		start, err := workspace.UnpackMarked(ctx, in, dir)
		if err == nil {
			_, err = fmt.Fprintln(out, start)
		}
		return err
	})
}

// capture writes the work as a git bundle, and before it the agent's
// conversations where it is told where they are. The line that it waits for may
// name the commit that the work began with.
func capture(args []string, in io.Reader, out, errOut io.Writer) int {
	start, home, said := "", "", ""
	if len(args) > 3 && args[0] == "--conversations" {
		home, said, args = args[1], args[2], args[3:]
	}
	if len(args) > 0 && args[0] == "--wait" {
		args = args[1:]
		line, err := bufio.NewReader(in).ReadString('\n')
		if err != nil {
			fmt.Fprintln(errOut, "bottle-inside: nobody said when to capture")
			return 1
		}
		_, start, _ = strings.Cut(strings.TrimSpace(line), " ")
	}
	return withDir(args, errOut, func(ctx context.Context, dir string) error {
		if home != "" {
			if err := inside.Conversations(home, said, out); err != nil {
				return err
			}
		}
		warn := func(line string) { fmt.Fprintf(errOut, "note: %s\n", line) }
		return workspace.Capture(ctx, dir, out, workspace.Limits{Warn: warn, Start: start})
	})
}

func withDir(args []string, errOut io.Writer, do func(context.Context, string) error) int {
	if len(args) != 1 {
		fmt.Fprintln(errOut, "bottle-inside: one directory is wanted")
		return exitUsage
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	err := do(ctx, args[0])
	switch {
	case errors.Is(err, workspace.ErrNothing):
		return exitNothing
	case err != nil:
		fmt.Fprintf(errOut, "bottle-inside: %v\n", err)
		return 1
	}
	return 0
}
