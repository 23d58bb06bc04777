package probe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ipv6 is row A7.
func ipv6(t Targets) []attempt {
	var zone uint32 // of the link-local address
	if device, err := interfaceOf(t.Inner); err == nil {
		zone = uint32(device.Index)
	}
	list := []attempt{
		{what: "IPv6 addresses", try: noAddresses},
		tcp6("a global address", netip.MustParseAddr("2001:db8::1"), 0),
		tcp6("a private address", netip.MustParseAddr("fd00::1"), 0),
		tcp6("a link-local address", netip.MustParseAddr("fe80::1"), zone),
		tcp6("a v4-mapped address", mapped(documentation[0]), 0),
	}
	if t.Gateway.IsValid() {
		list = append(list, tcp6("the v4-mapped gateway", mapped(t.Gateway), 0))
	}
	for _, a := range spread(t.Host, 4) {
		list = append(list, tcp6("the v4-mapped host", mapped(a), 0))
	}
	return list
}

// mapped writes an IPv4 address as IPv6 does: ::ffff:192.0.2.1.
func mapped(a netip.Addr) netip.Addr { return netip.AddrFrom16(a.As16()) }

func noAddresses(context.Context) error {
	table, err := os.ReadFile("/proc/net/if_inet6")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return onlyLoopback(string(table))
}

// onlyLoopback reads the format of /proc/net/if_inet6.
func onlyLoopback(table string) error {
	const loopback = "00000000000000000000000000000001"
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); len(f) > 0 && f[0] != loopback {
			return fmt.Errorf("the container has %s", f[0])
		}
	}
	return nil
}

// tcp6 dials over a socket of the IPv6 family; Go's own dialler would turn a
// v4-mapped address into one of IPv4.
func tcp6(what string, to netip.Addr, zone uint32) attempt {
	return attempt{what: fmt.Sprintf("%s, TCP to %s", what, to), try: func(ctx context.Context) error {
		err := persist(ctx, func(ctx context.Context) error { return dial6(ctx, to, zone) })
		if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL) {
			return nil // there is no IPv6 here
		}
		return mustNotReach(err)
	}}
}

func dial6(ctx context.Context, to netip.Addr, zone uint32) error {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	address := unix.SockaddrInet6{Port: 443, Addr: to.As16(), ZoneId: zone}
	if err := unix.Connect(fd, &address); !errors.Is(err, unix.EINPROGRESS) {
		return err
	}
	deadline, _ := ctx.Deadline()
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	for {
		n, err := unix.Poll(poll, max(0, int(time.Until(deadline).Milliseconds())))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return err
		case n == 0:
			return context.DeadlineExceeded
		}
		code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && code != 0 {
			err = unix.Errno(code)
		}
		return err
	}
}
