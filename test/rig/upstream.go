package rig

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// Upstream is an internet of the test's own: one container on one network,
// under as many names as the test likes.
type Upstream struct {
	Network string
	Subnet  netip.Prefix
	Addr    netip.Addr

	r    *Rig
	name string
	dir  string // what it shares with the test
	log  journal
}

// Entry is one thing that arrived at an Upstream.
type Entry struct {
	Kind   string   `json:"kind"` // ready, https, http, tls, dns, tcp, udp; packet: any, its Detail "udp 192.0.2.1:53"
	From   string   `json:"from"`
	Host   string   `json:"host"`
	Method string   `json:"method"`
	Path   string   `json:"path"`
	Proto  string   `json:"proto"`
	Detail string   `json:"detail"`
	Header []string `json:"header"` // of a request: NAME: VALUE
}

// Upstream starts an internet that has these names. Bottles of this rig trust
// its certificates if they are started after it; Join connects one to it.
func (r *Rig) Upstream(names ...string) *Upstream {
	r.t.Helper()
	if r.engine != nil {
		r.t.Fatal("a private engine has an internet of its own")
	}
	image := upstreamImage(r.t)
	u := &Upstream{r: r, name: r.tag + "-upstream"}
	u.Network, u.Subnet = r.network()
	u.dir = filepath.Join(r.dir, "upstream")
	u.log.path = filepath.Join(u.dir, "log.jsonl")
	u.Addr = u.Subnet.Addr().Next().Next()
	if err := os.MkdirAll(u.Files(), 0o700); err != nil {
		r.t.Fatal(err)
	}
	args := []string{"run", "-d", "--name", u.name, "--label", label + "=" + r.tag, "--network", u.Network, "--ip", u.Addr.String(), "-v", u.dir + ":/out"}
	for _, n := range names {
		args = append(args, "--network-alias", n)
	}
	r.Docker(append(args, image, "--ca-out", "/out/ca.pem", "--files", "/out/files", "--log", "/out/log.jsonl")...)
	awaitReady(r, u.name)
	pem, err := os.ReadFile(filepath.Join(u.dir, "ca.pem"))
	if err != nil {
		r.t.Fatal(err)
	}
	r.Write("ca/upstream.pem", string(pem))
	r.upstream = u
	return u
}

// Files is a directory whose files it serves, under all of its names.
func (u *Upstream) Files() string { return filepath.Join(u.dir, "files") }

// Network makes an internal network on a free subnet outside the pool that
// bottles use: nothing that goes astray leaves the machine. It goes with the rig.
func (r *Rig) Network(flags ...string) (name string) {
	r.t.Helper()
	name, _ = r.network(flags...)
	return name
}

// NetworkAt makes a network that takes a subnet; it goes with the rig.
func (r *Rig) NetworkAt(subnet string) {
	r.t.Helper()
	r.Docker("network", "create", "--internal", "--subnet", subnet, "--label", label+"="+r.tag, fmt.Sprintf("%s-%d", r.tag, rand.IntN(1_000_000)))
}

func (r *Rig) network(flags ...string) (string, netip.Prefix) {
	r.t.Helper()
	var last error
	for range 20 {
		subnet := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 214, byte(rand.IntN(256)), 0}), 24)
		name := fmt.Sprintf("%s-%d", r.tag, rand.IntN(1_000_000))
		args := append([]string{"network", "create", "--internal", "--subnet", subnet.String(), "--label", label + "=" + r.tag}, flags...)
		if _, last = r.TryDocker(append(args, name)...); last == nil {
			return name, subnet
		}
	}
	r.t.Fatalf("cannot find a free subnet: %v", last)
	return "", netip.Prefix{}
}

// awaitReady returns when the upstream in a container serves.
func awaitReady(r *Rig, name string) {
	r.t.Helper()
	cmd := exec.Command("docker", "logs", "-f", name)
	hangUp(cmd)
	out, err := cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	ready := lines.Scan() && bytes.Contains(lines.Bytes(), []byte(`"ready"`))
	cmd.Process.Kill()
	cmd.Wait()
	if !ready {
		r.t.Fatalf("the upstream did not start: %s", r.Docker("logs", name))
	}
}

// Join connects a bottle's egress to this internet.
func (u *Upstream) Join(slug string) {
	u.r.t.Helper()
	u.r.Docker("network", "connect", u.Network, fmt.Sprintf("bottle-%s-egress-1", slug))
	u.r.t.Cleanup(func() {
		// A bottle that is gone has left already.
		client("network", "disconnect", "-f", u.Network, fmt.Sprintf("bottle-%s-egress-1", slug))
	})
}

// Log is all that arrived so far: what is answered is told of before.
func (u *Upstream) Log() []Entry {
	u.r.t.Helper()
	all, err := u.log.read()
	if err != nil {
		u.r.t.Fatal(err)
	}
	return all
}

// Heard are the entries that have text in their name, path or detail.
func (u *Upstream) Heard(text string) []Entry {
	u.r.t.Helper()
	return Heard(u.Log(), text)
}

// Await returns the first entry that has text in its name, path or detail, when it
// has come. It is an error that it does not come before the context ends.
func (u *Upstream) Await(ctx context.Context, text string) (Entry, error) {
	return u.log.await(ctx, text)
}

var upstreamBuilt struct {
	sync.Once
	image string
	err   error
}

// upstreamImage is the image of the tests' internet.
func upstreamImage(t testing.TB) string {
	t.Helper()
	program := ownProgram(t, "upstream")
	upstreamBuilt.Do(func() {
		upstreamBuilt.image, upstreamBuilt.err = importProgram(program)
	})
	if upstreamBuilt.err != nil {
		t.Fatalf("cannot make the upstream's image: %v", upstreamBuilt.err)
	}
	return upstreamBuilt.image
}

// importProgram makes of a program an image of one file, where it is not there yet.
// Its tag is the hash of the program.
func importProgram(path string) (string, error) {
	name := filepath.Base(path)
	program, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	tag := fmt.Sprintf("bottle-test-%s:%.19x", name, sha256.Sum256(program))
	if _, err := client("image", "inspect", tag); err == nil {
		return tag, nil
	}
	var packed bytes.Buffer
	w := tar.NewWriter(&packed)
	err = w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(program))})
	if err == nil {
		_, err = w.Write(program)
	}
	if err := errors.Join(err, w.Close()); err != nil {
		return "", err
	}
	load := exec.Command("docker", "import", "-c", `ENTRYPOINT ["/`+name+`"]`, "-", tag)
	load.Stdin = &packed
	if out, err := load.CombinedOutput(); err != nil {
		return "", fmt.Errorf("docker import: %w: %s", err, out)
	}
	return tag, nil
}
