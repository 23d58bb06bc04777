package rig

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// GitHost is the name under which a bottle's gate finds a GitServer.
const GitHost = "git.example.test"

// GitToken is what it lets in by https.
const GitToken = "token-of-the-git-server-0815"

// GitServer is a server of git's of the test's own, in a container: a real sshd,
// and git's own program behind https.
type GitServer struct {
	Network string
	Key     string // path of the key that sshd lets in
	Known   string // path of a known_hosts file with its own

	r    *Rig
	name string
}

// gitServerImage is what the servers run in. It is built once a machine.
const gitServerImage = `FROM bottle-base:bookworm
RUN export DEBIAN_FRONTEND=noninteractive && apt-get -qq update && apt-get -qq -y install --no-install-recommends git openssh-server && rm -rf /var/lib/apt/lists/* && useradd --create-home --shell /bin/bash git && usermod -p '*' git && install -d -o git /srv && mkdir -p /run/sshd
`

// gitServerStart runs both, the web server as the user that owns the
// repositories. By OpenSSH's own choice of a key exchange a connection costs its
// two ends three times the CPU.
const gitServerStart = `set -e
install -d -m 0777 /out/web
install -m 0600 /out/host_key /etc/ssh/test_host_key
/usr/sbin/sshd -f /dev/null -o HostKey=/etc/ssh/test_host_key -o AuthorizedKeysFile=/out/authorized_keys -o StrictModes=no -o PasswordAuthentication=no -o KexAlgorithms=curve25519-sha256
exec setpriv --reuid git --regid git --clear-groups /upstream --http -1 --dns -1 --echo -1 --ca-out /out/web/ca.pem --git /srv --git-token ` + GitToken

// GitServerImage is what they run in. It is made where it is missing.
func GitServerImage(t testing.TB) string { return Image(t, "git", gitServerImage) }

// GitServer starts a server. Bottles of this rig trust its certificate if they are
// started after it; Join connects one to it.
func (r *Rig) GitServer() *GitServer {
	r.t.Helper()
	image := GitServerImage(r.t)
	dir := filepath.Join(r.dir, "git-server")
	g := &GitServer{r: r, Key: filepath.Join(dir, "key"), Known: filepath.Join(dir, "known_hosts")}
	if err := os.MkdirAll(filepath.Join(dir, "web"), 0o755); err != nil {
		r.t.Fatal(err)
	}
	r.keys(dir)
	g.Network = r.Network()
	g.name = r.Container("git-server", "--network", g.Network, "--network-alias", GitHost, "-v", dir+":/out", "-v", ownProgram(r.t, "upstream")+":/upstream:ro",
		image, "sh", "-c", gitServerStart)
	awaitReady(r, g.name)
	certificate, err := os.ReadFile(filepath.Join(dir, "web", "ca.pem"))
	if err != nil {
		r.t.Fatal(err)
	}
	r.Write("ca/git-server.pem", string(certificate))
	return g
}

// keys makes the server's key and its client's.
func (r *Rig) keys(dir string) {
	r.t.Helper()
	put := func(name string, data []byte, perm os.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), data, perm); err != nil {
			r.t.Fatal(err)
		}
	}
	for private, public := range map[string]func(ssh.PublicKey){
		"host_key": func(k ssh.PublicKey) {
			put("known_hosts", append([]byte(GitHost+" "), ssh.MarshalAuthorizedKey(k)...), 0o644)
		},
		"key": func(k ssh.PublicKey) { put("authorized_keys", ssh.MarshalAuthorizedKey(k), 0o644) },
	} {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			r.t.Fatal(err)
		}
		block, err := ssh.MarshalPrivateKey(key, "")
		if err != nil {
			r.t.Fatal(err)
		}
		put(private, pem.EncodeToMemory(block), 0o600)
		k, err := ssh.NewPublicKey(key.Public())
		if err != nil {
			r.t.Fatal(err)
		}
		public(k)
	}
}

// Repo makes a repository with one commit, on the branch trunk.
func (g *GitServer) Repo(name string) {
	g.r.t.Helper()
	g.Shell(`set -e; git init -q --bare -b trunk /srv/$0.git; cd /srv/$0.git; git config http.receivepack true; git config uploadpack.allowFilter true
		export GIT_AUTHOR_NAME=u GIT_AUTHOR_EMAIL=u@example.com GIT_COMMITTER_NAME=u GIT_COMMITTER_EMAIL=u@example.com
		tree=$(printf '100644 blob %s\tREADME.md\n' "$(echo first | git hash-object -w --stdin)" | git mktree)
		git update-ref refs/heads/trunk "$(git commit-tree -m first "$tree")"`, name)
}

// Shell runs a script on the server, as the user that owns the repositories.
func (g *GitServer) Shell(script string, args ...string) string {
	g.r.t.Helper()
	return strings.TrimSpace(g.r.Docker(append([]string{"exec", "-u", "git", g.name, "sh", "-c", script}, args...)...))
}

// Tip is what a ref of a repository is; empty: it is not there.
func (g *GitServer) Tip(repo, ref string) string {
	g.r.t.Helper()
	return g.Shell(`git -C /srv/$0.git rev-parse --verify --quiet "$1" || true`, repo, ref)
}

// Down takes the server off its network until the test ends, Up puts it back.
func (g *GitServer) Down() { g.r.Docker("network", "disconnect", g.Network, g.name) }

// Up puts the server back.
func (g *GitServer) Up() {
	g.r.Docker("network", "connect", "--alias", GitHost, g.Network, g.name)
}

// Join connects a bottle's gate to the server.
func (g *GitServer) Join(slug string) {
	g.r.t.Helper()
	gate := fmt.Sprintf("bottle-%s-git-gate-1", slug)
	g.r.Docker("network", "connect", g.Network, gate)
	g.r.t.Cleanup(func() { client("network", "disconnect", "-f", g.Network, gate) }) // a bottle that is gone has left already
}

// GitFolder makes the folder in which programs run a repository with one commit
// on trunk and a remote that only its owner reaches.
func (r *Rig) GitFolder() {
	r.t.Helper()
	r.Git("init", "-q", "-b", "trunk")
	r.Git("config", "user.name", "ada")
	r.Git("config", "user.email", "ada@example.com")
	if err := os.WriteFile(filepath.Join(r.Dir, "README.md"), []byte("first\n"), 0o644); err != nil {
		r.t.Fatal(err)
	}
	r.Git("add", ".")
	r.Git("commit", "-qm", "first")
	r.Git("remote", "add", "origin", "git@github.com:ada/engine.git")
}

// Git runs git on that folder.
func (r *Rig) Git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Env = r.Dir, append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "HOME="+r.dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}
