package main

import (
	"context"
	"errors"
	"fmt"

	"bottle/pkg/cli"
	"bottle/pkg/lifecycle"
	"bottle/pkg/operator"
)

// resume hands a bottle's sidecars all values that their policies rest on.
func resume(ctx context.Context, c *cli.Call, m *lifecycle.Manager, slug string) error {
	if _, err := m.Home.Bottle(slug); err != nil {
		return operator.Explain(slug, err)
	}
	names, err := m.Needed(slug)
	if err != nil {
		return err
	}
	err = operator.HandOver(ctx, m, slug, names)
	if errors.Is(err, lifecycle.ErrGiven) {
		return cli.Error{Code: cli.Failed, Msg: err.Error(), Hint: "put it back into the bottle's manifest, or stop the bottle"}
	}
	if errors.Is(err, lifecycle.ErrNotUp) {
		return cli.Error{Code: cli.Conflict, Msg: err.Error(),
			Hint: fmt.Sprintf("docker start it, and try again; or bottle-stop %s keeps the work", slug)}
	}
	if err != nil {
		return operator.Explain(slug, err)
	}
	if len(names) == 0 {
		fmt.Fprintf(c.Err, "%s: its policy rests on no value: there is nothing to hand over\n", slug)
		return nil
	}
	fmt.Fprintf(c.Err, "%s: %d values handed over\n", slug, len(names))
	return nil
}
