package probe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// forbidden is an attempt that must end with EPERM: it was this wall that said
// no, not a kernel that lacks the feature, nor another wall behind it.
func forbidden(what string, try func() error) attempt {
	return attempt{what: what, try: func(context.Context) error { return mustBeForbidden(try()) }}
}

func mustBeForbidden(err error) error {
	switch {
	case err == nil:
		return errors.New("it worked")
	case errors.Is(err, unix.EPERM):
		return nil
	}
	return fmt.Errorf("not forbidden: %w", err)
}

// socket opens a socket and closes it.
func socket(what string, family, kind, protocol int) attempt {
	return forbidden(what, func() error {
		fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol)
		if err == nil {
			unix.Close(fd)
		}
		return err
	})
}

// allProtocols is ETH_P_ALL in network byte order.
const allProtocols = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8

// rawSockets is row A2.
func rawSockets(t Targets) []attempt {
	list := []attempt{
		socket("a raw ICMP socket", unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP),
		socket("a raw IP socket", unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW),
		socket("a raw TCP socket", unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_TCP),
		socket("a ping socket", unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP),
		socket("a packet socket", unix.AF_PACKET, unix.SOCK_RAW, allProtocols),
		socket("a cooked packet socket", unix.AF_PACKET, unix.SOCK_DGRAM, allProtocols),
	}
	if t.Runtime == GVisor {
		// It looks at a container's seccomp profile only where it is told to.
		for i := range list {
			list[i].what += " (runsc needs --oci-seccomp among its runtimeArgs)"
		}
	}
	return list
}

// kernelDoors is row A8: parts of the kernel that lead out of a network
// namespace, or whose bugs do.
func kernelDoors(Targets) []attempt {
	return []attempt{
		socket("AF_VSOCK", unix.AF_VSOCK, unix.SOCK_STREAM, 0),
		socket("AF_ALG", unix.AF_ALG, unix.SOCK_SEQPACKET, 0),
		socket("AF_XDP", unix.AF_XDP, unix.SOCK_RAW, 0),
		socket("netlink beyond routes", unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER),
		forbidden("io_uring", func() error {
			params := make([]byte, 120) // struct io_uring_params
			fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params[0])), 0)
			if errno == 0 {
				unix.Close(int(fd))
			}
			return errnoError(errno)
		}),
		forbidden("unshare a user namespace", func() error {
			// A process with more than one thread may not: EINVAL. The kernel
			// sees the filter first, so EPERM is still the filter's. A thread in
			// another namespace is never given back.
			runtime.LockOSThread()
			return unix.Unshare(unix.CLONE_NEWUSER)
		}),
		forbidden("clone a user namespace", func() error { return cloneInto(syscall.CLONE_NEWUSER) }),
		forbidden("clone a network namespace", func() error { return cloneInto(syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET) }),
		{what: "clone3", try: func(context.Context) error {
			// A filter cannot read clone3's flags, which lie in memory. ENOSYS
			// has every libc fall back to clone, whose flags it reads.
			_, _, errno := unix.Syscall(unix.SYS_CLONE3, 0, 0, 0)
			if errno != unix.ENOSYS {
				return mustBeForbidden(errnoError(errno))
			}
			return nil
		}},
	}
}

func errnoError(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

// cloneInto starts this program again in new namespaces.
func cloneInto(flags uintptr) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	process, err := os.StartProcess(exe, []string{exe, "--help"}, &os.ProcAttr{Sys: &syscall.SysProcAttr{Cloneflags: flags}})
	if err != nil {
		return err
	}
	_, err = process.Wait()
	return err
}
