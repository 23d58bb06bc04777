package probe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// GVisor is the Runtime of containers whose kernel is gVisor's.
const GVisor = "runsc"

// gVisorBound is Bound on gVisor. Its network stack asks three times, a second
// apart, who has an address before it says that nobody does, and no setting
// makes it quicker. It must say so all the same: silence is no wall there either.
const gVisorBound = 5 * time.Second

func (t Targets) bound() time.Duration {
	if t.Runtime == GVisor {
		return gVisorBound
	}
	return Bound
}

// gVisorForbids translates gVisor's words for EPERM about neighbours and routes:
// netlink's is EACCES, and there is no SIOCSARP, for anybody.
func (t Targets) gVisorForbids(err error) error {
	if t.Runtime == GVisor && (errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENOTTY)) {
		return unix.EPERM
	}
	return err
}

// on is an attempt as it is made on the targets' runtime. gVisor tells a TCP
// connection that nobody has the address, and a datagram's sender never. So
// there a datagram stays inside if nobody answers it, and the neighbour that it
// would be handed to does not exist, by a connection's word.
func (t Targets) on(a attempt) attempt {
	if t.Runtime != GVisor || !a.datagram.IsValid() {
		return a
	}
	neighbour := t.Gateway
	if t.Inner.Contains(a.datagram) {
		neighbour = a.datagram
	}
	send := a.try
	a.try = func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		answered := make(chan error, 1)
		go func() { answered <- send(ctx) }()
		if err := tcp("", netip.AddrPortFrom(neighbour, 9)).try(ctx); err != nil {
			return fmt.Errorf("by way of %s: %w", neighbour, err)
		}
		select {
		case err := <-answered:
			return err
		default:
			return nil
		}
	}
	return a
}
