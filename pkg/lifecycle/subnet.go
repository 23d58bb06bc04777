package lifecycle

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"

	"bottle/pkg/engine"
)

// Sizes of the networks that are taken out of the pool: a bottle's own has room
// for its agent and a dozen sidecars, the uplink for the sidecars of all bottles.
const (
	innerBits  = 28
	uplinkBits = 22
)

// ErrPoolEmpty is the error of a pool without a free subnet.
var ErrPoolEmpty = errors.New("no subnet is free in the pool")

// freeSubnet returns a subnet of the pool that overlaps with nothing in taken.
// Bottles' subnets are looked for from a random place in the first three
// quarters on, so that concurrent starts rarely want the same; the uplink's in
// the last quarter.
func freeSubnet(pool netip.Prefix, bits int, taken []netip.Prefix, random func(int) int) (netip.Prefix, error) {
	count := 1 << (bits - pool.Bits())
	first, span := 0, count*3/4
	if bits == uplinkBits {
		first, span = span, count-span
	}
	start := random(span)
	for i := range span {
		candidate := nthSubnet(pool, bits, first+(start+i)%span)
		if !overlaps(candidate, taken) {
			return candidate, nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("%w %s", ErrPoolEmpty, pool)
}

func nthSubnet(pool netip.Prefix, bits, n int) netip.Prefix {
	a := pool.Masked().Addr().As4()
	v := uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3])
	v += uint32(n) << (32 - bits)
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}), bits)
}

func overlaps(p netip.Prefix, taken []netip.Prefix) bool {
	for _, t := range taken {
		if p.Overlaps(t) {
			return true
		}
	}
	return false
}

// takenSubnets are those of the engine's networks and of the host's own.
func takenSubnets(networks []engine.Network, host []netip.Prefix) []netip.Prefix {
	taken := append([]netip.Prefix{}, host...)
	for _, n := range networks {
		taken = append(taken, n.Subnets...)
	}
	return taken
}

func pseudoRandom(n int) int { return rand.IntN(n) }
