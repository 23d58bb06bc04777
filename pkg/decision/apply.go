package decision

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/policy"
	"bottle/pkg/proposal"
	"bottle/pkg/spool"
)

const (
	policyFile  = "routes.yaml"
	appliedFile = "applied.json"
	maxApplied  = 256 << 10
)

// MaxPolicy is how many bytes a policy has at most.
const MaxPolicy = 16 << 20

// answerTime is how long egress has to acknowledge a policy.
const answerTime = 10 * time.Second

func (d *Decider) policyPath(slug string) string {
	return filepath.Join(d.Home.StateDir(slug), proposal.Egress, "in", policyFile)
}

func (d *Decider) outDir(slug string) string {
	return filepath.Join(d.Home.StateDir(slug), proposal.Egress, "out")
}

// text is the policy's file.
func (d *Decider) text(slug string) ([]byte, error) {
	data, err := spool.ReadFile(filepath.Dir(d.policyPath(slug)), policyFile, MaxPolicy)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPolicy, err)
	}
	return data, nil
}

// inForce reads the policy that egress has, or is about to have.
func (d *Decider) inForce(slug string) ([]byte, policy.Policy, error) {
	text, err := d.text(slug)
	if err != nil {
		return nil, policy.Policy{}, err
	}
	p, err := policy.Parse(text)
	if err != nil {
		return text, p, fmt.Errorf("%w: %w", ErrPolicy, err)
	}
	if a, ok := d.applied(slug); ok && a.Error != "" && a.Tried == sum(string(text)) {
		return text, p, fmt.Errorf("%w: egress says: %s", ErrPolicy, a.Error)
	}
	return text, p, nil
}

// Policy is the policy in force, and its text.
func (d *Decider) Policy(slug string) ([]byte, policy.Policy, error) { return d.inForce(slug) }

func (d *Decider) applied(slug string) (a bottle.Applied, ok bool) {
	data, err := spool.ReadFile(d.outDir(slug), appliedFile, maxApplied)
	return a, err == nil && json.Unmarshal(data, &a) == nil
}

// apply writes a policy, tells egress, and waits until it says that this very
// one is in force.
func (d *Decider) apply(ctx context.Context, slug, text string) error {
	if _, err := policy.Parse([]byte(text)); err != nil {
		return fmt.Errorf("the new policy cannot be read: %w", err) // whoever wrote Render has to know
	}
	if err := spool.WriteFile(d.policyPath(slug), []byte(text), 0o600); err != nil {
		return err
	}
	return d.tell(ctx, slug, text)
}

// tell has egress read the policy that is there, and waits until it says that
// this very one is in force.
func (d *Decider) tell(ctx context.Context, slug, text string) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if err := d.Signal(ctx, slug, proposal.Egress); err != nil {
		return err
	}
	return d.await(ctx, slug, sum(text))
}

// await waits until a policy is in force.
func (d *Decider) await(ctx context.Context, slug, hash string) error {
	changes, stop, err := spool.Watch(filepath.Join(d.outDir(slug), appliedFile))
	if err != nil {
		return err
	}
	defer stop()
	for {
		a, ok := d.applied(slug)
		switch {
		case ok && a.SHA256 == hash:
			return nil
		case ok && a.Tried == hash && a.Error != "":
			return fmt.Errorf("%w: %s", ErrRefused, a.Error)
		}
		select {
		case <-changes:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return ErrNoAnswer
			}
			return ctx.Err()
		}
	}
}

// Text is the policy's file, whether it can be read as one or not.
func (d *Decider) Text(slug string) ([]byte, error) { return d.text(slug) }
