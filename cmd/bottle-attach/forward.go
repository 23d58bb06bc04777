package main

import (
	"errors"
	"fmt"
	"io/fs"

	"bottle/pkg/cli"
	"bottle/pkg/engine"
	"bottle/pkg/operator"
	"bottle/pkg/session"
)

// forward leads ports of this host's loopback to the agent's, until it is
// interrupted or the bottle ends.
func forward(c *cli.Call, e engine.Engine, container, slug string) error {
	var ports []session.Port
	for _, text := range c.StringSlice("forward") {
		p, err := session.ParsePort(text)
		if err != nil {
			return cli.Error{Code: cli.Usage, Msg: err.Error(), Hint: "write --forward 3000, --forward 8080:3000, or --forward 0:3000 for any that is free"}
		}
		ports = append(ports, p)
	}
	f, err := session.Listen(ports)
	if err != nil {
		return cannotListen(err)
	}
	ctx, cancel := operator.Context()
	defer cancel()
	ready := func() {
		for _, p := range f.Ports {
			fmt.Fprintf(c.Out, "127.0.0.1:%d is port %d of %s\n", p.Local, p.Inside, slug)
		}
	}
	err = f.Run(ctx, e, container, ready, func(p session.Port, err error) {
		if errors.Is(err, session.ErrRefused) {
			fmt.Fprintf(c.Err, "bottle-attach: nothing listens on port %d of %s\n", p.Inside, slug)
			return
		}
		fmt.Fprintf(c.Err, "bottle-attach: %s\n", cli.Inert(err.Error()))
	})
	if errors.Is(err, session.ErrTunnel) {
		return cli.Error{Code: cli.Failed, Msg: "the ports of " + slug + " are gone: its container, or the program there, has ended", Hint: "bottle-ls shows what became of it"}
	}
	return err
}

func cannotListen(err error) error {
	const another = "name another one: LOCAL:PORT, or 0:PORT for any that is free"
	switch {
	case errors.Is(err, session.ErrPortInUse):
		return cli.Error{Code: cli.Conflict, Msg: err.Error(), Hint: another}
	case errors.Is(err, fs.ErrPermission): // below 1024
		return cli.Error{Code: cli.Failed, Msg: err.Error(), Hint: another}
	}
	return err
}
