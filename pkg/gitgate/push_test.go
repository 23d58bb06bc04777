package gitgate

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/pkg/bottle"
	"bottle/pkg/sidecar"
)

func TestACleanPushIsTakenFetchedAndBundled(t *testing.T) {
	t.Parallel()
	g := startGate(t, defaultGate())
	c := newClient(t, g.url+"/origin.git")
	c.commit("a.txt", "one\n")
	c.git("tag", "-a", "v1", "-m", "first")
	id := c.commit("b.txt", "two\n")
	c.git("push", "-q", "-u", "origin", "main", "v1")
	if got := g.inRepo("rev-parse", "main"); got != id {
		t.Errorf("the gate has %s, want %s", got, id)
	}
	other := newClient(t, g.url+"/origin.git")
	other.git("pull", "-q", "origin", "main")
	other.git("fetch", "-q", "--tags")
	if other.git("rev-parse", "HEAD") != id || other.git("cat-file", "-t", "v1") != "tag" {
		t.Error("what was pushed does not come back")
	}
	shallow := newClient(t, g.url+"/origin.git")
	if said := shallow.git("fetch", "-q", "--depth=1", "origin", "main"); said != "" {
		t.Errorf("a fetch says %q", said)
	}
	shallow.git("checkout", "-q", "-b", "main", "FETCH_HEAD")
	shallow.commit("c.txt", "three\n")
	shallow.git("push", "-q", "origin", "main")
	partial := newClient(t, g.url+"/origin.git")
	partial.git("config", "remote.origin.promisor", "true")
	partial.git("config", "remote.origin.partialclonefilter", "blob:none")
	partial.git("fetch", "-q", "origin")
	partial.git("checkout", "-q", "-b", "main", "origin/main")
	partial.commit("d.txt", "four\n")
	partial.git("push", "-q", "origin", "main")
	operator := newClient(t, "/nowhere")
	operator.git("-c", "transfer.fsckObjects=true", "fetch", "-q", "--no-tags", filepath.Join(g.dir, "out", "origin.bundle"), "refs/heads/*:refs/heads/bottle/x/*")
	if got, want := operator.git("rev-parse", "bottle/x/main"), g.inRepo("rev-parse", "main"); got != want {
		t.Errorf("the bundle has %s, want %s", got, want)
	}
	for i, e := range g.pushes() {
		if e.Verdict != "allow" || e.Objects == 0 || e.Sent == 0 || len(e.Refs) == 0 || e.Millis == 0 {
			t.Errorf("event %d: %+v", i, e)
		}
	}
	g.noQuarantine()
}

func TestAFindingHoldsThePushAndIsToldInWords(t *testing.T) {
	t.Parallel()
	g := startGate(t, defaultGate())
	c := newClient(t, g.url+"/origin.git")
	c.commit("a.txt", "clean\n")
	id := c.commit("README.md", strings.Repeat("line\n", 11)+"token "+formatSecret+"\nmore\nown "+ownSecret+"\n")
	c.commit("README.md", "gone\n")
	out, err := c.try("push", "origin", "main")
	wantRefused(t, out, err, "remote: git-gate: README.md:12 in "+short(id)+": github-pat", "README.md:14 in "+short(id)+": known-secret",
		"held for the operator as git-push-", "! [remote rejected] main -> main (held by git-gate)")
	out, err = c.try("push", "origin", "main")
	wantRefused(t, out, err, "held for the operator")
	p := g.proposal() // one, though it was pushed twice
	if p.Push.Remote != "origin" || len(p.Push.Findings) != 2 || len(p.Push.Commits) != 3 || !strings.Contains(p.Push.Diffstat, "README.md") || p.Push.Updates[0].Ref != "refs/heads/main" {
		t.Errorf("%+v", p.Push)
	}
	g.decide(p, bottle.Approved, p.Push)
	c.commit("z.txt", "more\n")
	out, err = c.try("push", "origin", "main") // not what was approved
	wantRefused(t, out, err, "held for the operator")
	c.git("push", "-q", "origin", "HEAD~1:refs/heads/main")
	e := g.pushes()
	if len(e) != 4 || e[0].Verdict != "held" || e[3].Verdict != "allow" {
		t.Errorf("events: %+v", e)
	}
	g.noQuarantine()
}

// decide writes the operator's decision.
func (g *gate) decide(p bottle.Proposal, v bottle.Verdict, push *bottle.PushAsk) {
	g.t.Helper()
	data, err := json.Marshal(bottle.Decision{Proposal: p.ID, Kind: p.Kind, Verdict: v, Reason: "as I say", Push: push})
	if err != nil {
		g.t.Fatal(err)
	}
	dir := filepath.Join(g.dir, "in", sidecar.DecisionsDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		g.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, p.ID+".json"), data, 0o600); err != nil {
		g.t.Fatal(err)
	}
}

func TestEveryPushIsHeldWhereApprovalIsRequired(t *testing.T) {
	t.Parallel()
	conf := defaultGate()
	conf.Push.RequireApproval = true
	g := startGate(t, conf)
	c := newClient(t, g.url+"/origin.git")
	c.commit("a.txt", "clean\n")
	out, err := c.try("push", "origin", "main")
	wantRefused(t, out, err, "held for the operator")
	g.decide(g.proposal(), bottle.Rejected, nil)
	out, err = c.try("push", "origin", "main")
	wantRefused(t, out, err, "the operator rejected this push", "as I say", "(rejected by the operator)")
}

