package bottle

import "net/netip"

// Host is what a sidecar is told of the machine that its bottle runs on.
type Host struct {
	// Addresses are the machine's own: an allowed name must not lead there.
	Addresses []netip.Addr `json:"addresses"`
}
