package rig

import (
	"fmt"
	"os"
	"path/filepath"
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
	log  journal
}

// Proxy starts a proxy that leads into these networks.
func (r *Rig) Proxy(networks ...string) *Proxy {
	r.t.Helper()
	p := &Proxy{Network: r.Network(), Login: "ada:login-of-the-company-0815", r: r}
	dir := filepath.Join(r.dir, "proxy")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		r.t.Fatal(err)
	}
	p.log.path = filepath.Join(dir, "log.jsonl")
	p.name = r.Container("proxy", "--network", p.Network, "--network-alias", ProxyHost, "-v", dir+":/out", upstreamImage(r.t),
		"--http", "-1", "--https", "-1", "--dns", "-1", "--echo", "-1", "--proxy", "3128", "--proxy-login", p.Login, "--log", "/out/log.jsonl")
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

// Asked are those that it was asked for so far, as METHOD HOST:PORT STATUS: what is
// answered is told of before.
func (p *Proxy) Asked() []string {
	p.r.t.Helper()
	all, err := p.log.read()
	if err != nil {
		p.r.t.Fatal(err)
	}
	var asked []string
	for _, e := range all {
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