// Who decides on a new branch sees what it changes, and not the whole repository.
func TestANewBranchIsShownAgainstWhereItLeft(t *testing.T) {
	t.Parallel()
	conf := defaultGate()
	conf.Push.RequireApproval = true
	g := startGate(t, conf)
	c := newClient(t, g.url+"/origin.git")
	shown := func(ref string) bottle.Proposal {
		t.Helper()
		out, err := c.try("push", "origin", "HEAD:"+ref)
		wantRefused(t, out, err, "held for the operator")
		return g.proposal()
	}
	c.commit("old.txt", "clean\n")
	p := shown("refs/heads/main")
	if !strings.Contains(p.Push.Diffstat, "old.txt") {
		t.Errorf("a repository's first branch: %q", p.Push.Diffstat)
	}
	g.decide(p, bottle.Approved, p.Push)
	c.git("push", "-q", "origin", "HEAD:refs/heads/main")
	g.forget(p)
	first := c.git("rev-parse", "HEAD")
	c.commit("topic.txt", "one\n")
	c.commit("topic.txt", "two\n")
	p = shown("refs/heads/topic")
	if want := " topic.txt | 1 +\n 1 file changed, 1 insertion(+)\n"; p.Push.Diffstat != want || len(p.Push.Commits) != 2 {
		t.Errorf("%q, want %q, of %q", p.Push.Diffstat, want, p.Push.Commits)
	}
	g.forget(p)

	// main goes on, and the branch takes it in.
	topic := c.git("rev-parse", "HEAD")
	c.git("checkout", "-q", first)
	c.commit("main.txt", "more\n")
	p = shown("refs/heads/main")
	g.decide(p, bottle.Approved, p.Push)
	c.git("push", "-q", "origin", "HEAD:refs/heads/main")
	g.forget(p)
	c.git("merge", "-q", "-m", "takes it in", topic)
	p = shown("refs/heads/topic")
	if strings.Contains(p.Push.Diffstat, "main.txt") || !strings.Contains(p.Push.Diffstat, "topic.txt") {
		t.Errorf("after the merge: %q", p.Push.Diffstat)
	}
}

// forget takes a proposal away, so that the next one is the only one.
func (g *gate) forget(p bottle.Proposal) {
	g.t.Helper()
	if err := os.Remove(filepath.Join(g.dir, "out", sidecar.ProposalsDir, p.ID+".json")); err != nil {
		g.t.Fatal(err)
	}
}

func TestWhatTheOperatorsFolderHadPassesWhereItStaysHere(t *testing.T) {
	t.Parallel()
	c := newClient(t, "")
	c.commit("old.txt", "key "+formatSecret+"\n")
	conf := defaultGate()
	conf.Known = []string{c.git("rev-parse", "HEAD")}
	g := startGate(t, conf)
	c.git("remote", "set-url", "origin", g.url+"/origin.git")
	c.commit("new.txt", "clean\n")
	c.git("push", "-q", "origin", "main")
	operator := newClient(t, "")
	operator.git("fetch", "-q", c.dir, conf.Known[0])
	operator.git("fetch", "-q", "--no-tags", filepath.Join(g.dir, "out", "origin.bundle"), "refs/heads/*:refs/heads/bottle/x/*")
	c.commit("again.txt", "key "+formatSecret+" again\n")
	out, err := c.try("push", "origin", "main")
	wantRefused(t, out, err, "again.txt:1 in")
}

func TestNothingPassesBeforeTheValuesAreThere(t *testing.T) {
	t.Parallel()
	conf := defaultGate()
	conf.Needs = []string{"env:OTHER"}
	g := startGate(t, conf)
	c := newClient(t, g.url+"/origin.git")
	c.commit("a.txt", "clean\n")
	out, err := c.try("push", "origin", "main")
	wantRefused(t, out, err, "lacks env:OTHER")
	g.secrets.Put(bottle.Secrets{Values: map[string]string{"env:OTHER": "another-secret-4711"}})
	c.git("push", "-q", "origin", "main")
}

func TestRefsAreRefusedByPolicyAllOrNone(t *testing.T) {
	t.Parallel()
	g := startGate(t, defaultGate())
	c := newClient(t, g.url+"/origin.git")
	first := c.commit("a.txt", "one\n")
	c.git("tag", "v1")
	c.commit("b.txt", "two\n")
	c.git("push", "-q", "origin", "main", "v1")
	c.git("checkout", "-q", "-b", "other", first)
	c.commit("c.txt", "three\n")
	for _, row := range []struct {
		name, want string
		args       []string
	}{
		{"force", "non-fast-forward", []string{"--force", "other:main"}},
		{"delete", "deletion", []string{"--delete", "main"}},
		{"tag moves", "already exists", []string{"--force", "other:refs/tags/v1"}},
		{"notes", "ref not allowed", []string{"other:refs/notes/commits"}},
		{"replace", "ref not allowed", []string{"other:refs/replace/" + first}},
		{"namespace", "ref not allowed", []string{"other:refs/pull/1/head"}},
		{"all or none", "atomic push failed", []string{"other:refs/heads/fine", "other:refs/notes/x"}},
		{"a branch that is a tree", "must be a commit", []string{"other^{tree}:refs/heads/tree"}},
	} {
		out, err := c.try(append([]string{"push", "origin"}, row.args...)...)
		if err == nil || !strings.Contains(out, row.want) {
			t.Errorf("%s: %v: %s", row.name, err, out)
		}
	}
	if refs := g.inRepo("for-each-ref", "--format=%(refname)"); refs != "refs/heads/main\nrefs/tags/v1" {
		t.Errorf("the gate has %q", refs)
	}
	g.noQuarantine()
}
