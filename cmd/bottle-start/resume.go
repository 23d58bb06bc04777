package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"bottle/pkg/cli"
	"bottle/pkg/lifecycle"
	"bottle/pkg/manifest"
	"bottle/pkg/operator"
	"bottle/pkg/tokenref"
)

// resume resolves a bottle's references again, from its manifest as it is now,
// and hands the values to its sidecars.
func resume(ctx context.Context, c *cli.Call, m *lifecycle.Manager, slug string) error {
	b, err := m.Home.Bottle(slug)
	if err != nil {
		return operator.Explain(slug, err)
	}
	man, err := manifest.Load(m.Home.Dir, b.Agent)
	if err != nil {
		return operator.Explain(b.Agent, err)
	}
	needed, err := m.Needed(slug)
	if err != nil {
		return err
	}
	man = manifest.Only(man, needed)
	values, err := manifest.Resolve(ctx, man, tokenref.Resolver{Lookup: os.LookupEnv})
	if err != nil {
		return operator.Explain(slug, err)
	}
	err = m.Resume(ctx, slug, values.ByName(man))
	if errors.Is(err, lifecycle.ErrGiven) {
		return cli.Error{Code: cli.Failed, Msg: err.Error(), Hint: "put it back into " + man.BottleFile + ", or stop the bottle"}
	}
	if err != nil {
		return operator.Explain(slug, err)
	}
	fmt.Fprintf(c.Err, "%s: %d values handed over\n", slug, len(needed))
	return nil
}
