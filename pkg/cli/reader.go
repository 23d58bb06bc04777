package cli

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// ReaderGone waits until the reader of a pipe goes away. Without it a watcher
// would stay until the next change.
func ReaderGone(ctx context.Context, out any) bool {
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
