// Command bottle-egress is the sidecar through which everything leaves a
// bottle. It runs in a container only; pkg/egress says what it does.
package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime/debug"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"bottle/pkg/bottle"
	"bottle/pkg/cli"
	"bottle/pkg/egress"
	"bottle/pkg/relay"
	"bottle/pkg/sidecar"
)

// inDir is where the host's files are.
const inDir = "/in"

const dialTime = 5 * time.Second

// memoryGoal is where the collector begins to work harder, in bytes: below the
// 256 MiB that the container has, at which the kernel would end us.
const memoryGoal = 192 << 20

func main() { os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, in io.Reader, out, errOut io.Writer) int {
	return cli.App{
		Name:  "bottle-egress",
		Usage: "judge and forward what leaves a bottle",
		About: "Runs in a bottle's egress container. SIGHUP reads the policy again; SIGTERM finishes what is under way and ends.\n" +
			"\"bottle-egress secrets\" hands what it reads from standard input to the one that runs;\n" +
			"\"bottle-egress pipelock HOST,…\" says which of these the pipelock behind it lists.",
		Examples: "bottle-egress --in /in --out /out --listen 10.83.0.2 --name egress=10.83.0.2",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "in", Value: inDir, Usage: "`DIR` with the policy, the bottle's CA and the roots"},
			&urfave.StringFlag{Name: "out", Value: "/out", Usage: "`DIR` for events and readiness"},
			&urfave.StringFlag{Name: "listen", Usage: "the only `ADDRESS/BITS` to listen on, and the bottle's own network"},
			&urfave.StringSliceFlag{Name: "name", Usage: "`NAME=ADDRESS` of a sidecar, for DNS; may be repeated"},
			&urfave.IntFlag{Name: "proxy-port", Value: egress.DefaultPorts.Proxy, Usage: "`PORT` of the forward proxy"},
		},
		Asides: map[string]cli.Aside{
			sidecar.SecretsWord: {Run: func(_ []string, s cli.Streams) error { return sidecar.HandOver(sidecar.SecretsSocket, s.In) }},
			"relay": {Args: 2, Run: func(args []string, s cli.Streams) error {
				return relay.Run(bottle.Proxy{Address: args[0], Except: args[1]}, s.In, s.Out)
			}},
			"pipelock": {Args: 1, Run: askPipelock},
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
	names := map[string]netip.Addr{}
	for _, s := range c.StringSlice("name") {
		name, text, _ := strings.Cut(s, "=")
		addr, err := netip.ParseAddr(text)
		if name == "" || err != nil || !addr.Is4() {
			return usage("--name needs NAME=ADDRESS, not %q", s)
		}
		names[name] = addr
	}
	host, err := sidecar.ReadHost(c.String("in"))
	if err != nil {
		return err
	}
	debug.SetMemoryLimit(memoryGoal)
	guard, err := sidecar.GuardFor(own, host.Addresses)
	if err != nil {
		return err
	}
	ports := egress.DefaultPorts
	ports.Proxy = c.Int("proxy-port")
	secrets := &sidecar.Secrets{}
	proxy, err := sidecar.NewProxy(host.Proxy, secrets)
	if err != nil {
		return err
	}
	dialer := sidecar.Dialer{Check: guard.Check, Lookup: sidecar.Resolve, Timeout: dialTime, Proxy: proxy}
	start := func(events *sidecar.Events) (sidecar.Service, error) {
		var answers func(context.Context) error
		if proxy.Pipelock() { // what cannot lead anywhere is not ready
			conn, err := dialer.AwaitPipelock(context.Background())
			if err != nil {
				return nil, err
			}
			conn.Close()
			answers = dialer.PipelockAnswers
		}
		return egress.Start(egress.Config{Answers: answers, In: c.String("in"), Listen: own.Addr(), Ports: ports, Names: names, Dial: dialer.Dial, Proxy: proxy,
			Record: events.Add, Out: c.String("out"), Secrets: secrets})
	}
	return sidecar.Program{Name: "egress", In: c.String("in"), Out: c.String("out"), Start: start, Secrets: secrets, Socket: sidecar.SecretsSocket}.Run()
}

func askPipelock(args []string, s cli.Streams) error {
	var hosts []string
	if args[0] != "" {
		hosts = strings.Split(args[0], ",")
	}
	return sidecar.AskPipelock(context.Background(), inDir, hosts, s.Out)
}

func usage(format string, args ...any) error {
	return cli.Error{Code: cli.Usage, Msg: fmt.Sprintf(format, args...), Hint: "run bottle-egress --help"}
}
