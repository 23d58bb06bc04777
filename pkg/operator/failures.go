package operator

import (
	"context"
	"errors"
	"fmt"

	"bottle/pkg/cli"
)

// Failures are what of several went wrong, each told already where there are
// more than one.
type Failures struct {
	Done string // what was to be done to all, such as "decided"
	Hint string // what shows how far it came

	n           int
	last        error
	interrupted bool
}

// Add counts n that failed of err.
func (f *Failures) Add(err error, n int) {
	var said cli.Error
	f.interrupted = f.interrupted || errors.Is(err, context.Canceled) || errors.As(err, &said) && said.Code == cli.Interrupted
	f.n, f.last = f.n+n, err
}

// Of is the error over all of them: of one its own.
func (f *Failures) Of(all int) error {
	var said cli.Error
	errors.As(f.last, &said)
	switch {
	case f.n == 0:
		return nil
	case f.interrupted:
		return cli.Error{Code: cli.Interrupted, Msg: "interrupted", Hint: f.Hint}
	case all == 1:
		return f.last
	}
	return cli.Error{Code: cli.SomeFailed, Msg: fmt.Sprintf("%d of %d were not %s", f.n, all, f.Done), Hint: said.Hint}
}
