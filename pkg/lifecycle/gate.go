package lifecycle

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/manifest"
	"bottle/pkg/plan"
	"bottle/pkg/policy"
	"bottle/pkg/spool"
	"bottle/pkg/workspace"
)

// gateFile is the git gate's configuration, below its in directory.
const (
	gateFile    = "gate.json"
	maxGateFile = 16 << 20
)

// hasGate says whether a bottle's git goes through a gate of its own.
func hasGate(s Spec) bool { return len(s.Manifest.Git.Remotes) > 0 }

// remoteURLs are where a bottle's git finds its remotes.
func remoteURLs(s Spec) map[string]string {
	urls := map[string]string{}
	for _, r := range s.Manifest.Git.Remotes {
		urls[r.Name] = bottle.GateURL(r.Name)
	}
	return urls
}

// gateFacts reads of the operator's folder what a gate that keeps its work must
// know.
func gateFacts(ctx context.Context, s Spec) (workspace.Facts, error) {
	keeps := slices.ContainsFunc(s.Manifest.Git.Remotes, func(r manifest.Remote) bool { return r.Upstream == "" })
	if !keeps || s.Workspace == WorkspaceNone {
		return workspace.Facts{}, nil
	}
	info, err := workspace.Inspect(ctx, s.Folder)
	if err != nil || !info.Git {
		return workspace.Facts{}, err
	}
	return workspace.FactsOf(ctx, info.Root)
}

// gate is what the git gate is told. p is the policy that the bottle starts with.
func gate(s Spec, p policy.Policy, f workspace.Facts) bottle.Gate {
	push := s.Manifest.Git.Push
	g := bottle.Gate{Remotes: map[string]bottle.GateRemote{}, Known: f.Known, Refs: f.Refs, Shallow: f.Shallow, Format: f.Format, Branch: f.Branch,
		Push: bottle.GatePush{Refs: push.Refs, RequireApproval: push.RequireApproval, MaxSize: push.MaxSize}}
	for _, r := range s.Manifest.Git.Remotes {
		g.Remotes[r.Name] = bottle.GateRemote{Upstream: r.Upstream, Private: r.Private, Key: r.Identity.Name(), Token: r.Token.Name(),
			Refresh: int64(r.Refresh / time.Second), KnownHosts: s.KnownHosts[r.Name]}
	}
	g.Needs = gateNeeds(g, p)
	return g
}

// gateNeeds are the names of the values that a gate must have, sorted: what the
// policy rests on, which it looks for, and its own.
func gateNeeds(g bottle.Gate, p policy.Policy) []string {
	needs := p.Credentials()
	for _, r := range g.Remotes {
		needs = append(needs, r.Key, r.Token)
	}
	needs = slices.DeleteFunc(needs, func(name string) bool { return name == "" })
	slices.Sort(needs)
	return slices.Compact(needs)
}

// gate writes what the gate reads, and what the agent's git is told of it.
func (t *tree) gate(s Spec, p policy.Policy, f workspace.Facts) {
	data, err := json.Marshal(gate(s, p, f))
	if t.err == nil {
		t.err = err
	}
	t.put(filepath.Join(plan.GateService, "in", gateFile), append(data, '\n'), 0o600)
}

// seed writes what a remote without an upstream begins with. The agent that
// could ask for it is not there yet; without, it begins empty.
func (m *making) seed(ctx context.Context) error {
	if len(m.facts.Refs) == 0 {
		return nil
	}
	if err := m.files(ctx); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(m.bottle.StateDir, plan.GateService, "in", bottle.GateSeed), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err = errors.Join(m.facts.Seed(ctx, f), f.Close()); err == nil || ctx.Err() != nil {
		return err
	}
	m.log.step("note: the git gate begins without the folder's branches: %v", err)
	return os.Remove(f.Name())
}

// gitConfig leads the addresses of upstreams to the gate, for every repository in
// the bottle. A folder that is mounted is the operator's, which git would not trust.
// What the image's own configuration says stays.
func gitConfig(s Spec) []byte {
	var b bytes.Buffer
	b.WriteString("[include]\n\tpath = /etc/gitconfig\n")
	if s.Workspace == WorkspaceMount {
		fmt.Fprintf(&b, "[safe]\n\tdirectory = %s\n", plan.WorkDir)
	}
	remotes := s.Manifest.Git.Remotes
	taken := map[string]bool{}
	for _, r := range remotes {
		var lines strings.Builder
		for _, address := range r.Addresses() {
			if !taken[address] {
				fmt.Fprintf(&lines, "\tinsteadOf = \"%s\"\n", address)
			}
			taken[address] = true
		}
		if lines.Len() > 0 {
			fmt.Fprintf(&b, "[url \"%s\"]\n%s", bottle.GateURL(r.Name), lines.String())
		}
	}
	return b.Bytes()
}

// gateOf reads what a bottle's gate was told. A bottle without one has no
// remotes.
func (m *Manager) gateOf(slug string) (g bottle.Gate, err error) {
	dir := filepath.Join(m.Home.StateDir(slug), plan.GateService, "in")
	if !exists(dir) {
		return g, nil
	}
	data, err := spool.ReadFile(dir, gateFile, maxGateFile)
	if err == nil {
		err = json.Unmarshal(data, &g)
	}
	if err != nil {
		return g, fmt.Errorf("cannot read what the git gate of %s was told: %w", slug, err)
	}
	return g, nil
}

// refreshGate writes anew which values the gate needs.
func (r *revival) refreshGate(t *tree) error {
	g, err := r.gateOf(r.again.Slug)
	if err != nil {
		return err
	}
	p, err := r.policy(r.again.Slug)
	if err != nil {
		return err
	}
	g.Needs = gateNeeds(g, p)
	data, err := json.Marshal(g)
	if err != nil {
		return err
	}
	t.replace(gateFile, append(data, '\n'), 0o600)
	return t.err
}

// Pushed is a bundle of what was pushed to a remote without an upstream.
type Pushed struct{ Remote, Bundle string }

// Pushes are the remotes of a bottle whose work the gate keeps, sorted, and where
// it bundles that, whether or not there is any yet.
func (m *Manager) Pushes(slug string) []Pushed {
	g, err := m.gateOf(slug)
	if err != nil {
		return nil // whoever acts on the gate is told
	}
	var list []Pushed
	for _, name := range slices.Sorted(maps.Keys(g.Remotes)) {
		if g.Remotes[name].Upstream == "" {
			list = append(list, Pushed{Remote: name, Bundle: filepath.Join(m.Home.StateDir(slug), plan.GateService, "out", name+".bundle")})
		}
	}
	return list
}

// pushed are those of them that are there: files, since what a sidecar wrote may
// lead elsewhere.
func (m *Manager) pushed(slug string) []Pushed {
	return slices.DeleteFunc(m.Pushes(slug), func(p Pushed) bool {
		info, err := os.Lstat(p.Bundle)
		return err != nil || !info.Mode().IsRegular()
	})
}
