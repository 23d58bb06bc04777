package main

import (
	"context"
	"errors"
	"os"

	"bottle/pkg/bottle"
	"bottle/pkg/cli"
	"bottle/pkg/lifecycle"
	"bottle/pkg/operator"
	"bottle/pkg/pane"
	"bottle/pkg/plan"
	"bottle/pkg/session"
)

// follow shows the session, or waits for its end where nobody looks, and says
// whether the agent ended, and how.
func follow(ctx context.Context, c *cli.Call, m *lifecycle.Manager, b bottle.Bottle, attached bool) (session.Outcome, error) {
	var notes operator.Notes // the screen is the session's
	stop := operator.KeepFresh(m, notes.Add)
	defer func() {
		stop()
		notes.Tell(c)
	}()
	container := plan.ContainerName(b.Slug, plan.AgentService)
	if !attached {
		return wait(m, container)
	}
	keys, err := session.ParseKeys(session.DefaultDetachKeys)
	if err != nil {
		return session.Outcome{}, err
	}
	in, _ := c.In.(*os.File)
	out, _ := c.Out.(*os.File)
	outcome, err := session.Attach(ctx, m.Engine, container, session.Terminal{In: in, Out: out},
		session.Options{Term: os.Getenv("TERM"), DetachKeys: keys, Copy: pane.Copy})
	if !errors.Is(err, session.ErrNoSession) {
		return outcome, err
	}
	// The agent was quicker than its viewer.
	if outcome, err = wait(m, container); err == nil {
		err = session.Peek(ctx, m.Engine, container, out, session.Colours)
	}
	return outcome, err
}

func wait(m *lifecycle.Manager, container string) (session.Outcome, error) {
	ctx, cancel := operator.Context()
	defer cancel()
	code, err := session.Wait(ctx, m.Engine, container)
	return session.Outcome{Ended: err == nil, Code: code}, err
}
