package gitgate

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"bottle/pkg/bottle"
	"bottle/pkg/sidecar"
	"bottle/test/forward"
	"bottle/test/gitserver"
)

// upstream is a bare repository, and a server in front of it.
type upstream struct {
	t    *testing.T
	dir  string // of repositories
	bare *client
	port string

	mu    sync.Mutex
	asked []string // over https: methods and what of a repository
}

func newUpstream(t *testing.T) *upstream {
	t.Helper()
	u := &upstream{t: t, dir: t.TempDir()}
	u.bare = &client{t, filepath.Join(u.dir, "engine.git")}
	if err := os.Mkdir(u.bare.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	u.bare.git("init", "-q", "--bare", "-b", "trunk")
	u.bare.git("config", "http.receivepack", "true")
	u.bare.git("config", "uploadpack.allowFilter", "true")
	first := newClient(t, u.bare.dir)
	first.commit("README.md", "first\n")
	first.git("tag", "-a", "v1", "-m", "v1")
	first.git("push", "-q", "origin", "HEAD:trunk", "v1")
	return u
}

// hook has the upstream refuse, or say something.
func (u *upstream) hook(script string) {
	u.t.Helper()
	if err := os.WriteFile(filepath.Join(u.bare.dir, "hooks", "pre-receive"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		u.t.Fatal(err)
	}
}

// web serves it by git's own program over TLS, to who has the token.
func (u *upstream) web(token string) *x509.CertPool {
	u.t.Helper()
	web, err := gitserver.Web(u.dir, token)
	if err != nil {
		u.t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		u.asked = append(u.asked, r.Method+" "+strings.TrimPrefix(r.URL.RequestURI(), "/engine.git/"))
		u.mu.Unlock()
		web.ServeHTTP(w, r)
	}))
	server.StartTLS()
	u.t.Cleanup(server.Close)
	_, u.port, _ = net.SplitHostPort(server.Listener.Addr().String())
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	return pool
}

// shell serves it over ssh to one key, and returns that key and the line of
// known_hosts.
func (u *upstream) shell() (key, known string) {
	u.t.Helper()
	clientPublic, clientKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		u.t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(clientKey, "")
	if err != nil {
		u.t.Fatal(err)
	}
	allowed, err := ssh.NewPublicKey(clientPublic)
	if err != nil {
		u.t.Fatal(err)
	}
	_, hostKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		u.t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(hostKey)
	if err != nil {
		u.t.Fatal(err)
	}
	conf := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, k ssh.PublicKey) (*ssh.Permissions, error) {
		if string(k.Marshal()) != string(allowed.Marshal()) {
			return nil, fmt.Errorf("another key")
		}
		return nil, nil
	}}
	conf.AddHostKey(signer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go u.session(conn, conf)
		}
	}()
	_, u.port, _ = net.SplitHostPort(l.Addr().String())
	return string(pem.EncodeToMemory(block)), knownhosts.Line([]string{net.JoinHostPort("git.example.com", u.port)}, signer.PublicKey())
}

func (u *upstream) session(conn net.Conn, conf *ssh.ServerConfig) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, conf)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		channel, asks, err := c.Accept()
		if err != nil {
			return
		}
		for ask := range asks {
			if ask.Type != "exec" {
				ask.Reply(false, nil)
				continue
			}
			ask.Reply(true, nil)
			var command struct{ Line string }
			ssh.Unmarshal(ask.Payload, &command)
			cmd := clientCommand(u.dir, "sh", "-c", strings.Replace(command.Line, "'/", "'"+u.dir+"/", 1))
			cmd.Stdin, cmd.Stdout, cmd.Stderr = channel, channel, channel.Stderr()
			code := uint32(0)
			if cmd.Run() != nil {
				code = 1
			}
			channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{code}))
			channel.Close()
		}
	}
}

// upstreamToken is what an upstream by https takes.
const upstreamToken = "a-token-of-the-test-0815"

// gateTo is a gate whose origin is the upstream.
func gateTo(t *testing.T, u *upstream, scheme string) *gate {
	t.Helper()
	g := readyGateTo(t, u, scheme)
	g.start()
	return g
}

