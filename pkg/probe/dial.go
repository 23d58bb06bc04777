package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// unreachable says whether err is the network's own word that there is no way.
// A refused connection is not: somebody answered.
func unreachable(err error) bool {
	return errors.Is(err, unix.EHOSTUNREACH) || errors.Is(err, unix.ENETUNREACH)
}

// mustNotReach judges what a dial or an exchange ended with.
func mustNotReach(err error) error {
	switch {
	case err == nil:
		return errors.New("it was reached")
	case unreachable(err):
		return nil
	case errors.Is(err, unix.ECONNREFUSED):
		return errors.New("it answered: connection refused")
	case silent(err):
		return errSlow
	}
	return err
}

func tcp(what string, to netip.AddrPort) attempt {
	return attempt{what: fmt.Sprintf("%s, TCP to %s", what, to), try: func(ctx context.Context) error {
		return mustNotReach(persist(ctx, func(ctx context.Context) error {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", to.String())
			if err == nil {
				conn.Close()
			}
			return err
		}))
	}}
}

// resend is after how long what got no answer is sent again, at first. Kernels
// limit how many errors they report a second, to all who ask, so one may be lost.
const resend = 100 * time.Millisecond

// persist dials anew where the kernel itself would ask again after a second
// only, and returns the first answer or error that is no silence.
func persist(ctx context.Context, dial func(context.Context) error) error {
	for patience := resend; ; patience *= 2 {
		try, cancel := context.WithTimeout(ctx, patience)
		err := dial(try)
		cancel()
		if !silent(err) || ctx.Err() != nil {
			return err
		}
	}
}

// silent says whether err is of an answer that did not come in time.
func silent(err error) bool {
	var failed net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &failed) && failed.Timeout()
}

func udp(what string, to netip.AddrPort, payload []byte) attempt {
	return attempt{what: fmt.Sprintf("%s, UDP to %s", what, to), datagram: to.Addr(), try: func(ctx context.Context) error {
		return mustNotReach(exchangeUDP(ctx, to, payload))
	}}
}

// exchangeUDP sends a datagram and waits for any answer or error.
func exchangeUDP(ctx context.Context, to netip.AddrPort, payload []byte) error {
	dialer := net.Dialer{Control: reportErrors}
	conn, err := dialer.DialContext(ctx, "udp", to.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	buffer := make([]byte, 1500)
	for ctx.Err() == nil {
		if _, err := conn.Write(payload); err != nil {
			return err
		}
		if err := conn.SetReadDeadline(time.Now().Add(resend)); err != nil {
			return err
		}
		if _, err := conn.Read(buffer); !silent(err) {
			return err
		}
	}
	return ctx.Err()
}

// reportErrors has the kernel report an unreachable host to a UDP socket, which
// it otherwise keeps to itself.
func reportErrors(network, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		if network == "udp4" {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVERR, 1)
		}
	})
	return errors.Join(err, failed)
}
