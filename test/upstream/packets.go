package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// watchPackets tells of every IP packet that comes in on an interface, whether
// or not anybody listens where it is going.
func watchPackets(name string, d *diary) error {
	card, err := net.InterfaceByName(name)
	if err != nil {
		return err
	}
	const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // in network byte order
	// A cooked socket: what is read begins at the IP header.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, all)
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: card.Index}); err != nil {
		unix.Close(fd)
		return err
	}
	go func() {
		buffer := make([]byte, 1<<16)
		for {
			n, from, err := unix.Recvfrom(fd, buffer, 0)
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				d.note(entry{Kind: "lost", Detail: err.Error()})
				return
			}
			link, ok := from.(*unix.SockaddrLinklayer)
			if !ok || link.Pkttype == unix.PACKET_OUTGOING {
				continue
			}
			if e, ok := packet(buffer[:n]); ok {
				d.note(e)
			}
		}
	}()
	return nil
}

// packet reads an IP packet's addresses and ports: From is whence, Detail the
// protocol and whither, such as "udp 192.0.2.1:53".
func packet(b []byte) (entry, bool) {
	from, to, protocol, rest, ok := ipHeader(b)
	if !ok {
		return entry{}, false
	}
	name, ports := fmt.Sprintf("ip-%d", protocol), false
	switch protocol {
	case unix.IPPROTO_TCP:
		name, ports = "tcp", true
	case unix.IPPROTO_UDP:
		name, ports = "udp", true
	case unix.IPPROTO_ICMP:
		name = "icmp"
	}
	e := entry{Kind: "packet", From: from.String(), Detail: name + " " + to.String()}
	if ports && len(rest) >= 4 {
		e.From = netip.AddrPortFrom(from, binary.BigEndian.Uint16(rest)).String()
		e.Detail = name + " " + netip.AddrPortFrom(to, binary.BigEndian.Uint16(rest[2:])).String()
	}
	return e, true
}

func ipHeader(b []byte) (from, to netip.Addr, protocol byte, rest []byte, ok bool) {
	const v6 = 40 // extension headers count as what they are
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		size := int(b[0]&0xf) * 4
		if size < 20 || len(b) < size {
			return
		}
		return netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20])), b[9], b[size:], true
	case len(b) >= v6 && b[0]>>4 == 6:
		return netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40])), b[6], b[v6:], true
	}
	return
}
