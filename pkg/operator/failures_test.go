package operator

import (
	"context"
	"errors"
	"testing"

	"bottle/pkg/cli"
)

func TestTheErrorOverSeveral(t *testing.T) {
	own, hinted := errors.New("own"), cli.Error{Code: cli.Conflict, Msg: "x", Hint: "do y"}
	for _, c := range []struct {
		errs []error
		all  int
		want error
	}{
		{nil, 3, nil},
		{[]error{own}, 1, own},
		{[]error{own, hinted}, 2, cli.Error{Code: cli.SomeFailed, Msg: "2 of 2 were not started", Hint: "do y"}},
		{[]error{own}, 3, cli.Error{Code: cli.SomeFailed, Msg: "1 of 3 were not started"}},
		{[]error{context.Canceled, own}, 3, cli.Error{Code: cli.Interrupted, Msg: "interrupted", Hint: "look"}},
		{[]error{cli.Error{Code: cli.Interrupted}}, 1, cli.Error{Code: cli.Interrupted, Msg: "interrupted", Hint: "look"}},
	} {
		f := Failures{Done: "started", Hint: "look"}
		for _, err := range c.errs {
			f.Add(err, 1)
		}
		if got := f.Of(c.all); got != c.want {
			t.Errorf("%v of %d: %v", c.errs, c.all, got)
		}
	}
}