// readyGateTo is gateTo before it starts.
func readyGateTo(t *testing.T, u *upstream, scheme string) *gate {
	t.Helper()
	conf := defaultGate()
	remote := bottle.GateRemote{Private: true}
	values := map[string]string{}
	var pool *x509.CertPool
	if scheme == "https" {
		pool = u.web(upstreamToken)
		remote.Upstream, remote.Token = "https://example.com:"+u.port+"/engine.git", "env:TOKEN"
		values["env:TOKEN"], conf.Needs = upstreamToken, []string{"env:TOKEN"}
	} else {
		remote.Key = "file:key"
		values["file:key"], remote.KnownHosts = u.shell()
		remote.Upstream = "ssh://git@git.example.com:" + u.port + "/engine.git"
	}
	conf.Remotes["origin"] = remote
	g := newGate(t, conf)
	g.secrets.Put(bottle.Secrets{Values: values})
	g.roots = pool
	return g
}

func TestUpstreams(t *testing.T) {
	for _, scheme := range []string{"https", "ssh"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			u := newUpstream(t)
			g := gateTo(t, u, scheme)
			dir := filepath.Join(t.TempDir(), "c")
			parent := &client{t, t.TempDir()}
			parent.git("clone", "-q", g.url+"/origin.git", dir)
			c := &client{t, dir}
			if got := c.git("symbolic-ref", "HEAD"); got != "refs/heads/trunk" {
				t.Errorf("the clone is on %s", got)
			}
			id := c.commit("a.txt", "one\n")
			c.git("tag", "v2")
			c.git("push", "-q", "origin", "trunk", "v2", "HEAD:refs/heads/topic")
			if got := u.bare.git("rev-parse", "trunk"); got != id {
				t.Errorf("upstream has %s, want %s", got, id)
			}
			c.commit("b.txt", "k="+formatSecret+"\n")
			out, err := c.try("push", "origin", "trunk")
			wantRefused(t, out, err, "b.txt:1")
			if got := u.bare.git("rev-parse", "trunk"); got != id {
				t.Errorf("upstream has %s, want %s", got, id)
			}
			c.git("reset", "-q", "--hard", "HEAD~1")
			// Somebody else pushes: the agent fetches it, after a refusal in git's words.
			other := newClient(t, u.bare.dir)
			other.git("pull", "-q", "origin", "trunk")
			theirs := other.commit("theirs.txt", "x\n")
			other.git("push", "-q", "origin", "HEAD:trunk")
			c.commit("mine.txt", "y\n")
			out, err = c.try("push", "origin", "trunk")
			wantRefused(t, out, err, "fetch first")
			c.git("pull", "-q", "--rebase", "origin", "trunk")
			c.git("push", "-q", "origin", "trunk")
			if u.bare.git("merge-base", "--is-ancestor", theirs, "trunk") != "" {
				t.Error("what somebody else pushed is lost")
			}
			// Upstream refuses: all or nothing, in its words.
			u.hook("echo 'no pushes on Tuesdays' >&2\nexit 1\n")
			before := u.bare.git("rev-parse", "trunk")
			c.commit("c.txt", "z\n")
			out, err = c.try("push", "origin", "trunk", "HEAD:refs/heads/other")
			wantRefused(t, out, err, "remote: no pushes on Tuesdays", "! [remote rejected] trunk -> trunk (pre-receive hook declined)")
			if u.bare.git("rev-parse", "trunk") != before || g.inRepo("rev-parse", "trunk") != before {
				t.Error("a push that was refused has left something")
			}
			shallow := filepath.Join(t.TempDir(), "s")
			parent.git("clone", "-q", "--depth=1", g.url+"/origin.git", shallow)
			partial := filepath.Join(t.TempDir(), "p")
			parent.git("clone", "-q", "--filter=blob:none", g.url+"/origin.git", partial)
			u.hook("exit 0\n")
			for name, d := range map[string]string{"shallow": shallow, "partial": partial} {
				c := &client{t, d}
				c.git("checkout", "-q", "-b", name)
				id := c.commit(name, "x\n")
				c.git("push", "-q", "origin", name)
				if got := u.bare.git("rev-parse", name); got != id {
					t.Errorf("from a %s clone: %s", name, got)
				}
			}
			g.noQuarantine()
		})
	}
}

