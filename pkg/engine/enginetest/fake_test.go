package enginetest

import (
	"net/netip"
	"testing"
)

func TestTheFakeIsAnEngine(t *testing.T) {
	Run(t, func(*testing.T) Lab {
		fake := NewFake("any")
		fake.Links = []string{"/var/run"} // as in Debian's image
		return Lab{Engine: fake, Image: "any", Home: "suite",
			Free: [2]netip.Prefix{netip.MustParsePrefix("10.0.0.0/28"), netip.MustParsePrefix("10.0.1.0/28")}}
	})
}
