package gitgate

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

var errNames = fmt.Errorf("the names of its objects are more than %d MiB: push less at a time", maxAnswer>>20)

// connected checks that everything the refs lead to is here, and returns the
// names of what is new.
func (p *push) connected(ctx context.Context) (map[string]string, error) {
	if p.paths != nil && p.pack.holds(p.commands) {
		return p.paths, nil
	}
	// What a push may refer to is what refs lead to, and never what only lies about.
	list, err := p.git().out(ctx, p.tips(), "rev-list", "--objects", "--stdin", "--not", "--all")
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		if errors.Is(err, errTooLong) {
			return nil, &unpackError{errNames}
		}
		return nil, &unpackError{fmt.Errorf("missing necessary objects (%w)", err)}
	}
	paths := map[string]string{}
	for line := range strings.Lines(list) {
		if id, path, named := strings.Cut(strings.TrimSuffix(line, "\n"), " "); named {
			paths[id] = path
		}
	}
	return paths, nil
}

// checkHistory checks the refs by what they lead to.
func (p *push) checkHistory(ctx context.Context) error {
	failed := false
	for _, c := range p.commands {
		if strings.HasPrefix(c.Ref, "refs/heads/") {
			reason, err := p.checkBranch(ctx, c)
			if err != nil {
				return err
			}
			c.reason, failed = reason, failed || reason != ""
		}
	}
	if failed {
		p.told = true
		return refuse(wordTogether, "a ref is refused")
	}
	return nil
}

func (p *push) checkBranch(ctx context.Context, c *command) (reason string, err error) {
	switch is, err := p.isCommit(ctx, c.New); {
	case err != nil:
		return "", err
	case !is:
		return "a branch must be a commit", nil
	case isZero(c.Old):
		return "", nil
	}
	switch err := p.git().run(ctx, nil, nil, "merge-base", "--is-ancestor", c.Old, c.New); {
	case err == nil:
		return "", nil
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	}
	return "non-fast-forward", nil
}

// isCommit says whether an ID is that of a commit. git is asked where the pack does
// not say so by itself.
func (p *push) isCommit(ctx context.Context, id string) (bool, error) {
	if p.pack != nil && p.pack.kind(id) == "commit" {
		return true, nil
	}
	kind, err := p.git().out(ctx, "", "cat-file", "-t", id)
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	return err == nil && strings.TrimSpace(kind) == "commit", nil
}
