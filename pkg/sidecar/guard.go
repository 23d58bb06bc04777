package sidecar

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"bottle/pkg/bottle"
)

// ErrRefused is in the error for an address that must not be dialled.
var ErrRefused = errors.New("its address is refused")

// ErrPrivate is in the error for an address that only a route with private: true
// may lead to. It comes with ErrRefused.
var ErrPrivate = fmt.Errorf("%w: it is private, and the route does not say private: true", ErrRefused)

// never are addresses that no name may lead to: this container, the network
// beside it, metadata services, everybody at once, and IPv6 forms that carry an
// IPv4 address past the check.
var never = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("224.0.0.0/4"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("100.100.100.200/32"), // a metadata service amid CGNAT
	netip.MustParsePrefix("168.63.129.16/32"),   // another, amid public addresses
	netip.MustParsePrefix("192.88.99.0/24"),     // 6to4 relays
	netip.MustParsePrefix("::/96"),              // unspecified, loopback, v4-compatible
	netip.MustParsePrefix("::ffff:0:0:0/96"),    // v4-translated
	netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("2001::/32"), // Teredo
	netip.MustParsePrefix("2002::/16"), // 6to4
	netip.MustParsePrefix("fd00:ec2::254/128"),
	netip.MustParsePrefix("fe80::/10"),
	netip.MustParsePrefix("ff00::/8"),
}

// private are networks of somebody's own. An allowed name leads there for the
// routes that say so only.
var private = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // carrier-grade NAT, overlay networks
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("fc00::/7"),
	netip.MustParsePrefix("fec0::/10"),
}

// Guard says which addresses may be dialled. The zero Guard refuses those that
// no name may ever lead to, and private ones where no route allows them.
type Guard struct {
	// Refuse are further prefixes that are never dialled: the bottle's own
	// networks, this container's own addresses.
	Refuse []netip.Prefix
	// Host are addresses of the machine that the bottle runs on; they are like
	// private ones, since what listens there may not be meant for the outside.
	Host []netip.Addr
}

// Check returns an error that wraps ErrRefused for an address that must not be
// dialled. mayPrivate says that the route may lead to private addresses.
func (g Guard) Check(a netip.Addr, mayPrivate bool) error {
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
	if mayPrivate {
		return nil
	}
	if slices.Contains(g.Host, a) {
		return fmt.Errorf("%w: %s is the host's", ErrPrivate, a)
	}
	for _, p := range private {
		if p.Contains(a) {
			return fmt.Errorf("%w: %s is in %s", ErrPrivate, a, p)
		}
	}
	return nil
}

// GuardFor returns the guard of a container that serves its bottle on an address
// of the bottle's own network: it refuses that network, which the container may
// not have joined yet, and every address the container has. host are the
// addresses of the machine below, as ReadHost returns them.
func GuardFor(own netip.Prefix, host []netip.Addr) (Guard, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return Guard{}, fmt.Errorf("cannot list this container's addresses: %w", err)
	}
	g := Guard{Refuse: []netip.Prefix{own.Masked()}, Host: host}
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err != nil {
			return Guard{}, fmt.Errorf("cannot read the address %s: %w", a, err)
		}
		g.Refuse = append(g.Refuse, netip.PrefixFrom(p.Addr(), p.Addr().BitLen()))
	}
	return g, nil
}

// HostFile is what a sidecar is told of the machine that it runs on: a
// bottle.Host in its in directory.
const HostFile = "host.json"

// maxHostFile bounds it, in bytes.
const maxHostFile = 1 << 20

// ReadHost returns the HostFile of a directory. Without that file nobody knows what
// must not be dialled, so it must be there.
func ReadHost(dir string) (doc bottle.Host, err error) {
	f, err := os.Open(filepath.Join(dir, HostFile))
	if err != nil {
		return doc, fmt.Errorf("cannot read the host's addresses: %w", err)
	}
	defer f.Close()
	if err := json.NewDecoder(io.LimitReader(f, maxHostFile)).Decode(&doc); err != nil {
		return doc, fmt.Errorf("cannot read the host's addresses in %s: %w", HostFile, err)
	}
	for i, a := range doc.Addresses {
		doc.Addresses[i] = a.Unmap().WithZone("")
	}
	return doc, nil
}

// Dialer dials names on behalf of an agent: it resolves once, checks what came,
// and dials what it checked, so that a second answer cannot differ.
type Dialer struct {
	Check   func(a netip.Addr, mayPrivate bool) error                    // such as Guard.Check
	Lookup  func(ctx context.Context, host string) ([]netip.Addr, error) // such as Resolve
	Timeout time.Duration                                                // for lookup and connection together
	Proxy   *Proxy                                                       // leads to hosts that are not dialled; nil: to none
}

// maxAddrs bounds how many addresses of one name are tried.
const maxAddrs = 3

// Dial connects to a port of a canonical host name, by itself or through the
// proxy. mayPrivate is for Check.
func (d Dialer) Dial(ctx context.Context, host string, port int, mayPrivate bool) (*net.TCPConn, error) {
	if d.Proxy.Leads(host, port) {
		return d.through(ctx, host, port, mayPrivate)
	}
	return d.direct(ctx, host, port, mayPrivate)
}

// direct dials. One refused address spoils the name: who mixes them means no good.
func (d Dialer) direct(ctx context.Context, host string, port int, mayPrivate bool) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	addrs, err := d.Lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		if err := d.Check(a, mayPrivate); err != nil {
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
