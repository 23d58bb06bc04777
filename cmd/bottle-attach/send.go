package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"bottle/pkg/cli"
	"bottle/pkg/engine"
	"bottle/pkg/lifecycle"
	"bottle/pkg/operator"
	"bottle/pkg/session"
)

var nothingToSend = cli.Error{Code: cli.Usage, Msg: "there is no text to send", Hint: "bottle-attach --send SLUG TEXT, or - to read standard input"}

// send types the operator's text into the session.
func send(c *cli.Call, e engine.Engine, container string) error {
	ctx, cancel := operator.Context()
	defer cancel()
	text := c.Input(ctx)
	if len(c.Args) == 2 && c.Args[1] != "-" {
		text = strings.NewReader(c.Args[1])
	} else if len(c.Args) < 2 && cli.IsTerminal(c.In) {
		return nothingToSend
	}
	whole, err := io.ReadAll(text)
	if err != nil {
		return fmt.Errorf("cannot read what to send: %w", err)
	}
	if err = session.Send(ctx, e, container, string(whole)); errors.Is(err, session.ErrNothing) {
		return nothingToSend
	}
	return err
}

// reopen starts a session in the place of one that ended. What cannot be had for
// it is told, and does not keep it from being started.
func reopen(c *cli.Call, m *lifecycle.Manager, slug string) error {
	ctx, cancel := operator.Context()
	defer cancel()
	env, err := sessionEnv(ctx, m, slug)
	if err != nil {
		fmt.Fprintf(c.Err, "bottle-attach: the session of %s starts without its secrets: %s\n", slug, cli.Inert(err.Error()))
	}
	err = m.Reopen(ctx, slug, env)
	if errors.Is(err, session.ErrLives) { // somebody else was quicker
		return nil
	}
	return err
}

// sessionEnv are the secrets of a session, resolved now.
func sessionEnv(ctx context.Context, m *lifecycle.Manager, slug string) (map[string]string, error) {
	names, err := m.Given(slug)
	if err != nil {
		return nil, err
	}
	_, values, err := operator.Values(ctx, m, slug, names)
	return values.Env, err
}
