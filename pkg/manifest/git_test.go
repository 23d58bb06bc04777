package manifest

import (
	"crypto/ed25519"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"bottle/pkg/tokenref"
)

const gitBottle = "---\ngit:\n  remotes:\n" +
	"    origin: {upstream: \"git@github.com:ada/engine.git\", identity_file: ~/id, known_hosts: ~/known}\n" +
	"    docs: {upstream: \"https://git.example.com:8443/docs\", token_ref: DOCS_TOKEN, refresh: 45m, private: true}\n" +
	"    here: {}\n" +
	"  push: {refs: [\"refs/heads/agent/*\"], require_approval: true, max_size: 10MiB}\n---\n"

func loadGit(t *testing.T, text string) Manifest {
	t.Helper()
	m, err := Load(home(t, map[string]string{"agents/a.md": plainAgent, "bottles/dev.md": text}), "a")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestRemotesAreReadWhole(t *testing.T) {
	g := loadGit(t, gitBottle).Git
	if len(g.Remotes) != 3 {
		t.Fatalf("%+v", g)
	}
	origin, docs, here := g.Remotes[0], g.Remotes[1], g.Remotes[2]
	if origin.Upstream != "ssh://git@github.com/ada/engine.git" || !origin.Identity.Set() || !origin.Known.Set() {
		t.Errorf("%+v", origin)
	}
	if docs.Upstream != "https://git.example.com:8443/docs" || docs.Token.Name() != "env:DOCS_TOKEN" || docs.Refresh != 45*time.Minute || !docs.Private {
		t.Errorf("%+v", docs)
	}
	if here.Upstream != "" || here.Name != "here" {
		t.Errorf("%+v", here)
	}
	if !slices.Equal(g.Push.Refs, []string{"refs/heads/agent/*"}) || !g.Push.RequireApproval || g.Push.MaxSize != 10<<20 {
		t.Errorf("%+v", g.Push)
	}
	plain := loadGit(t, "---\n---\n").Git
	if len(plain.Remotes) != 0 || !slices.Equal(plain.Push.Refs, defaultRefs) || plain.Push.MaxSize != defaultMaxPush || plain.Push.RequireApproval {
		t.Errorf("without the key: %+v", plain)
	}
}

func TestAnUpstreamIsKnownHoweverItIsWritten(t *testing.T) {
	g := loadGit(t, gitBottle).Git
	for _, address := range []string{"git@github.com:ada/engine.git", "ssh://git@github.com/ada/engine.git", "https://github.com/ada/engine.git"} {
		if !slices.Contains(g.Remotes[0].Addresses(), address) {
			t.Errorf("%s is another one than %q", address, g.Remotes[0].Addresses())
		}
	}
	if got := g.Remotes[1].Addresses(); !slices.Equal(got, []string{"https://git.example.com:8443/docs", "https://git.example.com:8443/docs.git"}) {
		t.Errorf("%q", got)
	}
	if got := g.Remotes[2].Addresses(); got != nil {
		t.Errorf("%q", got)
	}
}

func TestTheGatesValuesAreResolved(t *testing.T) {
	m := loadGit(t, gitBottle)
	dir := t.TempDir()
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	clear, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	locked, err := ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte("words"))
	if err != nil {
		t.Fatal(err)
	}
	put("id", string(pem.EncodeToMemory(clear)))
	put("known", "# mine\ngithub.com ssh-ed25519 AAAA\nother.example ssh-ed25519 BBBB\n|1|x=|y= ssh-ed25519 CCCC\n@revoked github.com,x ssh-rsa DDDD\n")
	env := map[string]string{"HOME": dir, "DOCS_TOKEN": "a-token-of-the-docs"}
	resolver := tokenref.Resolver{Lookup: func(name string) (string, bool) { v, ok := env[name]; return v, ok }}
	v, err := Resolve(t.Context(), m, resolver)
	if err != nil {
		t.Fatal(err)
	}
	if v.Git["env:DOCS_TOKEN"] != env["DOCS_TOKEN"] || !strings.Contains(v.Git[m.Git.Remotes[0].Identity.Name()], "PRIVATE KEY") || len(v.Credentials) != 0 {
		t.Errorf("%d values, %d of egress", len(v.Git), len(v.Credentials))
	}
	if want := "github.com ssh-ed25519 AAAA\n|1|x=|y= ssh-ed25519 CCCC\n@revoked github.com,x ssh-rsa DDDD\n"; v.KnownHosts["origin"] != want {
		t.Errorf("%q", v.KnownHosts["origin"])
	}
	if only := Only(m, []string{"env:DOCS_TOKEN"}).Git.Remotes; len(only) != 1 || only[0].Name != "docs" {
		t.Errorf("of these alone: %+v", only)
	}
	for name, c := range map[string]struct{ file, text, want string }{
		"a locked key":    {"id", string(pem.EncodeToMemory(locked)), "has a passphrase"},
		"no key":          {"id", "ssh-ed25519 AAAA", "no private key"},
		"an unknown host": {"known", "other.example ssh-ed25519 BBBB\n", "has no key of github.com"},
		"an empty file":   {"known", "\n", "it is empty"},
	} {
		old, err := os.ReadFile(filepath.Join(dir, c.file))
		if err != nil {
			t.Fatal(err)
		}
		put(c.file, c.text)
		if _, err := Resolve(t.Context(), m, resolver); err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "bottles/dev.md:4: ") {
			t.Errorf("%s: %v", name, err)
		}
		put(c.file, string(old))
	}
}

func FuzzUpstream(f *testing.F) {
	for _, s := range []string{"git@github.com:ada/engine.git", "ssh://a@b:22/~/c", "https://x.com/a.git", "ext::sh", "-oX@y:z", "a:b:c", "https://[::1]/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := parseUpstream(s)
		if err != nil {
			return
		}
		if again, err := parseUpstream(u); err != nil || again != u {
			t.Fatalf("%q is %q, and that is %q, %v", s, u, again, err)
		}
		if !strings.HasPrefix(u, "ssh://") && !strings.HasPrefix(u, "https://") || strings.Contains(u, "://-") || strings.Contains(u, "@-") {
			t.Fatalf("%q is %q", s, u)
		}
	})
}
