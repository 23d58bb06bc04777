// Command bottle-git-gate is the sidecar that a bottle's git fetches from and
// pushes to. It runs in a container only; pkg/gitgate says what it does.
package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"time"

	urfave "github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"bottle/pkg/cli"
	"bottle/pkg/gitgate"
	"bottle/pkg/sidecar"
)

const dialTime = 10 * time.Second

// pipe is what the program does for ssh.
const pipe = "pipe"

func main() { os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, in io.Reader, out, errOut io.Writer) int {
	return cli.App{
		Name:  "bottle-git-gate",
		Usage: "scan and forward what a bottle's git pushes",
		About: "Runs in a bottle's git-gate container. SIGHUP reads the configuration again; SIGTERM finishes what is under way and ends.\n" +
			"\"bottle-git-gate secrets\" hands what it reads from standard input to the one that runs.",
		Examples: "bottle-git-gate --in /in --out /out --repos /repos --listen 10.83.0.5/28",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "in", Value: "/in", Usage: "`DIR` with the configuration, the roots and the decisions"},
			&urfave.StringFlag{Name: "out", Value: "/out", Usage: "`DIR` for events, proposals, bundles and readiness"},
			&urfave.StringFlag{Name: "repos", Value: "/repos", Usage: "`DIR` of the repositories"},
			&urfave.StringFlag{Name: "listen", Usage: "the only `ADDRESS/BITS` to listen on, and the bottle's own network"},
			&urfave.IntFlag{Name: "port", Value: 80, Usage: "`PORT` to listen on"},
		},
		Asides: map[string]cli.Aside{
			sidecar.SecretsWord: {Run: func(_ []string, s cli.Streams) error { return sidecar.HandOver(sidecar.SecretsSocket, s.In) }},
			pipe:                {Args: 1, Run: func(args []string, s cli.Streams) error { return gitgate.Pipe(args[0], s.In, s.Out) }},
		},
		Action: serve,
	}.Run(args, in, out, errOut)
}

func serve(c *cli.Call) error {
	if len(c.Args) > 0 {
		return usage("it takes no arguments, but got %q", c.Args[0])
	}
	own, err := netip.ParsePrefix(c.String("listen"))
	if err != nil || !own.Addr().Is4() || own.Addr().IsUnspecified() || own.Bits() == 0 {
		return usage("--listen needs one IPv4 address with the length of its network, not %q", c.String("listen"))
	}
	host, err := sidecar.ReadHost(c.String("in"))
	if err != nil {
		return err
	}
	gitgate.BoundMemory()
	guard, err := sidecar.GuardFor(own, host.Addresses)
	if err != nil {
		return err
	}
	roots, err := readRoots(c.String("in"))
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	secrets := &sidecar.Secrets{}
	proxy, err := sidecar.NewProxy(host.Proxy, secrets)
	if err != nil {
		return err
	}
	start := func(events *sidecar.Events) (sidecar.Service, error) {
		listener, err := listen(own.Addr(), c.Int("port"))
		if err != nil {
			return nil, err
		}
		return gitgate.Start(gitgate.Config{In: c.String("in"), Out: c.String("out"), Repos: c.String("repos"), Roots: roots, Pipe: []string{self, pipe},
			Dialer:   sidecar.Dialer{Check: guard.Check, Lookup: sidecar.Resolve, Timeout: dialTime, Proxy: proxy},
			ProxySSH: host.Proxy != nil && host.Proxy.SSH, Record: events.Add, Secrets: secrets}, listener)
	}
	return sidecar.Program{Name: gitgate.Source, In: c.String("in"), Out: c.String("out"), Start: start, Secrets: secrets, Socket: sidecar.SecretsSocket}.Run()
}

// readRoots are what https upstreams are verified against. Without the file there
// are no such upstreams.
func readRoots(dir string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	data, err := os.ReadFile(filepath.Join(dir, gitgate.RootsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return pool, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the roots: %w", err)
	}
	pool.AppendCertsFromPEM(data)
	return pool, nil
}

// listen takes an address that the container may not have yet: it joins the
// bottle's own network while it starts.
func listen(at netip.Addr, port int) (net.Listener, error) {
	free := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if cerr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1) }); cerr != nil {
			return cerr
		}
		return err
	}}
	return free.Listen(context.Background(), "tcp4", netip.AddrPortFrom(at, uint16(port)).String())
}

func usage(format string, args ...any) error {
	return cli.Error{Code: cli.Usage, Msg: fmt.Sprintf(format, args...), Hint: "run bottle-git-gate --help"}
}
