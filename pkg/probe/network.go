package probe

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// documentation holds addresses that nobody has: RFC 5737.
var documentation = []netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("203.0.113.1")}

// quic is the beginning of a version 1 long header; any QUIC server answers a
// datagram of this size.
var quic = append([]byte{0xc0, 0, 0, 0, 1, 8}, make([]byte, 1194)...)

// direct is row A1. Programs that were told of no proxy dial addresses.
func direct(t Targets) []attempt {
	var list []attempt
	for _, a := range documentation {
		list = append(list, tcp("direct", netip.AddrPortFrom(a, 443)), udp("direct", netip.AddrPortFrom(a, 9), []byte("bottle")),
			udp("QUIC", netip.AddrPortFrom(a, 443), quic))
	}
	for _, a := range t.Internet {
		list = append(list, tcp("direct", a), udp("direct", a, []byte("bottle")), udp("QUIC", netip.AddrPortFrom(a.Addr(), 443), quic))
	}
	return list
}

// hostPorts are tried at the host. Which they are matters little: anything but
// "unreachable" is an answer of the host's.
var hostPorts = []uint16{22, 443}

// gatewayPorts are tried where a bridge would have the host's address.
var gatewayPorts = []uint16{22, 53, 80, 443, 2375}

// theHost is row A4.
func theHost(t Targets) []attempt {
	if !t.Gateway.IsValid() {
		return nil
	}
	var list []attempt
	for _, port := range gatewayPorts {
		list = append(list, tcp("the gateway", netip.AddrPortFrom(t.Gateway, port)))
	}
	list = append(list, udp("the gateway", netip.AddrPortFrom(t.Gateway, 53), question), silentGateway(t.Gateway),
		attempt{what: "the gateway's address", try: func(context.Context) error {
			if slices.Contains(t.Host, t.Gateway) {
				return errors.New("it is the host's")
			}
			return nil
		}})
	for _, a := range t.Host {
		for _, port := range hostPorts {
			list = append(list, tcp("the host", netip.AddrPortFrom(a, port)))
		}
		list = append(list, udp("the host", netip.AddrPortFrom(a, 53), question))
	}
	for _, a := range t.HostDNS {
		list = append(list, tcp("the host's DNS", netip.AddrPortFrom(a, 53)), udp("the host's DNS", netip.AddrPortFrom(a, 53), question))
	}
	for _, a := range t.Listeners {
		list = append(list, tcp("a listener of the host", a), udp("a listener of the host", a, []byte("bottle")))
	}
	return list
}

// silentGateway sees what a firewall would hide: that somebody at the gateway's
// address answers ARP.
func silentGateway(gateway netip.Addr) attempt {
	return attempt{what: "the gateway at layer 2", try: func(ctx context.Context) error {
		if err := tcp("", netip.AddrPortFrom(gateway, 9)).try(ctx); err != nil {
			return err
		}
		table, err := os.ReadFile("/proc/net/arp")
		if err != nil {
			return nil // no such table, and the dial has said enough
		}
		if resolved(table, gateway) {
			return errors.New("it answers ARP")
		}
		return nil
	}}
}

// resolved says whether the kernel's ARP table, in the format of /proc/net/arp,
// has a hardware address for ip.
func resolved(table []byte, ip netip.Addr) bool {
	const complete = 0x2
	for line := range bytes.Lines(table) {
		f := strings.Fields(string(line))
		if len(f) > 2 && f[0] == ip.String() {
			flags := strings.TrimPrefix(f[2], "0x")
			return flags != "" && hexDigit(flags[len(flags)-1])&complete != 0
		}
	}
	return false
}

func hexDigit(c byte) int { return strings.IndexByte("0123456789abcdef", c) & 0xf }

// mostNeighbours bounds A5: with fifty bottles the self-test stays quick, since
// kernels report some fifty errors at once and no more. Which of them are tried
// differs little: there is one way to all.
const mostNeighbours = 6

// neighbours is row A5.
func neighbours(t Targets) []attempt {
	var list []attempt
	if next, ok := nextBottle(t.Inner); ok {
		list = append(list, tcp("the next network", netip.AddrPortFrom(next, 3128)))
	}
	for _, a := range spread(t.Neighbours, mostNeighbours) {
		list = append(list, tcp("another bottle", netip.AddrPortFrom(a, 3128)), udp("another bottle", netip.AddrPortFrom(a, 53), question))
	}
	for _, name := range t.Names {
		list = append(list, foreignNames(t.Egress, name)...)
	}
	return list
}

// nextBottle is where the next network's egress would be: there is always
// something to try, also where this bottle is the only one.
func nextBottle(inner netip.Prefix) (netip.Addr, bool) {
	if !inner.IsValid() {
		return netip.Addr{}, false
	}
	a := inner.Masked().Addr()
	for inner.Contains(a) {
		a = a.Next()
	}
	return a.Next().Next(), a.IsValid()
}

// spread picks at most n elements, evenly.
func spread[T any](list []T, n int) []T {
	if len(list) <= n {
		return list
	}
	picked := make([]T, n)
	for i := range picked {
		picked[i] = list[i*len(list)/n]
	}
	return picked
}

// uplink is row A12.
func uplink(t Targets) []attempt {
	var list []attempt
	for _, a := range t.Uplink {
		for _, port := range []uint16{53, 80, 443, 3128} {
			list = append(list, tcp("the uplink", netip.AddrPortFrom(a, port)))
		}
		list = append(list, udp("the uplink", netip.AddrPortFrom(a, 53), question))
	}
	return list
}
