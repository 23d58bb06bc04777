package escape

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
)

// listener is a service on every address of the host that counts who came.
type listener struct {
	port uint16
	came atomic.Int64
}

func listen(t *testing.T) *listener {
	t.Helper()
	tcp, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{port: netip.MustParseAddrPort(tcp.Addr().String()).Port()}
	udp, err := net.ListenPacket("udp4", fmt.Sprintf("0.0.0.0:%d", l.port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tcp.Close(); udp.Close() })
	go func() {
		for {
			conn, err := tcp.Accept()
			if err != nil {
				return
			}
			l.came.Add(1)
			conn.Close()
		}
	}()
	go func() {
		buffer := make([]byte, 64)
		for {
			_, from, err := udp.ReadFrom(buffer)
			if err != nil {
				return
			}
			l.came.Add(1)
			udp.WriteTo([]byte("here"), from)
		}
	}()
	return l
}

func (l *listener) addresses(t *testing.T) []netip.AddrPort {
	var list []netip.AddrPort
	for _, a := range hostAddresses(t) {
		list = append(list, netip.AddrPortFrom(a, l.port))
	}
	return list
}

// hostAddresses are all IPv4 addresses of this machine but the loopback's.
func hostAddresses(t *testing.T) []netip.Addr {
	t.Helper()
	list, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	var found []netip.Addr
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
			found = append(found, p.Addr())
		}
	}
	slices.SortFunc(found, netip.Addr.Compare)
	return slices.Compact(found)
}
