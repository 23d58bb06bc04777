package gitgate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"bottle/pkg/bottle"
)

// seed gives a repository without an upstream, before anybody sees it, what the
// operator's folder had: its branches and tags. Where that cannot be had it begins
// empty.
func (s *Service) seed(ctx context.Context, st *state, r *repo) {
	if r.seeded.Load() {
		return
	}
	s.flights.Do(r.name, func() (any, error) {
		if r.seeded.Load() {
			return nil, nil
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refreshTime)
		defer cancel()
		r.mu.Lock()
		defer r.mu.Unlock()
		if err := r.plant(ctx, filepath.Join(s.conf.In, bottle.GateSeed), st.conf.Refs); err != nil {
			s.conf.Record(bottle.Event{Kind: "seed", Verdict: "error", Path: r.name, Detail: inert(err.Error())})
		}
		r.seeded.Store(true)
		return nil, nil
	})
}

// plant takes a pack in, checked as a push is, and sets the refs last: one that
// has refs was seeded, or pushed to. What it brings is not scanned: it is the
// operator's, and the agent has it.
func (r *repo) plant(ctx context.Context, file string, refs map[string]string) error {
	if has, err := r.refs(ctx); err != nil || len(has) > 0 {
		return err
	}
	pack, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer pack.Close()
	quarantine, err := r.newQuarantine()
	if err != nil {
		return err
	}
	defer os.RemoveAll(quarantine)
	if err := r.git.in(quarantine).run(ctx, pack, nil, "index-pack", "--stdin", "--strict="+fsckRules); err != nil {
		return fmt.Errorf("what the operator's folder had is not taken: %w", err)
	}
	var commands []*command
	for ref, id := range refs {
		if validRef(ref) { // his folder may have others, which no push could name
			commands = append(commands, &command{PushUpdate: bottle.PushUpdate{Ref: ref, New: id}})
		}
	}
	if err := r.admit(quarantine); err != nil {
		return err
	}
	return r.update(ctx, commands, true)
}
