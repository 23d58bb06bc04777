package main

import (
	"context"
	"errors"
	"fmt"

	"bottle/pkg/cli"
	"bottle/pkg/lifecycle"
	"bottle/pkg/operator"
)

// resume brings a bottle back, and hands it over as a start does.
func resume(ctx context.Context, c *cli.Call, m *lifecycle.Manager, slug string) error {
	if _, err := m.Home.Bottle(slug); err != nil {
		return operator.Explain(slug, err)
	}
	again, values, err := operator.Again(ctx, m, slug)
	if err != nil {
		return operator.Explain(slug, err)
	}
	v := newView(ctx, c, m, slug)
	b, err := m.Resume(ctx, again, v.step)
	v.end()
	if err != nil {
		return notResumed(c, slug, err)
	}
	if values > 0 {
		fmt.Fprintf(c.Err, "%s: %d values handed over\n", slug, values)
	}
	return v.handOver(m, b)
}

// notResumed is what the operator sees of a resume that failed.
func notResumed(c *cli.Call, slug string, err error) error {
	var failure *lifecycle.Failure
	stop := "bottle-stop " + slug + " keeps what is left and clears up"
	switch {
	case errors.Is(err, lifecycle.ErrGiven):
		return cli.Error{Code: cli.Failed, Msg: err.Error(), Hint: "put it back into the bottle's manifest, or stop the bottle"}
	case errors.Is(err, lifecycle.ErrNeverRan):
		return cli.Error{Code: cli.Conflict, Msg: err.Error(), Hint: "there is nothing to go on with: bottle-stop --orphans clears it up"}
	case errors.Is(err, lifecycle.ErrWorkGone):
		return cli.Error{Code: cli.Failed, Msg: err.Error(), Hint: stop}
	case errors.Is(err, lifecycle.ErrPaused):
		return cli.Error{Code: cli.Conflict, Msg: err.Error(), Hint: "docker unpause it, and try again"}
	case errors.Is(err, lifecycle.ErrForeign):
		return cli.Error{Code: cli.Conflict, Msg: err.Error(), Hint: "docker network rm it, and try again"}
	case !errors.As(err, &failure):
		return operator.Explain(slug, err)
	}
	interrupted := errors.Is(err, context.Canceled)
	if !interrupted {
		for _, line := range failure.Tail {
			fmt.Fprintf(c.Err, "  %s\n", cli.Inert(line))
		}
	}
	fmt.Fprintf(c.Err, "%s: nothing of it is lost: bottle-start --resume %s tries again, %s\n", slug, slug, stop)
	explained := operator.Explain(slug, failure.Err)
	var said cli.Error
	if !interrupted && !errors.As(explained, &said) {
		explained = cli.Error{Code: cli.Failed, Msg: explained.Error(), Hint: "the whole log is in " + failure.Log}
	}
	return explained
}
