package lifecycle

import (
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"bottle/pkg/bottle"
)

// Egress must know this machine's addresses, all of them, before a bottle runs.
func TestEgressIsToldOfTheHostsAddresses(t *testing.T) {
	l, _ := secretive(t)
	before, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Up(t.Context(), l.spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(b.StateDir, "egress/in/host.json"))
	var told bottle.Host
	if err == nil {
		err = json.Unmarshal(data, &told)
	}
	after, err2 := net.InterfaceAddrs()
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	for _, a := range after {
		if !slices.ContainsFunc(before, func(b net.Addr) bool { return b.String() == a.String() }) {
			continue // other tests' containers come and go
		}
		if addr := netip.MustParsePrefix(a.String()).Addr().Unmap(); !slices.Contains(told.Addresses, addr) {
			t.Errorf("%s is not among %v", addr, told.Addresses)
		}
	}
}
