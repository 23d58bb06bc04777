package bench

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// forge is a git server over TLS, and a gate in front of it.
type forge struct {
	t       *testing.T
	dir     string
	port    string
	gate    string // its port
	pid     int
	remotes int // used up
}

// newForge starts both, with as many remotes as there are to be pushes each way.
func newForge(t *testing.T, pushes int) *forge {
	t.Helper()
	f := &forge{t: t, dir: t.TempDir()}
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	backend := &cgi.Handler{Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"), InheritEnv: []string{"PATH"}, Stderr: io.Discard,
		Env: []string{"GIT_PROJECT_ROOT=" + filepath.Join(f.dir, "served"), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "HOME=" + f.dir}}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.TransferEncoding = nil // git reads to the end, whatever CGI says of its length
		backend.ServeHTTP(w, r)
	}))
	server.StartTLS()
	t.Cleanup(server.Close)
	_, f.port, _ = net.SplitHostPort(server.Listener.Addr().String())
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(f.dir, "upstream.pem"), cert, 0o600); err != nil {
		t.Fatal(err)
	}
	var names []string
	for i := range pushes {
		names = append(names, fmt.Sprintf("gate%d", i))
		for _, way := range []string{"gate", "direct"} {
			bare := filepath.Join(f.dir, "served", fmt.Sprintf("%s%d.git", way, i))
			must(t, "git", "init", "-q", "--bare", bare)
			must(t, "git", "-C", bare, "config", "http.receivepack", "true")
		}
	}
	bin := filepath.Join(t.TempDir(), "gate")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", bin, "./gate")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build: %v: %s", err, out)
	}
	f.gate, f.pid = start(t, bin, append([]string{f.dir, f.port}, names...)...)
	return f
}

// git runs a client that trusts the server.
func (f *forge) git(args ...string) {
	f.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + f.dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_SSL_CAINFO=" + filepath.Join(f.dir, "upstream.pem")}
	if out, err := cmd.CombinedOutput(); err != nil {
		f.t.Fatalf("git %s: %v: %s", args, err, out)
	}
}

func (f *forge) push(repo, url string) { f.git("-C", repo, "push", "-q", url, "main") }

func (f *forge) clone(url string) {
	to := filepath.Join(f.dir, "clone")
	f.git("clone", "-q", "--bare", url, to)
	if err := os.RemoveAll(to); err != nil {
		f.t.Fatal(err)
	}
}

// compare pushes both ways in turn.
func (f *forge) compare(what, repo string, rounds int) {
	f.t.Helper()
	before := cpuOf(f.pid) + cpuOfEnded(f.pid)
	gate, direct := &timing{name: what + ", by way of the gate"}, &timing{name: what + ", direct"}
	for range rounds {
		direct.run(f.t, func() { f.push(repo, fmt.Sprintf("https://127.0.0.1:%s/direct%d.git", f.port, f.remotes)) })
		gate.run(f.t, func() { f.push(repo, fmt.Sprintf("http://127.0.0.1:%s/gate%d.git", f.gate, f.remotes)) })
		f.remotes++
	}
	report(gate, direct)
	fmt.Printf("%52s the gate and its gits used %d ms of CPU a push\n\n", "", ((cpuOf(f.pid) + cpuOfEnded(f.pid) - before) / time.Duration(rounds)).Milliseconds())
}

func newRepo(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, "git", "-C", dir, "init", "-q", "-b", "main")
	return dir
}

func fastImport(t *testing.T, repo string, stream *bytes.Buffer) {
	t.Helper()
	cmd := exec.Command("git", "-C", repo, "fast-import", "--quiet")
	cmd.Stdin = stream
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git fast-import: %v: %s", err, out)
	}
}

// manyCommits is a repository of so many commits, each to one to three of 300
// files.
func manyCommits(t *testing.T, n int) string {
	t.Helper()
	repo := newRepo(t)
	r := rand.New(rand.NewPCG(1, 2))
	files := make([]string, 300)
	line := func() string {
		return fmt.Sprintf("\tvalue%d := compute(%d, \"name %d\")\n", r.IntN(1000), r.IntN(1e6), r.IntN(1000))
	}
	for i := range files {
		for range 20 + r.IntN(200) {
			files[i] += line()
		}
	}
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "commit refs/heads/main\ncommitter A U Thor <a@example.com> %d +0000\ndata <<.\nchange %d\n.\n\n", 1700000000+i*60, i)
		changed := 3
		if i == 0 {
			changed = len(files)
		}
		for k := range changed {
			if i > 0 {
				k = r.IntN(len(files))
				at := strings.IndexByte(files[k][r.IntN(len(files[k])-100):], '\n')
				files[k] = files[k][:at+1] + line() + files[k][at+1:]
			}
			fmt.Fprintf(&b, "M 644 inline dir%d/file%d.go\ndata %d\n%s\n", k%20, k, len(files[k]), files[k])
		}
	}
	fastImport(t, repo, &b)
	return repo
}

// noise is a repository of one commit, of files that do not compress.
func noise(t *testing.T, size int) string {
	t.Helper()
	repo := newRepo(t)
	random := rand.NewChaCha8([32]byte{})
	var b bytes.Buffer
	b.WriteString("commit refs/heads/main\ncommitter A U Thor <a@example.com> 1700000000 +0000\ndata 0\n")
	for i := 0; size > 0; i++ {
		data := make([]byte, min(size, 1<<19))
		random.Read(data)
		size -= len(data)
		fmt.Fprintf(&b, "M 644 inline file%d\ndata %d\n%s\n", i, len(data), data)
	}
	fastImport(t, repo, &b)
	return repo
}

// A push by way of the gate, which scans it and pushes it on, against the same
// push to the same server; then a clone of what is large.
func TestPushAgainstDirect(t *testing.T) {
	rounds, commits, size := 1, 30, 2<<20
	if os.Getenv("BOTTLE_BENCH") != "" {
		rounds, commits, size = 7, 1000, 100<<20
	}
	f := newForge(t, 2*rounds+1)
	f.compare(fmt.Sprintf("push of %d commits", commits), manyCommits(t, commits), rounds)
	f.compare(fmt.Sprintf("push of %d MB that do not compress", size>>21), noise(t, size/2), rounds)
	forget(f.pid)
	f.compare(fmt.Sprintf("push of %d MB that do not compress", size>>20), noise(t, size), 1)
	direct, gate := &timing{name: "clone of it, direct"}, &timing{name: "clone of it, by way of the gate"}
	for range rounds {
		direct.run(t, func() { f.clone(fmt.Sprintf("https://127.0.0.1:%s/direct%d.git", f.port, f.remotes-1)) })
		gate.run(t, func() { f.clone(fmt.Sprintf("http://127.0.0.1:%s/gate%d.git", f.gate, f.remotes-1)) })
	}
	report(gate, direct)
	fmt.Printf("%52s the gate had %d MB at most\n", "", memoryOf(f.pid)>>10)
}
