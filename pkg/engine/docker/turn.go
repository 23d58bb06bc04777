package docker

import (
	"context"
	"sync/atomic"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/versions"
)

// mended is the first API of engines that bear it when containers end side by side.
const mended = "1.42"

// turns has containers end one after another where the engine needs that.
type turns struct {
	place  chan struct{} // has room for one
	across Lock          // that other programs take too; nil: none
	bears  atomic.Bool   // the engine needs no turns
	needed atomic.Bool   // it does
}

// Lock takes a lock that programs share, until release or ctx ends.
type Lock func(ctx context.Context) (release func(), err error)

// TakeTurns has containers end one after another with those of other programs that
// hand over the same lock, where the engine needs that. Who holds it for longer than
// a container takes to end, such as a program that was stopped, is not waited for.
func (e *Engine) TakeTurns(lock Lock) { e.turns.across = lock }

// takesTurns says whether the engine needs that. A 20.10 engine may lock itself up
// for good when one container leaves a network in the moment in which another one's
// endpoint there is taken away (moby/moby#46661): it starts nothing any more, and
// answers no name lookup of any container.
func (e *Engine) takesTurns(ctx context.Context) (bool, error) {
	if !e.turns.bears.Load() && !e.turns.needed.Load() {
		var ping types.Ping
		err := e.prompt(ctx, func(ctx context.Context) (err error) {
			ping, err = e.api.Ping(ctx)
			return err
		})
		if err != nil {
			return false, err
		}
		e.turns.bears.Store(!versions.LessThan(ping.APIVersion, mended))
		e.turns.needed.Store(versions.LessThan(ping.APIVersion, mended))
	}
	return e.turns.needed.Load(), nil
}

// turn waits for the caller's turn to end a container, until ctx ends; done gives
// the turn on. Where none are taken it is always everybody's.
func (e *Engine) turn(ctx context.Context) (done func(), err error) {
	needed, err := e.takesTurns(ctx)
	if err != nil || !needed {
		return func() {}, err
	}
	select {
	case e.turns.place <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	here := func() { <-e.turns.place }
	if e.turns.across == nil {
		return here, nil
	}
	waited, stop := context.WithTimeout(ctx, endings*e.patience)
	defer stop()
	release, err := e.turns.across(waited)
	switch {
	case err == nil:
		return func() { release(); here() }, nil
	case ctx.Err() != nil:
		here()
		return nil, ctx.Err()
	}
	return here, nil // it makes a lock-up less likely, and is worth no more than that
}
