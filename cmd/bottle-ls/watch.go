package main

import (
	"errors"
	"fmt"
	"syscall"

	"bottle/pkg/bottle"
	"bottle/pkg/cli"
	"bottle/pkg/operator"
)

func watch(c *cli.Call) error {
	if c.String("output") == "table" {
		return cli.Error{Code: cli.Usage, Msg: "a table cannot be watched: its columns would move", Hint: "use -o json or -o tsv"}
	}
	p, err := cli.NewPrinter(c.Out, c.String("output"), columns...)
	if err != nil {
		return err
	}
	ctx, cancel := operator.Reading()
	defer cancel()
	m, err := operator.Open()
	if err != nil {
		return err
	}
	go func() {
		if cli.ReaderGone(ctx, c.Out) {
			cancel()
		}
	}()
	defer operator.KeepFresh(m, func(line string) { fmt.Fprintf(c.Err, "bottle-ls: %s\n", cli.Inert(line)) })()
	emit := func(b bottle.Bottle) error { return p.Print(b, cells(b)...) }
	lost := func(err error) {
		fmt.Fprintf(c.Err, "bottle-ls: %s\n", cli.Inert(operator.Explain("", err).Error()))
	}
	if err := m.Watch(ctx, emit, lost); err != nil && !errors.Is(err, syscall.EPIPE) {
		return operator.Explain("", err)
	}
	return nil
}
