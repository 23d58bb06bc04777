package sidecar

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// ErrRefused is in the error for an address that must not be dialled.
var ErrRefused = errors.New("its address is refused")

// never are addresses that no name may lead to: this container, the network
// beside it, metadata services, everybody at once, and IPv6 forms that carry an
// IPv4 address past the check.
var never = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("224.0.0.0/4"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"), // unspecified, loopback, v4-compatible
	netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("2001::/32"), // Teredo
	netip.MustParsePrefix("2002::/16"), // 6to4
	netip.MustParsePrefix("fe80::/10"),
	netip.MustParsePrefix("ff00::/8"),
}

// Guard says which addresses may be dialled. The zero Guard refuses those that
// no name may ever lead to.
type Guard struct {
	// Refuse are further prefixes: the bottle's own networks, this container's
	// own addresses.
	Refuse []netip.Prefix
}

// Check returns an error that wraps ErrRefused for an address that must not be
// dialled.
func (g Guard) Check(a netip.Addr) error {
	if !a.IsValid() {
		return fmt.Errorf("%w: it is none", ErrRefused)
	}
	a = a.Unmap().WithZone("")
	for _, list := range [][]netip.Prefix{never, g.Refuse} {
		for _, p := range list {
			if p.Contains(a) {
				return fmt.Errorf("%w: %s is in %s", ErrRefused, a, p)
			}
		}
	}
	return nil
}

// GuardFor returns the guard of a container that serves its bottle on an address
// of the bottle's own network: it refuses that network, which the container may
// not have joined yet, and every address the container has.
func GuardFor(own netip.Prefix) (Guard, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return Guard{}, fmt.Errorf("cannot list this container's addresses: %w", err)
	}
	g := Guard{Refuse: []netip.Prefix{own.Masked()}}
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err != nil {
			return Guard{}, fmt.Errorf("cannot read the address %s: %w", a, err)
		}
		g.Refuse = append(g.Refuse, netip.PrefixFrom(p.Addr(), p.Addr().BitLen()))
	}
	return g, nil
}

// Dialer dials names on behalf of an agent: it resolves once, checks what came,
// and dials what it checked, so that a second answer cannot differ.
type Dialer struct {
	Check   func(netip.Addr) error                                       // such as Guard.Check
	Lookup  func(ctx context.Context, host string) ([]netip.Addr, error) // such as Resolve
	Timeout time.Duration                                                // for lookup and connection together
}

// maxAddrs bounds how many addresses of one name are tried.
const maxAddrs = 3

// Dial connects to a port of a canonical host name. One refused address spoils
// the name: who mixes them means no good.
func (d Dialer) Dial(ctx context.Context, host string, port int) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	addrs, err := d.Lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		if err := d.Check(a); err != nil {
			return nil, err
		}
	}
	if len(addrs) == 0 {
		return nil, &net.DNSError{Err: "no address", Name: host, IsNotFound: true}
	}
	addrs = addrs[:min(len(addrs), maxAddrs)]
	for i, a := range addrs {
		var conn net.Conn
		// An even share of the time that is left, as one dead address of several
		// must not use it up.
		deadline, _ := ctx.Deadline()
		one := net.Dialer{Timeout: time.Until(deadline) / time.Duration(len(addrs)-i)}
		conn, err = one.DialContext(ctx, "tcp", netip.AddrPortFrom(a.Unmap(), uint16(port)).String())
		if err == nil {
			return conn.(*net.TCPConn), nil
		}
	}
	return nil, err
}

// Resolve asks the container's resolver for a name's IPv4 addresses; bottles
// have no IPv6. The name is taken as absolute: search domains are not for
// agents.
func Resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip4", host+".")
}
