package lifecycle

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bottle/pkg/bottle"
	"bottle/pkg/manifest"
	"bottle/pkg/plan"
	"bottle/pkg/policy"
	"bottle/pkg/spool"
	"bottle/pkg/workspace"
)

func gitSpec(t *testing.T) Spec {
	t.Helper()
	s := claudeSpec(t, own(func(r *policy.Route) { r.Auth = policy.Auth{Scheme: "Bearer", Credential: "env:MODEL"} }, "auth"))
	s.Manifest.Git = manifest.Git{Push: manifest.Push{Refs: []string{"refs/heads/*"}, MaxSize: 1 << 20}, Remotes: []manifest.Remote{
		{Name: "origin", Upstream: "ssh://git@git.example.com/engine.git", Identity: reference(t, "file:/key")},
		{Name: "docs", Upstream: "https://git.example.com/docs.git", Token: reference(t, "DOCS")},
		manifest.Kept("here"),
	}}
	s.KnownHosts = map[string]string{"origin": "git.example.com ssh-ed25519 AAAA\n"}
	return s
}

// The gate must have what the policy rests on, to look for it, and its own keys,
// before it lets anything pass; and no value is in what it is told.
func TestTheGateIsToldNamesAndNeedsAllOfThem(t *testing.T) {
	s := gitSpec(t)
	s.Keys = map[string]string{"env:DOCS": "the-value-of-docs"}
	p, err := Policy(s)
	if err != nil {
		t.Fatal(err)
	}
	g := gate(s, p, workspace.Facts{Format: "sha1", Known: []string{"aa"}})
	want := []string{"env:DOCS", "env:MODEL", s.Manifest.Git.Remotes[0].Identity.Name()}
	slices.Sort(want)
	if !slices.Equal(g.Needs, want) {
		t.Errorf("it needs %q, want %q", g.Needs, want)
	}
	if len(g.Remotes) != 3 || g.Remotes["origin"].KnownHosts == "" || g.Remotes["docs"].Token != "env:DOCS" || g.Remotes["here"] != (bottle.GateRemote{}) {
		t.Errorf("%+v", g.Remotes)
	}
	data, err := json.Marshal(g)
	if err != nil || strings.Contains(string(data), "the-value") {
		t.Errorf("%s, %v", data, err)
	}
}

// git itself says where an address leads.
func TestAddressesOfUpstreamsLeadToTheGate(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "gitconfig")
	if err := os.WriteFile(file, gitConfig(gitSpec(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		"git@git.example.com:engine.git":           "http://git-gate/origin.git",
		"ssh://git@git.example.com/engine.git":     "http://git-gate/origin.git",
		"https://git.example.com/docs.git":         "http://git-gate/docs.git",
		"https://git.example.com/docs-other.git":   "https://git.example.com/docs-other.git",
		"ssh://git@git.example.com:22/engine.git":  "ssh://git@git.example.com:22/engine.git",
		"https://elsewhere.example.com/engine.git": "https://elsewhere.example.com/engine.git",
	} {
		cmd := exec.Command("git", "ls-remote", "--get-url", address)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "GIT_CONFIG_SYSTEM="+file, "GIT_CONFIG_GLOBAL=/dev/null")
		if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%s leads to %s, want %s: %v", address, out, want, err)
		}
	}
}

func TestABottleWhoseGateLacksValuesIsDegraded(t *testing.T) {
	dir := t.TempDir()
	b := bottle.Bottle{Slug: "dev-aaaa", Status: bottle.Running, StateDir: dir, Services: []string{plan.EgressService, plan.GateService}}
	for service, doc := range map[string]string{plan.EgressService: `{"generation":1}`, plan.GateService: `{"generation":1,"needs":["env:DOCS","\u001b[2J"]}`} {
		if err := os.MkdirAll(filepath.Join(dir, service, "out"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := spool.WriteFile(filepath.Join(dir, service, "out", appliedFile), []byte(doc), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := lacking(b, allApplied(b)); got.Status != bottle.Degraded || got.Reason != "git-gate was restarted and lacks env:DOCS: run bottle-start --resume dev-aaaa" {
		t.Errorf("%s: %s", got.Status, got.Reason)
	}
}
