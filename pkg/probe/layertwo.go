package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// nobody is the address that layer-2 attempts are about: should a wall have
// fallen, nothing that anybody uses changes.
var nobody = netip.MustParseAddr("203.0.113.9")

// layerTwo is row A6.
func layerTwo(t Targets) []attempt {
	device, err := interfaceOf(t.Inner)
	if err != nil {
		return []attempt{forbidden("the interface", func() error { return err })}
	}
	forbidden := func(what string, try func() error) attempt {
		return forbidden(what, func() error { return t.gVisorForbids(try()) })
	}
	return []attempt{
		socket("a packet socket", unix.AF_PACKET, unix.SOCK_RAW, allProtocols),
		forbidden("SIOCSARP", func() error { return setARP(device) }),
		forbidden("a neighbour entry", func() error {
			return changed(unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH, neighbourMessage(device, nobody))
		}),
		forbidden("a route through egress", func() error {
			return changed(unix.RTM_NEWROUTE, unix.RTM_DELROUTE, routeMessage(device, nobody, t.Egress))
		}),
		forbidden("an address", func() error {
			return changed(unix.RTM_NEWADDR, unix.RTM_DELADDR, addressMessage(device, nobody))
		}),
	}
}

// interfaceOf finds the interface that is on a network.
func interfaceOf(network netip.Prefix) (*net.Interface, error) {
	list, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, device := range list {
		addresses, err := device.Addrs()
		if err != nil {
			return nil, err
		}
		for _, a := range addresses {
			if p, err := netip.ParsePrefix(a.String()); err == nil && network.Contains(p.Addr()) {
				return &device, nil
			}
		}
	}
	return nil, fmt.Errorf("no interface is on %s", network)
}

// setARP writes an ARP entry in the old way.
func setARP(device *net.Interface) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var request struct { // struct arpreq
		protocol, hardware [16]byte
		flags              int32
		netmask            [16]byte
		device             [16]byte
	}
	binary.NativeEndian.PutUint16(request.protocol[:], unix.AF_INET)
	address := nobody.As4()
	copy(request.protocol[4:], address[:])
	binary.NativeEndian.PutUint16(request.hardware[:], unix.ARPHRD_ETHER)
	copy(request.hardware[2:], []byte{2, 0, 0, 0, 0, 9})
	request.flags = 0x2 // ATF_COM
	copy(request.device[:15], device.Name)
	const siocsarp, siocdarp = 0x8955, 0x8953
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), siocsarp, uintptr(unsafe.Pointer(&request)))
	if errno == 0 {
		unix.Syscall(unix.SYS_IOCTL, uintptr(fd), siocdarp, uintptr(unsafe.Pointer(&request)))
	}
	return errnoError(errno)
}

// changed sends a change to the kernel's tables and, should it be taken, its
// undoing.
func changed(do, undo uint16, body []byte) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	err = rtnetlink(fd, do, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, body)
	if err == nil {
		err = errors.Join(err, rtnetlink(fd, undo, 0, body))
	}
	return err
}

func rtnetlink(fd int, kind uint16, flags uint16, body []byte) error {
	message := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+len(body))
	binary.NativeEndian.PutUint32(message[0:], uint32(cap(message)))
	binary.NativeEndian.PutUint16(message[4:], kind)
	binary.NativeEndian.PutUint16(message[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK|flags)
	binary.NativeEndian.PutUint32(message[8:], 1)
	message = append(message, body...)
	if err := unix.Sendto(fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, 8192)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return err
	}
	if n < unix.SizeofNlMsghdr+4 || binary.NativeEndian.Uint16(answer[4:]) != unix.NLMSG_ERROR {
		return errors.New("the kernel's answer cannot be read")
	}
	if code := int32(binary.NativeEndian.Uint32(answer[unix.SizeofNlMsghdr:])); code != 0 {
		return unix.Errno(-code)
	}
	return nil
}

// attribute is one of netlink's type-length-value fields.
func attribute(kind uint16, value []byte) []byte {
	field := make([]byte, 4, 4+len(value))
	binary.NativeEndian.PutUint16(field[0:], uint16(4+len(value)))
	binary.NativeEndian.PutUint16(field[2:], kind)
	field = append(field, value...)
	for len(field)%4 != 0 {
		field = append(field, 0)
	}
	return field
}

func index(device *net.Interface) []byte {
	return binary.NativeEndian.AppendUint32(nil, uint32(device.Index))
}

func neighbourMessage(device *net.Interface, a netip.Addr) []byte {
	body := make([]byte, unix.SizeofNdMsg)
	body[0] = unix.AF_INET
	copy(body[4:], index(device))
	binary.NativeEndian.PutUint16(body[8:], unix.NUD_PERMANENT)
	body = append(body, attribute(unix.NDA_DST, a.AsSlice())...)
	return append(body, attribute(unix.NDA_LLADDR, []byte{2, 0, 0, 0, 0, 9})...)
}

func routeMessage(device *net.Interface, to, via netip.Addr) []byte {
	body := []byte{unix.AF_INET, 32, 0, 0, unix.RT_TABLE_MAIN, unix.RTPROT_BOOT, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST, 0, 0, 0, 0}
	body = append(body, attribute(unix.RTA_DST, to.AsSlice())...)
	body = append(body, attribute(unix.RTA_GATEWAY, via.AsSlice())...)
	return append(body, attribute(unix.RTA_OIF, index(device))...)
}

func addressMessage(device *net.Interface, a netip.Addr) []byte {
	body := append([]byte{unix.AF_INET, 32, 0, unix.RT_SCOPE_UNIVERSE}, index(device)...)
	return append(body, attribute(unix.IFA_LOCAL, a.AsSlice())...)
}
