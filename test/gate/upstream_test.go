package gate

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/pkg/bottle"
	"bottle/test/rig"
)

// upstreams starts a server, and a bottle that has a repository on it by ssh and
// one by https.
func upstreams(t *testing.T) (*stage, *rig.GitServer) {
	t.Helper()
	r := rig.New(t)
	g := r.GitServer()
	g.Repo("engine")
	g.Repo("docs")
	r.GitFolder()
	r.Env = []string{"DOCS_TOKEN=" + rig.GitToken}
	s, said := start(t, r, "git:\n  remotes:\n"+
		"    origin: {upstream: 'git@"+rig.GitHost+":/srv/engine.git', identity_file: "+g.Key+", known_hosts: "+g.Known+", private: true}\n"+
		"    docs: {upstream: 'https://"+rig.GitHost+"/docs.git', token_ref: DOCS_TOKEN, private: true}\n")
	if strings.Contains(said, "fetch") {
		t.Errorf("what goes upstream needs no way to it: %s", said)
	}
	g.Join(s.slug)
	s.must("git fetch -q origin && git checkout -q -B trunk origin/trunk")
	return s, g
}

func TestUpstreamsByTheNamesThatTheRepositoryHas(t *testing.T) {
	t.Parallel()
	s, g := upstreams(t)
	id := s.commit("a.txt", "one")
	s.must("git tag -a v1 -m v1 && git push -q origin trunk v1 HEAD:refs/heads/topic")
	for _, ref := range []string{"trunk", "topic", "v1^{}"} {
		if got := g.Tip("engine", ref); got != id {
			t.Errorf("upstream's %s is %s, want %s", ref, got, id)
		}
	}
	// Full addresses lead through the gate too, however they are written.
	for i, address := range []string{"git@" + rig.GitHost + ":/srv/engine.git", "ssh://git@" + rig.GitHost + "/srv/engine.git", "https://" + rig.GitHost + "/docs.git"} {
		s.must(fmt.Sprintf("git clone -q --depth 1 %s /tmp/clone%d && cd /tmp/clone%d && git config user.email a@example.com && git config user.name a && "+
			"git checkout -q -b clone%d && echo x > x%d && git add . && git commit -qm x && git push -q origin clone%d", address, i, i, i, i, i))
	}
	if g.Tip("engine", "clone0") == "" || g.Tip("engine", "clone1") == "" || g.Tip("docs", "clone2") == "" {
		t.Error("a push by a full address did not arrive")
	}
	s.must("git clone -q --filter=blob:none http://git-gate/docs.git /tmp/partial")

	s.commit("s.txt", "token = "+token)
	s.refused("git push origin trunk", "s.txt:1 in ", "github-pat")
	if got := g.Tip("engine", "trunk"); got != id {
		t.Errorf("upstream's trunk is %s", got)
	}
	s.must("git reset -q --hard " + id)

	// Upstream refuses, in its own words; nothing has moved.
	g.Shell("printf '#!/bin/sh\\necho no pushes on Tuesdays >&2\\nexit 1\\n' > /srv/engine.git/hooks/pre-receive && chmod +x /srv/engine.git/hooks/pre-receive")
	s.commit("b.txt", "two")
	s.refused("git push origin trunk HEAD:other", "remote: no pushes on Tuesdays", "(pre-receive hook declined)")
	if g.Tip("engine", "trunk") != id || g.Tip("engine", "other") != "" {
		t.Error("a push that was refused has left something")
	}
	g.Shell("rm /srv/engine.git/hooks/pre-receive")

	// Upstream is down: the last good copy, and no push.
	g.Down()
	if said := s.must("git fetch origin topic && git clone http://git-gate/origin.git /tmp/copy"); !strings.Contains(said, "the upstream could not be asked") {
		t.Errorf("nobody says that it may be old: %s", said)
	}
	s.refused("git push origin trunk", "cannot reach "+rig.GitHost)
	g.Up()
	s.must("git push -q origin trunk")
	if got := g.Tip("engine", "trunk"); got != s.must("git rev-parse HEAD") {
		t.Errorf("upstream's trunk is %s", got)
	}
}

