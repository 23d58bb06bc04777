// Command egress is bottle-egress on loopback, for the benchmarks: all of it but
// the check of addresses, which refuses loopback.
//
//	egress DIR PORT [PIPELOCK]     allows https://localhost:PORT; prints the proxy's port
//
// DIR holds upstream.pem; the bottle's CA is left there as ca.crt. PIPELOCK is a
// program that stands behind it as a bottle's pipelock does.
package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/ca"
	"bottle/pkg/egress"
	"bottle/pkg/sidecar"
)

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, "egress:", err)
		os.Exit(1)
	}
}

func run(dir, port string, behind []string) error {
	cert, key, err := ca.New("bench", time.Now())
	if err != nil {
		return err
	}
	roots, err := os.ReadFile(filepath.Join(dir, "upstream.pem"))
	if err != nil {
		return err
	}
	dial := dial
	if len(behind) > 0 {
		second, err := begin(behind[0], dir, port)
		if err != nil {
			return err
		}
		defer second.end()
		dial, roots = second.dial, append(roots, second.cert...)
	}
	for name, data := range map[string][]byte{egress.CertFile: cert, egress.KeyFile: key, egress.RootsFile: roots,
		egress.PolicyFile: []byte("routes:\n- {host: localhost, port: " + port + ", path_allowlist: [/json, /events, /download]}\n" +
			"given:\n- {name: ONE, credential: \"env:ONE\", hosts: [one.example]}\n- {name: TWO, credential: \"env:TWO\"}\n")} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return err
		}
	}
	secrets := &sidecar.Secrets{}
	secrets.Put(bottle.Secrets{Values: map[string]string{"env:ONE": "bench-0f1e2d3c4b5a69788796", "env:TWO": "bench-correct-horse-battery-staple"}})
	start := func(events *sidecar.Events) (sidecar.Service, error) {
		s, err := egress.Start(egress.Config{In: dir, Out: dir, Listen: netip.MustParseAddr("127.0.0.1"), Dial: dial, Record: events.Add, Secrets: secrets})
		if err == nil {
			fmt.Println(s.Ports().Proxy)
		}
		return s, err
	}
	return sidecar.Program{Name: "egress", Out: dir, Start: start}.Run()
}

func dial(ctx context.Context, _ string, port int, _ bool) (*net.TCPConn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}
