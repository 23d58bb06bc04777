package gitgate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/proposal"
	"bottle/pkg/spool"
)

// Where proposals and decisions are, below out and in.
const (
	proposalsDir = "proposals"
	decisionsDir = "decisions"
	maxDecision  = 1 << 20
	maxWaiting   = 50 // proposals that wait; one more push is refused without one
)

// judge lets a push pass, or holds it: where something was found, or the operator
// wants to see every push. What he has approved before passes.
func (p *push) judge(ctx context.Context) error {
	if len(p.found) == 0 && !p.conf.Push.RequireApproval {
		return nil
	}
	if p.misnamed {
		p.tellFindings()
		return refuse(wordPolicy, "a ref's name holds a secret: give it another")
	}
	ask := p.ask()
	id, verdict, reason, err := p.desk.look(ask)
	if err != nil {
		return err
	}
	if verdict == bottle.Approved || verdict == bottle.Modified {
		p.answer.say("git-gate: approved as %s", id)
		return nil
	}
	p.tellFindings()
	if verdict == bottle.Rejected {
		return refuse(wordHeld, "the operator rejected this push (%s)%s", id, because(reason))
	}
	if len(p.found) == maxFound {
		return refuse(wordHeld, "more than %d findings: nobody can judge that, push less at a time", maxFound-1)
	}
	if id == "" {
		p.describeTo(ctx, &ask)
		if id, err = p.desk.put(ask); err != nil {
			return err
		}
	}
	p.held = id
	return refuse(wordHeld, "held for the operator as %s: once it is approved, push the same again", id)
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

const maxTold = 20 // findings that a push shows

func (p *push) tellFindings() {
	for i := range p.found[:min(len(p.found), maxTold)] {
		p.answer.say("git-gate: %s", p.found[i].describe())
	}
	if len(p.found) > maxTold {
		p.answer.say("git-gate: and %d more", len(p.found)-maxTold)
	}
	if len(p.found) > 0 {
		p.answer.say("git-gate: take it out of the history that you push (git rebase, git commit --amend), not only of the last commit")
	}
}

// desk is where held pushes lie, and the answers to them.
type desk struct{ in, out string }

// look looks for a decision on exactly this push, else for a proposal of it that
// waits. No id: there is neither.
func (d *desk) look(ask bottle.PushAsk) (id string, v bottle.Verdict, reason string, err error) {
	names, err := list(filepath.Join(d.out, proposalsDir))
	if err != nil {
		return "", "", "", err
	}
	for _, name := range names {
		var prop bottle.Proposal
		data, err := spool.ReadFile(filepath.Join(d.out, proposalsDir), name, maxDecision)
		if err != nil || json.Unmarshal(data, &prop) != nil || prop.Push == nil || !covers(*prop.Push, ask) {
			continue
		}
		id = prop.ID
		var dec bottle.Decision
		data, err = spool.ReadFile(filepath.Join(d.in, decisionsDir), id+".json", maxDecision)
		if err != nil || json.Unmarshal(data, &dec) != nil || dec.Proposal != id || dec.Kind != bottle.GitPush {
			continue
		}
		switch {
		case dec.Verdict == bottle.Rejected:
			return id, dec.Verdict, dec.Reason, nil
		case dec.Push != nil && covers(*dec.Push, ask):
			return id, dec.Verdict, dec.Reason, nil
		}
	}
	return id, "", "", nil
}

// covers says whether what was asked for, or approved, is this push: the same
// refs to the same IDs, and no finding that was not shown.
func covers(shown, ask bottle.PushAsk) bool {
	if shown.Remote != ask.Remote || !slices.Equal(shown.Updates, ask.Updates) {
		return false
	}
	for _, f := range ask.Findings {
		if !slices.Contains(shown.Findings, f) {
			return false
		}
	}
	return true
}

// put makes a proposal.
func (d *desk) put(ask bottle.PushAsk) (string, error) {
	dir := filepath.Join(d.out, proposalsDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	names, err := list(dir)
	if err != nil {
		return "", err
	}
	waiting := 0
	for _, name := range names {
		if _, err := os.Lstat(filepath.Join(d.in, decisionsDir, name)); err != nil {
			waiting++
		}
	}
	if waiting >= maxWaiting {
		return "", refuse(wordHeld, "%d pushes wait for the operator already", waiting)
	}
	p, err := propose(ask)
	if err != nil {
		return "", refuse(wordHeld, "it cannot be shown to the operator: %v", err)
	}
	return p.ID, spool.WriteFile(filepath.Join(dir, p.ID+".json"), proposal.Encode(p), 0o600)
}

// propose makes a proposal of a push. What is only for reading gives way where it
// has no room.
func propose(ask bottle.PushAsk) (p bottle.Proposal, err error) {
	for {
		p, err = proposal.Make(bottle.Proposal{Kind: bottle.GitPush, Push: &ask}, proposal.Rules{}, time.Now())
		if err == nil || ask.Diffstat == "" && len(ask.Commits) == 0 {
			return p, err
		}
		if ask.Diffstat != "" {
			ask.Diffstat = ""
		} else {
			ask.Commits = ask.Commits[:len(ask.Commits)/2]
		}
	}
}

func list(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot look for proposals: %w", err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".json") && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
