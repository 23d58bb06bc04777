package rig

import (
	"fmt"
	"strings"
)

// ProxyHost is the name under which what a Proxy is joined to finds it.
const ProxyHost = "proxy.example.test"

// Proxy is a company's proxy in a container: what it is joined to reaches other
// networks through it alone.
type Proxy struct {
	Network string // where it is found
	Login   string // user:password

	r    *Rig
	name string
}

// Proxy starts a proxy that leads into these networks.
func (r *Rig) Proxy(networks ...string) *Proxy {
	r.t.Helper()
	p := &Proxy{Network: r.Network(), Login: "ada:login-of-the-company-0815", r: r}
	p.name = r.Container("proxy", "--network", p.Network, "--network-alias", ProxyHost, upstreamImage(r.t),
		"--http", "-1", "--https", "-1", "--dns", "-1", "--echo", "-1", "--proxy", "3128", "--proxy-login", p.Login)
	for _, n := range networks {
		r.Docker("network", "connect", n, p.name)
	}
	awaitReady(r, p.name)
	return p
}

// URL is what an operator calls it.
func (p *Proxy) URL(login string) string { return fmt.Sprintf("http://%s@%s:3128", login, ProxyHost) }

// Join connects sidecars of a bottle to it.
func (p *Proxy) Join(slug string, services ...string) {
	p.r.t.Helper()
	for _, s := range services {
		container := fmt.Sprintf("bottle-%s-%s-1", slug, s)
		p.r.Docker("network", "connect", p.Network, container)
		p.r.t.Cleanup(func() { client("network", "disconnect", "-f", p.Network, container) }) // a bottle that is gone has left already
	}
}

// Asked are those that it was asked for, as METHOD HOST:PORT STATUS.
func (p *Proxy) Asked() []string {
	p.r.t.Helper()
	var asked []string
	for _, e := range decodeEntries(p.r.t, p.r.Docker("logs", p.name)) {
		if e.Kind == "proxy" {
			asked = append(asked, e.Method+" "+e.Host+" "+e.Detail)
		}
	}
	return asked
}

// OnBridge joins the proxy to the engine's default network, where images are made,
// and returns its address there.
func (p *Proxy) OnBridge() string {
	p.r.t.Helper()
	p.r.Docker("network", "connect", "bridge", p.name)
	return strings.TrimSpace(p.r.Docker("inspect", "-f", `{{(index .NetworkSettings.Networks "bridge").IPAddress}}`, p.name))
}
