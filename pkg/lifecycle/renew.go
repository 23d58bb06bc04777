package lifecycle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/plan"
	"bottle/pkg/spool"
)

// RenewAt is when the first value of a bottle is as old as it may become, as its
// sidecars say; zero: none ages, or none is there.
func (m *Manager) RenewAt(slug string) (first time.Time) {
	for _, service := range takers {
		if at := applied(m.Home.StateDir(slug), service).RenewAt; at != nil && (first.IsZero() || at.Before(first)) {
			first = *at
		}
	}
	return first
}

// Due are the names of a bottle's values that are as old as they may become,
// sorted: of those that the operator said age, those that its sidecars say do.
func (m *Manager) Due(slug string, now time.Time) ([]string, error) {
	aging, err := m.aging(slug)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(aging, func(name string) bool {
		return !slices.ContainsFunc(takers, func(service string) bool {
			due, here := applied(m.Home.StateDir(slug), service).Due[name]
			return here && !now.Before(due)
		})
	}), nil
}

// aging are those of a bottle's values that must be resolved anew now and then,
// sorted.
func (m *Manager) aging(slug string) ([]string, error) {
	p, err := m.policy(slug)
	if err != nil {
		return nil, err
	}
	g, err := m.gateOf(slug)
	names := slices.Collect(maps.Keys(p.Refreshes()))
	for _, r := range g.Remotes {
		if r.Refresh > 0 {
			names = append(names, r.Token)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), err
}

// Renewable are the names of the values that a bottle's sidecars use themselves,
// sorted. What the agent alone was given is none of them: a new value would not
// reach it, and the old one would not be looked for any more.
func (m *Manager) Renewable(slug string) ([]string, error) {
	p, err := m.policy(slug)
	if err != nil {
		return nil, err
	}
	g, err := m.gateOf(slug)
	if err != nil {
		return nil, err
	}
	p.Given = nil
	names := gateNeeds(g, p)
	host, err := m.hostOf(slug, plan.EgressService)
	if err == nil && host.Proxy != nil && host.Proxy.Login != "" {
		names = append(names, host.Proxy.Login)
	}
	return names, err
}

// maxHostFile bounds what a sidecar is told of this machine.
const maxHostFile = 1 << 20

// hostOf reads what a sidecar was told of this machine when it started last.
func (m *Manager) hostOf(slug, service string) (doc bottle.Host, err error) {
	data, err := spool.ReadFile(filepath.Join(m.Home.StateDir(slug), service, "in"), hostFile, maxHostFile)
	if err == nil {
		err = json.Unmarshal(data, &doc)
	}
	if err != nil {
		return doc, fmt.Errorf("cannot read what %s of %s was told: %w", service, slug, err)
	}
	return doc, nil
}

// ErrGiven is wrapped by Renew's error for a policy that rests on a value which
// the manifest does not name any more.
var ErrGiven = errors.New("the manifest does not name it any more")

// Renew hands a running bottle's sidecars the values of these names anew, when
// they have aged. Other values stay where they are. A git gate that is not up is
// handed all when it comes back.
func (m *Manager) Renew(ctx context.Context, slug string, names []string, values map[string]string) error {
	if _, err := m.Home.Bottle(slug); err != nil {
		return err
	}
	lock, err := m.Home.Lock(slug)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	up, err := m.taking(ctx, slug)
	if err != nil {
		return err
	}
	needed, err := choose(slug, names, values)
	if err != nil {
		return err
	}
	egress, err := m.forEgress(slug, needed)
	if err != nil {
		return err
	}
	return m.handEach(ctx, slug, map[string]map[string]string{plan.EgressService: egress, plan.GateService: needed}, func(service string) bool { return up[service] })
}

// choose returns the values of these names; the error for one that is not there
// wraps ErrGiven.
func choose(slug string, names []string, values map[string]string) (map[string]string, error) {
	needed := map[string]string{}
	for _, name := range names {
		if values[name] == "" {
			return nil, fmt.Errorf("the policy of %s rests on %s: %w", slug, name, ErrGiven)
		}
		needed[name] = values[name]
	}
	return needed, nil
}

// ErrNotUp is wrapped by Renew's error for a sidecar that does not run.
var ErrNotUp = errors.New("its container does not run")

// Takes says whether a bottle's sidecars can be handed values; ErrNotUp: egress
// does not run.
func (m *Manager) Takes(ctx context.Context, slug string) error {
	_, err := m.taking(ctx, slug)
	return err
}

// taking is running, of a bottle whose egress does.
func (m *Manager) taking(ctx context.Context, slug string) (map[string]bool, error) {
	up, err := m.running(ctx, slug)
	if err == nil && !up[plan.EgressService] {
		err = fmt.Errorf("%s takes no values: %w", plan.ContainerName(slug, plan.EgressService), ErrNotUp)
	}
	return up, err
}

// running are the services of a bottle whose containers run.
func (m *Manager) running(ctx context.Context, slug string) (map[string]bool, error) {
	list, err := m.Engine.List(ctx, m.Home.ID)
	up := map[string]bool{}
	for _, c := range list {
		if c.Slug == slug && c.Running() {
			up[c.Service] = true
		}
	}
	return up, err
}

// forEgress are those of the values that egress is handed: all but those that the
// git gate alone has.
func (m *Manager) forEgress(slug string, values map[string]string) (map[string]string, error) {
	needs, err := m.needs(slug)
	if err != nil {
		return nil, err
	}
	rest := maps.Clone(values)
	maps.DeleteFunc(rest, func(name, _ string) bool {
		return slices.Contains(needs[plan.GateService], name) && !slices.Contains(needs[plan.EgressService], name)
	})
	return rest, nil
}
