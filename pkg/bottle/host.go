package bottle

import "net/netip"

// Host is what a sidecar is told of the machine that its bottle runs on.
type Host struct {
	// Addresses are the machine's own: an allowed name must not lead there.
	Addresses []netip.Addr `json:"addresses"`
	// Proxy is the way out; nil: upstreams are dialled.
	Proxy *Proxy `json:"proxy,omitempty"`
}

// Proxy is what upstreams are reached through: a company's HTTP proxy, or the
// bottle's own pipelock. It holds no credentials.
type Proxy struct {
	Address string `json:"address"`          // host:port
	Except  string `json:"except,omitempty"` // who is dialled all the same, as NO_PROXY has it
	Login   string `json:"login,omitempty"`  // name of the value, user:password; empty: it asks for none
	SSH     bool   `json:"ssh,omitempty"`    // ssh goes through it too
	// Pipelock says that it is the bottle's own pipelock: it may be restarted, and is
	// waited for.
	Pipelock bool `json:"pipelock,omitempty"`
}

// ProxyLogin is the name of the value by which a proxy knows the operator. No
// reference and no credential of a manifest's can have it.
const ProxyLogin = "proxy:login"

// Summary is the proxy in a line.
func (p *Proxy) Summary() string {
	text := "http://" + p.Address
	if p.Except != "" {
		text += "  but for " + p.Except
	}
	if p.Login != "" {
		text += "  [login]"
	}
	if p.SSH {
		text += "  [ssh too]"
	}
	return text
}
