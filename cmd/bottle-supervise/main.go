// Command bottle-supervise is the sidecar by which an agent asks its operator
// for more. It runs in a container only; pkg/supervise says what it does.
package main

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime/debug"

	urfave "github.com/urfave/cli/v2"

	"bottle/pkg/cli"
	"bottle/pkg/sidecar"
	"bottle/pkg/supervise"
)

// memoryGoal is where the collector begins to work harder, in bytes: below what
// the container has.
const memoryGoal = 96 << 20

func main() { os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, in io.Reader, out, errOut io.Writer) int {
	return cli.App{
		Name:  "bottle-supervise",
		Usage: "take what an agent asks to its operator, and the answer back",
		About: "Runs in a bottle's supervise container, and speaks MCP at " + supervise.Path + ". SIGHUP reads the rules again; SIGTERM ends the calls that wait,\n" +
			"whose proposals stay.",
		Examples: "bottle-supervise --in /in --out /out --listen 10.83.0.4:8090 --name supervise --egress 10.83.0.2:80",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "in", Value: "/in", Usage: "`DIR` with the rules and the decisions"},
			&urfave.StringFlag{Name: "out", Value: "/out", Usage: "`DIR` for proposals, events and readiness"},
			&urfave.StringFlag{Name: "listen", Usage: "the only `ADDRESS:PORT` to listen on"},
			&urfave.StringFlag{Name: "name", Value: "supervise", Usage: "the `NAME` that agents know it by"},
			&urfave.StringFlag{Name: "egress", Usage: "`ADDRESS:PORT` where egress tells what is open"},
		},
		Action: serve,
	}.Run(args, in, out, errOut)
}

func serve(c *cli.Call) error {
	if len(c.Args) > 0 {
		return usage("it takes no arguments, but got %q", c.Args[0])
	}
	listen, err := address(c.String("listen"))
	if err != nil {
		return usage("--listen %v", err)
	}
	egress, err := address(c.String("egress"))
	if err != nil {
		return usage("--egress %v", err)
	}
	debug.SetMemoryLimit(memoryGoal)
	start := func(events *sidecar.Events) (sidecar.Service, error) {
		return supervise.Start(supervise.Config{In: c.String("in"), Out: c.String("out"), Listen: listen.Addr(), Port: int(listen.Port()),
			Name: c.String("name"), Allowlist: supervise.Allowlist(egress), Record: events.Add})
	}
	return sidecar.Program{Name: "supervise", In: c.String("in"), Out: c.String("out"), Start: start}.Run()
}

// address reads an IPv4 address with a port.
func address(text string) (netip.AddrPort, error) {
	a, err := netip.ParseAddrPort(text)
	if err != nil || !a.Addr().Is4() || a.Addr().IsUnspecified() || a.Port() == 0 {
		return a, fmt.Errorf("needs one IPv4 address with a port, not %q", text)
	}
	return a, nil
}

func usage(format string, args ...any) error {
	return cli.Error{Code: cli.Usage, Msg: fmt.Sprintf(format, args...), Hint: "run bottle-supervise --help"}
}