func TestTenPushesAtOnceAndAGateThatDies(t *testing.T) {
	t.Parallel()
	s, g := upstreams(t)
	t.Run("ten pushes at once", func(t *testing.T) { tenPushesAtOnce(t, s, g) })
	t.Run("a gate that dies loses nothing and lets nothing through", func(t *testing.T) { gateDies(t, s, g) })
}

func tenPushesAtOnce(t *testing.T, s *stage, g *rig.GitServer) {
	s.t = t
	// What has a lock of the clone's own goes one after another.
	s.must(`git fetch -q docs; for i in 0 1 2 3 4 5 6 7 8 9; do
		remote=origin; [ $i -lt 5 ] || remote=docs
		git worktree add -q --no-track -b b$i /tmp/w$i $remote/trunk && cd /tmp/w$i && seq $i 1000 > f$i && git add . && git commit -qm f$i && cd /work || exit 1; done`)
	said := s.must(`for i in 0 1 2 3 4 5 6 7 8 9; do
		remote=origin; [ $i -lt 5 ] || remote=docs
		(git push -q $remote b$i || echo failed $i) &
	done; wait`)
	if said != "" {
		t.Error(said)
	}
	for i := range 10 {
		repo := "engine"
		if i >= 5 {
			repo = "docs"
		}
		if want := s.must(fmt.Sprintf("git rev-parse b%d", i)); g.Tip(repo, fmt.Sprintf("b%d", i)) != want {
			t.Errorf("b%d did not arrive", i)
		}
	}
}

func gateDies(t *testing.T, s *stage, g *rig.GitServer) {
	s.t = t
	before := g.Tip("engine", "trunk")
	s.must("head -c 40000000 /dev/urandom > big && git add big && git commit -qm big")
	// Upstream takes nothing meanwhile, so that the push has no end before that.
	g.Shell("printf '#!/bin/sh\\necho $$ > /tmp/hook; exec sleep 1000\\n' > /srv/engine.git/hooks/pre-receive && chmod +x /srv/engine.git/hooks/pre-receive")
	// Killed in the middle: its events tell when there is something in quarantine.
	pushed := make(chan string, 1)
	go func() {
		said, _ := s.try("git push origin trunk; echo pushed $?")
		pushed <- said
	}()
	s.Docker("exec", s.container(), "sh", "-c", "until ls /repos/origin.git/quarantine/*/* >/dev/null 2>&1; do sleep 0.02; done")
	s.Docker("kill", s.container())
	if said := <-pushed; !strings.Contains(said, "pushed 1") && !strings.Contains(said, "pushed 128") {
		t.Errorf("the agent hears %s", said)
	}
	g.Shell("while grep -aqs 'receive-pac[k]' /proc/[0-9]*/cmdline; do [ ! -e /tmp/hook ] || kill $(cat /tmp/hook) 2>/dev/null; sleep 0.02; done; rm /srv/engine.git/hooks/pre-receive")
	if got := g.Tip("engine", "trunk"); got != before {
		t.Errorf("upstream's trunk is %s", got)
	}
	if status, reason := s.status(); status != bottle.Degraded || !strings.Contains(reason, "git-gate") {
		t.Errorf("listed as %s: %s", status, reason)
	}
	// One that was only restarted lacks its values, and lets nothing pass.
	s.Revive(s.slug, "git-gate")
	s.refused("git push origin trunk", "was not handed over: the operator runs bottle-start --resume")
	if status, reason := s.status(); status != bottle.Degraded || !strings.Contains(reason, "git-gate was restarted and lacks ") {
		t.Errorf("listed as %s: %s", status, reason)
	}
	s.resume()
	s.must("git push -q origin trunk")
	if got := g.Tip("engine", "trunk"); got != s.must("git rev-parse HEAD") {
		t.Errorf("upstream's trunk is %s", got)
	}
	if left := s.Docker("exec", s.container(), "sh", "-c", "ls /repos/*.git/quarantine/"); strings.Contains(left, "push-") {
		t.Errorf("left in quarantine: %s", left)
	}
	// Its container and its volume gone: it is made anew, and asks upstream.
	s.Docker("rm", "-f", s.container())
	s.Docker("volume", "rm", "bottle-"+s.slug+"_git")
	s.resume()
	g.Join(s.slug)
	s.must("git fetch -q origin && git fetch -q docs")
	if status, reason := s.status(); status != bottle.Running {
		t.Errorf("listed as %s: %s", status, reason)
	}
}

