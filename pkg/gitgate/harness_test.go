package gitgate

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/sidecar"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "pipe" {
		if err := Pipe(os.Args[2], os.Stdin, os.Stdout); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Secrets that tests push: by its format, and by its value.
var (
	formatSecret = "ghp_" + "x7Gh2kLm9Qr4Tz8WvB3nYc6dPf1sJa5eRu0T"
	ownSecret    = "quiet-" + "otter-" + "9472-harbour"
)

// gate is a gate on the loopback, and where a client finds it.
type gate struct {
	t       *testing.T
	s       *Service
	url     string
	dir     string // in, out, repos
	conf    bottle.Gate
	mu      sync.Mutex
	events  []bottle.Event
	secrets *sidecar.Secrets
	roots   *x509.CertPool
	quiet   time.Duration
	proxy   *sidecar.Proxy // nil: upstreams are dialled
	ssh     bool           // through it too
}

func defaultGate() bottle.Gate {
	return bottle.Gate{Remotes: map[string]bottle.GateRemote{"origin": {}},
		Push: bottle.GatePush{Refs: []string{"refs/heads/*", "refs/tags/*"}, MaxSize: 64 << 20}}
}

func startGate(t *testing.T, conf bottle.Gate) *gate {
	t.Helper()
	g := newGate(t, conf)
	g.start()
	return g
}

func newGate(t *testing.T, conf bottle.Gate) *gate {
	t.Helper()
	g := &gate{t: t, dir: t.TempDir(), conf: conf, secrets: &sidecar.Secrets{}}
	for _, d := range []string{"in", "out", "repos"} {
		if err := os.Mkdir(filepath.Join(g.dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	g.secrets.Put(bottle.Secrets{Values: map[string]string{"env:OWN": ownSecret}})
	g.write()
	return g
}

func (g *gate) write() {
	g.t.Helper()
	data, err := json.Marshal(g.conf)
	if err == nil {
		err = os.WriteFile(filepath.Join(g.dir, "in", GateFile), data, 0o600)
	}
	if err != nil {
		g.t.Fatal(err)
	}
}

func (g *gate) start() {
	g.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		g.t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		g.t.Fatal(err)
	}
	g.url = "http://" + l.Addr().String()
	check := func(a netip.Addr, private bool) error {
		if private {
			return nil // where the tests' upstreams are
		}
		return sidecar.Guard{}.Check(a, private)
	}
	g.s, err = Start(Config{In: filepath.Join(g.dir, "in"), Out: filepath.Join(g.dir, "out"), Repos: filepath.Join(g.dir, "repos"), Roots: g.roots,
		Dialer: sidecar.Dialer{Check: check, Lookup: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		}, Timeout: 5 * time.Second, Proxy: g.proxy}, ProxySSH: g.ssh,
		Pipe: []string{self, "pipe"}, Secrets: g.secrets, Quiet: g.quiet, Record: func(e bottle.Event) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.events = append(g.events, e)
		}}, l)
	if err != nil {
		g.t.Fatal(err)
	}
	s := g.s
	g.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		s.Drain(ctx)
	})
}

// pushes are the events of pushes.
func (g *gate) pushes() []bottle.Event {
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []bottle.Event
	for _, e := range g.events {
		if e.Kind == "push" {
			list = append(list, e)
		}
	}
	return list
}

// proposal is the only one that was made.
func (g *gate) proposal() (p bottle.Proposal) {
	g.t.Helper()
	files, _ := filepath.Glob(filepath.Join(g.dir, "out", sidecar.ProposalsDir, "*.json"))
	if len(files) != 1 {
		g.t.Fatalf("%d proposals", len(files))
	}
	data, err := os.ReadFile(files[0])
	if err == nil {
		err = json.Unmarshal(data, &p)
	}
	if err != nil {
		g.t.Fatal(err)
	}
	if strings.Contains(string(data), formatSecret) || strings.Contains(string(data), ownSecret) {
		g.t.Error("the secret is in the proposal")
	}
	return p
}

// inRepo runs git on a repository of the gate's.
func (g *gate) inRepo(args ...string) string {
	g.t.Helper()
	out, err := clientCommand(filepath.Join(g.dir, "repos", "origin.git"), "git", args...).CombinedOutput()
	if err != nil {
		g.t.Fatalf("git %s: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// noQuarantine checks that nothing of a push is left.
func (g *gate) noQuarantine() {
	g.t.Helper()
	left, err := filepath.Glob(filepath.Join(g.dir, "repos", "*.git", quarantines, "*"))
	if err != nil || len(left) > 0 {
		g.t.Errorf("left in quarantine: %v, %v", left, err)
	}
}

// client is somebody's clone.
type client struct {
	t   testing.TB
	dir string
}

func clientCommand(dir, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com"}
	return cmd
}

func newClient(t testing.TB, url string) *client {
	t.Helper()
	c := &client{t, t.TempDir()}
	c.git("init", "-q", "-b", "main")
	c.git("remote", "add", "origin", url)
	return c
}

func (c *client) git(args ...string) string {
	c.t.Helper()
	out, err := c.try(args...)
	if err != nil {
		c.t.Fatalf("git %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(out)
}

func (c *client) try(args ...string) (string, error) {
	out, err := clientCommand(c.dir, "git", args...).CombinedOutput()
	return string(out), err
}

func (c *client) write(name, content string) {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) commit(name, content string) string {
	c.t.Helper()
	c.write(name, content)
	c.git("add", "-A")
	c.git("commit", "-q", "-m", "change "+name)
	return c.git("rev-parse", "HEAD")
}

func wantRefused(t *testing.T, out string, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("it was accepted: %s", out)
	}
	for _, w := range words {
		if !strings.Contains(out, w) {
			t.Errorf("it does not say %q: %s", w, out)
		}
	}
	if strings.Contains(out, formatSecret) || strings.Contains(out, ownSecret) {
		t.Errorf("the secret is in what is said: %s", out)
	}
}
