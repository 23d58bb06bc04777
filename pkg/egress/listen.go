package egress

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// early lets a listener bind an address that is not there yet: egress is ready
// before the bottle's own network is joined to it.
func early(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_FREEBIND, 1) })
	return errors.Join(err, failed)
}
