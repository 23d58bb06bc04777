package gitgate

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bottle/pkg/bottle"
)

func TestAnUpstreamThatIsDownLeavesTheLastGoodCopy(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	g := gateTo(t, u, "ssh")
	c := newClient(t, g.url+"/origin.git")
	c.git("fetch", "-q", "origin")
	c.git("checkout", "-q", "trunk")
	g.conf.Remotes["origin"] = bottle.GateRemote{Private: true, Key: "file:key", Upstream: "ssh://git@git.example.com:1/engine.git"}
	g.write()
	if err := g.s.Reload(); err != nil {
		t.Fatal(err)
	}
	again := newClient(t, g.url+"/origin.git")
	if out, err := again.try("fetch", "origin"); err != nil || !strings.Contains(out, "remote: git-gate: the upstream could not be asked") {
		t.Errorf("%v: %s", err, out)
	}
	c.commit("a.txt", "x\n")
	out, err := c.try("push", "origin", "trunk")
	if err == nil {
		t.Error("a push was taken that upstream never saw")
	}
	if refs := g.inRepo("rev-parse", "trunk"); refs != u.bare.git("rev-parse", "trunk") {
		t.Errorf("the copy has moved: %s", out)
	}
}

func TestAnUnknownHostAndARefusedAddressAreRefused(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	g := gateTo(t, u, "ssh")
	remote := g.conf.Remotes["origin"]
	for _, row := range []struct {
		change func(*bottle.GateRemote)
		want   string
	}{
		{func(r *bottle.GateRemote) { r.KnownHosts = "" }, "is not the one in known_hosts"},
		{func(r *bottle.GateRemote) { r.Private = false }, "its address is refused"},
		{func(r *bottle.GateRemote) { r.Key = "file:other" }, "its key was not handed over"},
	} {
		changed := remote
		row.change(&changed)
		g.conf.Remotes["origin"] = changed
		g.write()
		if err := g.s.Reload(); err != nil {
			t.Fatal(err)
		}
		if _, err := g.s.refresh(t.Context(), g.s.state.Load(), g.s.state.Load().repos["origin"], uploadPack); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%v, want %q", err, row.want)
		}
	}
}

// A client that dies while upstream makes up its mind: whatever upstream does is
// done to all refs or to none, and the gate says the same as upstream.
func TestAClientThatIsKilledWhileUpstreamDecides(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	sign := filepath.Join(u.dir, "sign")
	if err := exec.Command("mkfifo", sign).Run(); err != nil {
		t.Fatal(err)
	}
	u.hook("echo asked >" + sign + "; read x <" + sign)
	g := gateTo(t, u, "https")
	c := newClient(t, g.url+"/origin.git")
	c.git("fetch", "-q", "origin")
	c.git("checkout", "-q", "-b", "one", "origin/trunk")
	c.commit("a", "x\n")
	c.git("branch", "two")
	push := clientCommand(c.dir, "git", "push", "-q", "origin", "one", "two")
	if err := push.Start(); err != nil {
		t.Fatal(err)
	}
	if asked, err := os.ReadFile(sign); err != nil || string(asked) != "asked\n" {
		t.Fatalf("%q, %v", asked, err)
	}
	push.Process.Kill()
	push.Wait()
	if err := os.WriteFile(sign, []byte("go\n"), 0); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the push's end", func() bool { return len(g.pushes()) == 1 })
	g.noQuarantine()
	u.hook("")
	c.git("fetch", "-q", "origin")
	refs := func(c *client) string {
		return c.git("for-each-ref", "--format=%(objectname) %(refname)", "refs/heads/one", "refs/heads/two")
	}
	theirs := refs(u.bare)
	if n := len(strings.Fields(theirs)); n != 0 && n != 4 {
		t.Errorf("half of it is upstream: %s", theirs)
	}
	c.git("push", "-q", "origin", "one", "two")
	if ours := refs(&client{t, filepath.Join(g.dir, "repos", "origin.git")}); ours != refs(u.bare) || len(strings.Fields(ours)) != 4 {
		t.Errorf("the gate has %s, upstream %s", ours, refs(u.bare))
	}
}

// What upstream has taken was pushed, whatever then befalls the gate's own copy,
// which catches up.
func TestAPushThatUpstreamTookWasTaken(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	g := gateTo(t, u, "https")
	c := newClient(t, g.url+"/origin.git")
	c.git("fetch", "-q", "origin")
	c.git("checkout", "-q", "-b", "one", "origin/trunk")
	id := c.commit("a", "x\n")
	lock := filepath.Join(g.dir, "repos", "origin.git", "refs", "heads", "one.lock")
	if err := os.WriteFile(lock, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c.git("push", "-q", "origin", "one")
	if got := u.bare.git("rev-parse", "one"); got != id {
		t.Errorf("upstream has %s, want %s", got, id)
	}
	if pushes := g.pushes(); len(pushes) != 1 || pushes[0].Verdict != bottle.Allowed {
		t.Errorf("%+v", pushes)
	}
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	c.git("fetch", "-q", "origin")
	if got := g.inRepo("rev-parse", "one"); got != id {
		t.Errorf("the gate has %s, want %s", got, id)
	}
	g.noQuarantine()
}