func TestTenPushesAtOnce(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	g := gateTo(t, u, "https")
	var all sync.WaitGroup
	for i := range 10 {
		c := newClient(t, g.url+"/origin.git")
		c.git("fetch", "-q", "origin")
		c.git("checkout", "-q", "-b", fmt.Sprintf("b%d", i), "origin/trunk")
		c.commit(fmt.Sprintf("f%d", i), strings.Repeat("text\n", i+1))
		all.Go(func() {
			if out, err := c.try("push", "origin", fmt.Sprintf("b%d", i)); err != nil {
				t.Errorf("push %d: %v: %s", i, err, out)
			}
		})
	}
	all.Wait()
	if refs := strings.Fields(u.bare.git("for-each-ref", "--format=%(refname)", "refs/heads/b*")); len(refs) != 10 {
		t.Errorf("upstream has %v", refs)
	}
	g.noQuarantine()
}

// A token that the upstream does not take is told of by its name, in a fetch and
// a push, until a new one comes.
func TestATokenThatItsUpstreamRefusesIsStale(t *testing.T) {
	u := newUpstream(t)
	g := gateTo(t, u, "https")
	stale := func() (a bottle.Applied) {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(g.dir, "out", sidecar.AppliedFile))
		if err == nil {
			err = json.Unmarshal(data, &a)
		}
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	c := newClient(t, g.url+"/origin.git")
	c.commit("a.txt", "one\n")
	g.hand("env:TOKEN", "a-token-of-yesterday-0814")
	if out, err := c.try("push", "origin", "HEAD:topic"); err == nil || !strings.Contains(out, "refuses the token") || !strings.Contains(out, "--renew") {
		t.Errorf("%v, %s", err, out)
	}
	if a := stale(); !slices.Equal(a.Stale, []string{"env:TOKEN"}) {
		t.Errorf("%+v", a)
	}
	g.hand("env:TOKEN", upstreamToken)
	if a := stale(); a.Stale != nil {
		t.Errorf("%+v", a)
	}
	c.git("push", "-q", "origin", "HEAD:topic")
	if a := stale(); a.Stale != nil {
		t.Errorf("%+v", a)
	}
}

func (g *gate) hand(name, value string) {
	g.secrets.Put(bottle.Secrets{Values: map[string]string{name: value}})
}

// Behind a company's proxy upstreams by https are reached through it, and those by
// ssh where the operator says so.
func TestUpstreamsAreReachedThroughTheProxy(t *testing.T) {
	const login = "ada:a-login-of-the-company"
	for _, c := range []struct {
		scheme  string
		ssh     bool
		through bool
	}{{"https", false, true}, {"ssh", false, false}, {"ssh", true, true}} {
		t.Run(fmt.Sprintf("%s %v", c.scheme, c.ssh), func(t *testing.T) {
			t.Parallel()
			u := newUpstream(t)
			var asked atomic.Int64
			server := httptest.NewServer(&forward.Proxy{Login: login, Dial: func(address string) (net.Conn, error) {
				asked.Add(1)
				_, port, _ := net.SplitHostPort(address)
				return net.Dial("tcp", "127.0.0.1:"+port)
			}})
			t.Cleanup(server.Close)
			g := readyGateTo(t, u, c.scheme)
			var err error
			g.proxy, err = sidecar.NewProxy(&bottle.Proxy{Address: strings.TrimPrefix(server.URL, "http://"), Login: bottle.ProxyLogin}, g.secrets)
			if err != nil {
				t.Fatal(err)
			}
			g.ssh = c.ssh
			g.hand(bottle.ProxyLogin, login)
			g.start()
			work := newClient(t, g.url+"/origin.git")
			id := work.commit("a.txt", "one\n")
			work.git("push", "-q", "origin", "HEAD:topic")
			if got := u.bare.git("rev-parse", "topic"); got != id {
				t.Errorf("upstream has %s, want %s", got, id)
			}
			if n := asked.Load(); (n > 0) != c.through {
				t.Errorf("the proxy was asked %d times", n)
			}
			if !c.through {
				return
			}
			g.hand(bottle.ProxyLogin, "ada:a-login-of-old")
			work.commit("b.txt", "two\n")
			if out, err := work.try("push", "origin", "HEAD:topic"); err == nil || !strings.Contains(out, "the proxy on the way out refuses its login (407)") {
				t.Errorf("%v, %s", err, out)
			}
		})
	}
}
