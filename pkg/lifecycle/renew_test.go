package lifecycle

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/engine"
	"bottle/pkg/manifest"
	"bottle/pkg/plan"
)

// renewing is secretive with a remote whose token ages.
func renewing(t *testing.T) (*lab, *handed, bottle.Bottle) {
	t.Helper()
	l, h := secretive(t)
	l.spec.Manifest.Routes[len(l.spec.Manifest.Routes)-1].Auth.Refresh = time.Hour
	l.spec.Manifest.Git = manifest.Git{Push: manifest.Push{Refs: []string{"refs/heads/*"}, MaxSize: 1 << 20},
		Remotes: []manifest.Remote{{Name: "docs", Upstream: "https://git.example.com/docs.git", Token: reference(t, "DOCS"), Refresh: 45 * time.Minute}}}
	l.spec.Keys = map[string]string{"env:DOCS": "value-of-docs"}
	if err := os.WriteFile(filepath.Join(l.Libexec, "sidecars", "bottle-git-gate"), []byte("program"), 0o755); err != nil {
		t.Fatal(err)
	}
	b, err := l.Up(t.Context(), l.spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l, h, b
}

func sayApplied(t *testing.T, b bottle.Bottle, service string, a bottle.Applied) {
	t.Helper()
	data, err := json.Marshal(a)
	if err == nil {
		err = os.WriteFile(filepath.Join(b.StateDir, service, "out", appliedFile), data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What a sidecar says is due is so only where the operator said that it ages.
func TestWhatIsDueIsSaidByTwo(t *testing.T) {
	l, _, b := renewing(t)
	now := time.Now()
	past, future := now.Add(-time.Minute), now.Add(time.Minute)
	mine := reference(t, "file:/keys/mine").Name()
	for _, c := range []struct {
		egress, gate map[string]time.Time
		want         []string
	}{
		{nil, nil, nil},
		{map[string]time.Time{"env:TOKEN": future}, map[string]time.Time{"env:DOCS": future}, nil},
		{map[string]time.Time{"env:TOKEN": past, mine: past, "cmd:012345678901": past}, nil, []string{"env:TOKEN"}},
		{nil, map[string]time.Time{"env:DOCS": past}, []string{"env:DOCS"}},
		{map[string]time.Time{"env:TOKEN": now}, map[string]time.Time{"env:DOCS": past}, []string{"env:DOCS", "env:TOKEN"}},
	} {
		sayApplied(t, b, plan.EgressService, bottle.Applied{Due: c.egress, RenewAt: &future})
		sayApplied(t, b, plan.GateService, bottle.Applied{Due: c.gate, RenewAt: &past})
		if due, err := l.Due(b.Slug, now); err != nil || !slices.Equal(due, c.want) {
			t.Errorf("%v, %v: %q, %v", c.egress, c.gate, due, err)
		}
		if at := l.RenewAt(b.Slug); !at.Equal(past) {
			t.Errorf("the first is due at %v", at)
		}
	}
}

// Egress has no business with the keys of the git gate, and the agent's own
// values stay what they are.
func TestARenewalHandsEachSidecarItsOwn(t *testing.T) {
	l, h, b := renewing(t)
	names, err := l.Renewable(b.Slug)
	if err != nil || !slices.Equal(names, []string{"env:DOCS", "env:TOKEN"}) {
		t.Fatalf("%q, %v", names, err)
	}
	h.docs, h.who = nil, nil
	values := map[string]string{"env:DOCS": "new-value-of-docs", "env:TOKEN": "a-new-token"}
	if err := l.Renew(t.Context(), b.Slug, names, values); err != nil || len(h.docs) != 2 {
		t.Fatalf("%v, %q", err, h.who)
	}
	for i, who := range h.who {
		want := values
		if who == plan.ContainerName(b.Slug, plan.EgressService) {
			want = map[string]string{"env:TOKEN": "a-new-token"}
		}
		if !maps.Equal(h.docs[i].Values, want) {
			t.Errorf("%s was handed other values", who)
		}
	}
}

// tellProxy has a sidecar log in at a proxy.
func tellProxy(t *testing.T, b bottle.Bottle, service, address string) {
	t.Helper()
	doc, err := json.Marshal(bottle.Host{Proxy: &bottle.Proxy{Address: address, Login: bottle.ProxyLogin}})
	if err == nil {
		err = os.WriteFile(filepath.Join(b.StateDir, service, "in", hostFile), doc, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A sidecar that ran on goes through the proxy that it was told of. Another one's
// login would be told to it.
func TestALoginGoesToItsOwnProxyAlone(t *testing.T) {
	l, h, b := renewing(t)
	tellProxy(t, b, plan.EgressService, "old.corp:3128")
	tellProxy(t, b, plan.GateService, "new.corp:3128")
	at := bottle.Proxy{Address: "new.corp:3128", Login: bottle.ProxyLogin}
	if err := l.CheckLogin(b.Slug, at); !errors.Is(err, ErrOtherProxy) || !strings.Contains(err.Error(), "egress of "+b.Slug+" logs in at old.corp:3128") {
		t.Error(err)
	}
	l.started(t)
	others := l.fake.OnExec
	l.fake.OnExec = func(name string, x engine.Exec) (int, error) {
		if x.Cmd[len(x.Cmd)-1] == "secrets" {
			return h.exec(name, x)
		}
		return others(name, x)
	}
	h.docs, h.who = nil, nil
	again := Again{Slug: b.Slug, Way: Way{Proxy: &at}, Values: map[string]string{
		"env:DOCS": "value-of-docs", "env:TOKEN": "value-of-the-token", reference(t, "file:/keys/mine").Name(): "value-of-mine", bottle.ProxyLogin: "ada:geheim"}}
	if _, err := l.Resume(t.Context(), again, nil); err != nil || len(h.docs) != 2 {
		t.Fatalf("%v, %q", err, h.who)
	}
	for i, who := range h.who {
		if login, want := h.docs[i].Values[bottle.ProxyLogin], who == plan.ContainerName(b.Slug, plan.GateService); (login != "") != want {
			t.Errorf("%s was handed a login: %v", who, login != "")
		}
	}
	tellProxy(t, b, plan.EgressService, "new.corp:3128")
	if err := l.CheckLogin(b.Slug, at); err != nil {
		t.Error(err)
	}
}

// At a start too: egress never holds a key of the git gate's.
func TestAStartHandsEachSidecarItsOwn(t *testing.T) {
	_, h, b := renewing(t)
	for i, who := range h.who {
		gate := who == plan.ContainerName(b.Slug, plan.GateService)
		if _, has := h.docs[i].Values["env:DOCS"]; has != gate {
			t.Errorf("%s was handed the git gate's key: %t", who, has)
		}
	}
	if len(h.who) != 2 {
		t.Errorf("handed were %q", h.who)
	}
}
