package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"bottle/pkg/bottle"
	"bottle/pkg/cli"
	"bottle/pkg/operator"
)

func watch(c *cli.Call) error {
	if c.String("output") == "table" {
		return cli.Error{Code: cli.Usage, Msg: "a table cannot be watched: its columns would move", Hint: "use -o json or -o tsv"}
	}
	p, err := cli.NewPrinter(c.Out, c.String("output"), columns...)
	if err != nil {
		return err
	}
	ctx, cancel := operator.Context()
	defer cancel()
	m, err := operator.Open()
	if err != nil {
		return err
	}
	go func() {
		if readerGone(ctx, c.Out) {
			cancel()
		}
	}()
	emit := func(b bottle.Bottle) error { return p.Print(b, cells(b)...) }
	var away outage
	lost := func(err error) {
		if away.begins(time.Now()) {
			fmt.Fprintf(c.Err, "bottle-ls: %s\n", cli.Inert(operator.Explain("", err).Error()))
		}
	}
	if err := m.Watch(ctx, emit, lost); err != nil && !errors.Is(err, syscall.EPIPE) {
		return operator.Explain("", err)
	}
	return nil
}

// readerGone waits until the reader of a pipe goes away. Without it a watcher
// would stay until the next change.
func readerGone(ctx context.Context, out any) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	for ctx.Err() == nil {
		fds := []unix.PollFd{{Fd: int32(f.Fd())}}
		n, err := unix.Poll(fds, -1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return err == nil && n > 0 && fds[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0
	}
	return false
}
