// Package operator is what the programs on the operator's side of the wall have
// in common: they open the same home and engine, and tell of errors in the same
// words and exit codes. It decides nothing about bottles.
package operator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"bottle/pkg/bottle"
	"bottle/pkg/cli"
	"bottle/pkg/engine"
	"bottle/pkg/engine/docker"
	"bottle/pkg/lifecycle"
	"bottle/pkg/manifest"
	"bottle/pkg/session"
	"bottle/pkg/state"
	"bottle/pkg/tokenref"
)

// Open opens the home and the engine; the engine is not asked anything yet.
func Open() (*lifecycle.Manager, error) {
	home, err := state.Open("")
	if err != nil {
		return nil, err
	}
	e, err := docker.New()
	if err != nil {
		return nil, err
	}
	e.TakeTurns(home.LockEndings)
	libexec, err := cli.Libexec()
	if err != nil {
		return nil, err
	}
	return &lifecycle.Manager{Home: home, Engine: e, Libexec: libexec}, nil
}

// Explain turns an error about a bottle into what the operator sees. Errors it
// does not know pass unchanged.
func Explain(slug string, err error) error {
	var said cli.Error
	var status cli.Status
	var signalled session.Signalled
	var unset tokenref.Unset
	switch {
	case err == nil || errors.As(err, &said) || errors.As(err, &status):
		return err
	case errors.As(err, &signalled):
		return cli.Status(signalled.ExitCode())
	case errors.Is(err, context.Canceled):
		return cli.Error{Code: cli.Interrupted, Msg: "interrupted"}
	case errors.Is(err, engine.ErrUnreachable):
		return cli.Error{Code: cli.NoEngine, Msg: "the Docker engine cannot be reached: " + reason(err),
			Hint: "start it (scripts/docker-up, or systemctl start docker), or set DOCKER_HOST"}
	case errors.Is(err, engine.ErrSilent):
		return cli.Error{Code: cli.NoEngine, Msg: err.Error(), Hint: "if docker network ls does not answer either, restart the engine; then bottle-stop --orphans clears up"}
	case errors.Is(err, state.ErrNotFound):
		return cli.Error{Code: cli.NotFound, Msg: fmt.Sprintf("no bottle named %q", slug), Hint: near(err)}
	case errors.Is(err, lifecycle.ErrElsewhere):
		return cli.Error{Code: cli.Conflict, Msg: fmt.Sprintf("%s was made on another engine, which does not answer here", slug),
			Hint: "set DOCKER_HOST to that engine; if it is gone for good, remove the bottle's state_dir"}
	case errors.Is(err, lifecycle.ErrPoolEmpty):
		return cli.Error{Code: cli.Failed, Msg: err.Error(), Hint: "stop a bottle, or set a larger subnet_pool in config.yaml"}
	case errors.Is(err, syscall.ENOSPC):
		return cli.Error{Code: cli.Failed, Msg: "the disk is full: " + err.Error(), Hint: "make room, and try again"}
	case errors.Is(err, state.ErrLocked):
		return cli.Error{Code: cli.Conflict, Msg: fmt.Sprintf("another program is at work on %s", slug), Hint: "wait for it to end, and try again"}
	case errors.Is(err, lifecycle.ErrNotUp):
		return cli.Error{Code: cli.Conflict, Msg: err.Error(), Hint: "run bottle-start --resume " + slug}
	case errors.Is(err, session.ErrNoSession):
		return cli.Error{Code: cli.Conflict, Msg: fmt.Sprintf("the session of %q does not live", slug),
			Hint: fmt.Sprintf("bottle-attach %s starts one, --peek prints its last screen, bottle-stop %s keeps its work and clears up", slug, slug)}
	case errors.Is(err, session.ErrDumb):
		return cli.Error{Code: cli.Failed, Msg: "no session can be shown here: this terminal is a dumb one, as $TERM says",
			Hint: fmt.Sprintf("bottle-attach --peek %s prints the screen", slug)}
	case errors.Is(err, session.ErrViewer):
		return cli.Error{Code: cli.Failed, Msg: fmt.Sprintf("the view of %q was ended from inside; the session goes on", slug),
			Hint: "bottle-attach " + slug + " returns to it"}
	case errors.Is(err, lifecycle.ErrPipelockProxy):
		return cli.Error{Code: cli.Failed, Msg: err.Error(), Hint: "say upstream_proxy: none in config.yaml, or take pipelock out of the bottle's manifest"}
	case errors.As(err, &unset):
		return cli.Error{Code: cli.Failed, Msg: err.Error(), Hint: fmt.Sprintf("export %s, or take it out of the manifest", unset.Name)}
	case errors.Is(err, manifest.ErrNoAgent):
		return cli.Error{Code: cli.NotFound, Msg: err.Error(), Hint: "run bottle-ls agents"}
	case errors.Is(err, lifecycle.ErrNested):
		return cli.Error{Code: cli.Conflict, Msg: err.Error(), Hint: "stop that bottle first, or give --workspace copy"}
	case errors.Is(err, lifecycle.ErrRemains):
		return cli.Error{Code: cli.Conflict, Msg: err.Error(), Hint: fmt.Sprintf("bottle-stop %s keeps its work and clears up; or choose another --name", slug)}
	case errors.Is(err, state.ErrExists):
		return cli.Error{Code: cli.Conflict, Msg: err.Error(), Hint: "choose another --name"}
	}
	return err
}

// near is the hint where err says that there is no such bottle.
func near(err error) string {
	var missing state.Missing
	if !errors.As(err, &missing) || len(missing.Near) == 0 {
		return "run bottle-ls"
	}
	return fmt.Sprintf("perhaps %s; bottle-ls lists all", strings.Join(missing.Near, ", "))
}

// reason is the innermost part of an engine's complaint.
func reason(err error) string {
	text := err.Error()
	if i := strings.Index(text, engine.ErrUnreachable.Error()+": "); i >= 0 {
		text = text[i+len(engine.ErrUnreachable.Error())+2:]
	}
	return text
}

// Slugs are the bottles that a program was told to act on: its arguments, where
// "-" stands for the lines of standard input (slugs, or the JSON lines of
// bottle-ls). Doubles are dropped. All are known to exist when it returns.
func Slugs(ctx context.Context, c *cli.Call, known []bottle.Bottle) ([]string, error) {
	var slugs []string
	seen := map[string]bool{}
	add := func(s string) error {
		if seen[s] {
			return nil
		}
		seen[s] = true
		for _, b := range known {
			if b.Slug == s {
				slugs = append(slugs, s)
				return nil
			}
		}
		var all []string
		for _, b := range known {
			all = append(all, b.Slug)
		}
		return Explain(s, state.NoSuch(s, all))
	}
	for _, arg := range c.Args {
		if arg != "-" {
			if err := add(arg); err != nil {
				return nil, err
			}
			continue
		}
		err := EachLine(ctx, c, func(line string) error {
			if s := slugOf(line); s != "" {
				return add(s)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return slugs, nil
}