// Behind a company's proxy both ways upstream go through it, that by ssh since the
// operator says so; no way else is there.
func TestUpstreamsBehindAProxy(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	g := r.GitServer()
	g.Repo("engine")
	g.Repo("docs")
	r.GitFolder()
	p := r.Proxy(g.Network)
	r.Env = []string{"DOCS_TOKEN=" + rig.GitToken, "PROXY_LOGIN=" + p.Login}
	s, _ := start(t, r, "git:\n  remotes:\n"+
		"    origin: {upstream: 'git@"+rig.GitHost+":/srv/engine.git', identity_file: "+g.Key+", known_hosts: "+g.Known+"}\n"+
		"    docs: {upstream: 'https://"+rig.GitHost+"/docs.git', token_ref: DOCS_TOKEN}\n")
	// The images are made by now, so that nothing but git asks the proxy. What a
	// bottle goes through is as the operator says when its sidecars are started.
	r.Write("config.yaml", "upstream_proxy: http://"+rig.ProxyHost+":3128\nproxy_token_ref: PROXY_LOGIN\nproxy_ssh: true\n")
	if _, said, code := r.Run("bottle-stop", "--keep", s.slug); code != 0 {
		t.Fatalf("%d: %s", code, said)
	}
	s.resume()
	p.Join(s.slug, "git-gate")
	s.must("git fetch -q origin && git fetch -q docs && git checkout -q -B trunk origin/trunk")
	id := s.commit("a.txt", "one")
	s.must("git push -q origin trunk && git push -q docs HEAD:refs/heads/topic --force")
	if g.Tip("engine", "trunk") != id || g.Tip("docs", "topic") != id {
		t.Error("a push did not arrive")
	}
	ways := map[string]bool{}
	for _, asked := range p.Asked() {
		ways[asked] = true
	}
	if len(ways) != 2 || !ways["CONNECT "+rig.GitHost+":22 200"] || !ways["CONNECT "+rig.GitHost+":443 200"] {
		t.Errorf("the proxy was asked %v", ways)
	}
	r.Env = []string{"DOCS_TOKEN=" + rig.GitToken, "PROXY_LOGIN=ada:login-of-yesterday"}
	if _, said, code := r.Run("bottle-start", "--renew", s.slug); code != 0 || !strings.Contains(said, "3 values handed over") {
		t.Errorf("%d: %s", code, said)
	}
	s.commit("b.txt", "two")
	s.refused("git push origin trunk", "the proxy on the way out refuses its login (407)")
}

// A token that upstream does not take any more is told of in the listing, and a
// new one is in force at once.
func TestATokenThatUpstreamRefusesIsRenewed(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	g := r.GitServer()
	g.Repo("docs")
	r.GitFolder()
	file := filepath.Join(t.TempDir(), "token")
	is := func(token string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	is("token-of-yesterday")
	s, _ := start(t, r, "git:\n  remotes:\n"+
		"    docs: {upstream: 'https://"+rig.GitHost+"/docs.git', token_ref: 'cmd:cat "+file+"', refresh: 45m, private: true}\n")
	g.Join(s.slug)
	s.refused("git fetch docs", "it refuses the token that the gate has (401)")
	if b := r.Bottles()[0]; len(b.Stale) != 1 || b.Status != bottle.Running {
		t.Errorf("listed as %+v", b)
	}
	is(rig.GitToken)
	if _, said, code := r.Run("bottle-start", "--renew", s.slug); code != 0 || !strings.Contains(said, "1 values handed over") {
		t.Fatalf("%d: %s", code, said)
	}
	s.must("git fetch -q docs")
	id := s.commit("a.txt", "one")
	s.must("git push -q docs HEAD:refs/heads/topic")
	if got := g.Tip("docs", "topic"); got != id {
		t.Errorf("upstream's topic is %s, want %s", got, id)
	}
	if b := r.Bottles()[0]; b.Stale != nil {
		t.Errorf("listed as %+v", b)
	}
}
