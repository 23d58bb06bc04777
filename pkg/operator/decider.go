package operator

import (
	"context"
	"errors"
	"fmt"

	"bottle/pkg/bottle"
	"bottle/pkg/cli"
	"bottle/pkg/decision"
	"bottle/pkg/engine"
	"bottle/pkg/lifecycle"
	"bottle/pkg/manifest"
	"bottle/pkg/plan"
	"bottle/pkg/proposal"
	"bottle/pkg/state"
)

// Decider decides what bottles ask, in the name of a program.
func Decider(m *lifecycle.Manager, program string) *decision.Decider {
	return &decision.Decider{
		Home:    m.Home,
		Program: program,
		Signal: func(ctx context.Context, slug, sidecar string) error {
			err := m.Engine.Signal(ctx, plan.ContainerName(slug, sidecar), bottle.ReloadSignal)
			if errors.Is(err, engine.ErrNotFound) || errors.Is(err, engine.ErrConflict) {
				return fmt.Errorf("%s: %w", slug, decision.ErrNotUp)
			}
			return err
		},
		Rules: func(slug string) (proposal.Rules, error) {
			b, err := m.Home.Bottle(slug)
			if err != nil {
				return proposal.Rules{}, err
			}
			man, err := manifest.Load(m.Home.Dir, b.Agent)
			return Rules(man), err
		},
		Mirror: m.MirrorPipelock,
		Hand:   func(ctx context.Context, slug string, names []string) error { return HandOver(ctx, m, slug, names) },
		Carry: func(ctx context.Context, p bottle.Proposal, answer func() error) error {
			return rebuild(ctx, m, p, answer)
		},
	}
}

// Rules are what a manifest lets its agent ask for.
func Rules(m manifest.Manifest) proposal.Rules {
	r := proposal.Rules{Pipelock: m.Pipelock.Image != ""}
	for _, c := range m.Credentials {
		r.Credentials = append(r.Credentials, proposal.Credential{Name: c.Auth.Credential, Hosts: c.Hosts, Auth: c.Auth})
	}
	return r
}

// explainDecision is Explain for what only deciding can go wrong with.
func explainDecision(slug string, err error) error {
	switch {
	case errors.Is(err, state.ErrDecided):
		return cli.Error{Code: cli.Conflict, Msg: err.Error(), Hint: "bottle-ls proposals --all shows how"}
	case errors.Is(err, decision.ErrChanged):
		return cli.Error{Code: cli.Conflict, Msg: err.Error(), Hint: "look at it, and try again"}
	case errors.Is(err, decision.ErrPipelock):
		return cli.Error{Code: cli.Failed, Msg: fmt.Sprintf("%s: %v", slug, err), Hint: "mend it with bottle-edit " + slug + " pipelock, or bottle-start --resume " + slug + " where it does not run; what was asked still waits"}
	case errors.Is(err, lifecycle.ErrPipelockFile):
		return cli.Error{Code: cli.Failed, Msg: fmt.Sprintf("%s: %v", slug, err), Hint: "nothing was changed"}
	case errors.Is(err, lifecycle.ErrPipelockChanged):
		return cli.Error{Code: cli.Conflict, Msg: err.Error(), Hint: "look at it, and try again"}
	case errors.Is(err, decision.ErrStillListed):
		return cli.Error{Code: cli.Failed, Msg: fmt.Sprintf("%s: %v", slug, err), Hint: "bottle-edit " + slug + " pipelock takes it off"}
	case errors.Is(err, decision.ErrNotUp):
		return cli.Error{Code: cli.Failed, Msg: err.Error(), Hint: fmt.Sprintf("bottle-ls %s shows its state; what was asked still waits", "bottles")}
	case errors.Is(err, decision.ErrPolicy):
		return cli.Error{Code: cli.Failed, Msg: fmt.Sprintf("%s: %v", slug, err), Hint: "mend it with bottle-edit " + slug + " routes"}
	case errors.Is(err, decision.ErrNoAnswer), errors.Is(err, decision.ErrRefused):
		return cli.Error{Code: cli.Failed, Msg: fmt.Sprintf("%s: %v", slug, err), Hint: "what was asked still waits; bottle-log " + slug + " shows what egress says"}
	case errors.Is(err, decision.ErrLong):
		return cli.Error{Code: cli.Usage, Msg: err.Error(), Hint: "say it in fewer words, or say where more is written"}
	case errors.Is(err, decision.ErrLarge):
		return cli.Error{Code: cli.Failed, Msg: err.Error(), Hint: "decide fewer at a time, or make the policy smaller"}
	case errors.Is(err, decision.ErrNoGrant):
		return cli.Error{Code: cli.NotFound, Msg: err.Error(), Hint: "run bottle-ls grants"}
	}
	return err
}

// ExplainDecision turns an error about a proposal into what the operator sees.
func ExplainDecision(slug string, err error) error {
	if e := explainDecision(slug, err); errors.As(e, new(cli.Error)) {
		return e
	}
	return Explain(slug, err)
}
