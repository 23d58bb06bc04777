// Command gate is bottle-git-gate on loopback, for the benchmarks: all of it but
// the check of addresses, which refuses loopback.
//
//	gate DIR PORT REMOTE...     prints its port
//
// Each remote has its upstream at https://example.com:PORT/REMOTE.git, which is
// loopback, too. DIR holds upstream.pem.
package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/gitgate"
	"bottle/pkg/sidecar"
)

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, "gate:", err)
		os.Exit(1)
	}
}

func run(dir, port string, remotes []string) error {
	roots := x509.NewCertPool()
	if data, err := os.ReadFile(filepath.Join(dir, "upstream.pem")); err != nil || !roots.AppendCertsFromPEM(data) {
		return errors.New("the upstream's certificate cannot be read")
	}
	conf := bottle.Gate{Remotes: map[string]bottle.GateRemote{}, Push: bottle.GatePush{Refs: []string{"refs/heads/*"}, MaxSize: 256 << 20}}
	for _, name := range remotes {
		conf.Remotes[name] = bottle.GateRemote{Upstream: "https://example.com:" + port + "/" + name + ".git", Private: true}
	}
	data, err := json.Marshal(conf)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, gitgate.GateFile), data, 0o600); err != nil {
		return err
	}
	gitgate.BoundMemory()
	secrets := &sidecar.Secrets{}
	secrets.Put(bottle.Secrets{Values: map[string]string{"env:ONE": "bench-0f1e2d3c4b5a69788796", "env:TWO": "bench-correct-horse-battery-staple"}})
	start := func(events *sidecar.Events) (sidecar.Service, error) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		loopback := sidecar.Dialer{Timeout: 5 * time.Second, Check: func(netip.Addr, bool) error { return nil },
			Lookup: func(context.Context, string) ([]netip.Addr, error) {
				return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
			}}
		s, err := gitgate.Start(gitgate.Config{In: dir, Out: dir, Repos: dir, Dialer: loopback, Roots: roots, Record: events.Add, Secrets: secrets}, l)
		if err == nil {
			fmt.Println(l.Addr().(*net.TCPAddr).Port)
		}
		return s, err
	}
	return sidecar.Program{Name: gitgate.Source, Out: dir, Start: start}.Run()
}
