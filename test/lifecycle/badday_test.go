package lifecycle

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bottle/pkg/bottle"
	"bottle/test/rig"
)

// onFullDisk runs one of the programs with a home on a disk of its own that has
// no room for more than free bytes. Nobody else sees that disk.
func onFullDisk(r *rig.Rig, free int, program string, args ...string) (said string, code int) {
	const script = `set -e; cp -a "$1" "$1.copy"; used=$(du -sB1 "$1.copy" | cut -f1)
		mount -t tmpfs -o size=$((used + $2)),mode=0700 none "$1"; cp -a "$1.copy"/. "$1"; rm -rf "$1.copy"; shift 2; exec "$@"`
	inner := r.Command(context.Background(), program, args...)
	cmd := exec.Command("unshare", append([]string{"-m", "sh", "-c", script, "sh", r.Home, fmt.Sprint(free), inner.Path}, args...)...)
	cmd.Env, cmd.Dir = inner.Env, inner.Dir
	out, _ := cmd.CombinedOutput()
	return string(out), cmd.ProcessState.ExitCode()
}

func TestAFullDiskIsSaidAndLeavesNothing(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Agent("dev")
	r.Run("bottle-ls") // makes the home's directories
	said, code := onFullDisk(r, 64<<10, "bottle-start", "--yes", "--detach", "--workspace", "none", "dev")
	if code != 1 || !strings.Contains(said, "bottle-start: the disk is full") || !strings.Contains(said, "hint: make room") {
		t.Errorf("ended with %d: %s", code, said)
	}
	wantNothing(t, r)
}

func TestAFullDiskAtTheStopKeepsTheWork(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Agent("dev")
	slug := withWork(t, r)
	said, code := onFullDisk(r, 512<<10, "bottle-stop", slug)
	if code != 1 || !strings.Contains(said, "the disk is full") || !strings.Contains(said, slug+": kept") {
		t.Errorf("ended with %d: %s", code, said)
	}
	wantWork(t, r, slug)
}

// pool is a subnet pool that only this test uses.
func pool(r *rig.Rig) (a, b int) {
	a, b = 64+rand.IntN(64), 16*rand.IntN(16)
	r.Write("config.yaml", fmt.Sprintf("subnet_pool: 100.%d.%d.0/20\n", a, b))
	return a, b
}

func TestAnExhaustedPoolIsSaid(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Agent("dev")
	a, b := pool(r)
	r.NetworkAt(fmt.Sprintf("100.%d.%d.0/20", a, b))
	_, said, code := r.Run("bottle-start", "--yes", "--detach", "--workspace", "none", "dev")
	if code != 1 || !strings.Contains(said, fmt.Sprintf("bottle-start: no subnet is free in the pool 100.%d.%d.0/20", a, b)) || !strings.Contains(said, "hint: stop a bottle, or set a larger subnet_pool") {
		t.Errorf("ended with %d: %s", code, said)
	}
	wantNothing(t, r)
}

func TestAForeignNetworkInThePoolIsAvoided(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Agent("dev")
	a, b := pool(r)
	r.NetworkAt(fmt.Sprintf("100.%d.%d.0/21", a, b)) // half of it
	slug := r.Start("dev")
	subnet := r.Docker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", "bottle-"+slug+"_inner")
	if !strings.HasPrefix(subnet, fmt.Sprintf("100.%d.", a)) {
		t.Errorf("its subnet is %s", subnet)
	}
}

func TestAMissingBaseImageWithoutANetworkIsSaid(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	// No registry answers on this port, and in a network namespace of its own no mirror does.
	script := filepath.Join(r.Libexec, "base-image")
	out, err := exec.Command("unshare", "-n", script, "127.0.0.1:9/none:1").CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err == nil || !strings.HasPrefix(lines[len(lines)-1], "base-image: debootstrap failed (all of it: ") {
		t.Errorf("ended with %v: %s", err, out)
	}
}

// withWork starts a bottle whose agent leaves a file.
func withWork(t *testing.T, r *rig.Rig) (slug string) {
	t.Helper()
	slug = r.Start("dev")
	if _, said, code := r.Inside(slug, "sh", "-c", "head -c 3000000 /dev/urandom >/work/file"); code != 0 {
		t.Fatal(said)
	}
	return slug
}

// wantWork stops a bottle, whose work must come out, and nothing be left.
func wantWork(t *testing.T, r *rig.Rig, slug string) {
	t.Helper()
	out, said, code := r.Run("bottle-stop", slug)
	if code != 0 || !strings.Contains(out, "work.bundle") {
		t.Errorf("its stop ended with %d: %s%s", code, out, said)
	}
	wantNothing(t, r)
}

func TestAStateDirectoryRemovedByHandKeepsItsWorkAndItsName(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Agent("dev")
	slug := withWork(t, r)
	if err := os.RemoveAll(filepath.Join(r.Home, "state", slug)); err != nil {
		t.Fatal(err)
	}
	all := r.Bottles()
	if len(all) != 1 || all[0].Agent != "?" || !strings.Contains(all[0].Reason, "bottle-stop keeps its work") {
		t.Errorf("listed as %+v", all)
	}
	_, said, code := r.Run("bottle-start", "--yes", "--detach", "--workspace", "none", "--name", slug, "dev")
	if code != 6 || !strings.Contains(said, "still holds an earlier bottle of that name\nhint: bottle-stop "+slug+" keeps its work") {
		t.Errorf("ended with %d: %s", code, said)
	}
	wantWork(t, r, slug)
}

func TestAContainerRemovedByHandKeepsItsWork(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Agent("dev")
	slug := withWork(t, r)
	for _, c := range []struct {
		service string
		want    bottle.Status
	}{{"egress", bottle.Degraded}, {"agent", bottle.Stopped}, {"supervise", bottle.Lost}} {
		r.Docker("rm", "-f", "bottle-"+slug+"-"+c.service+"-1")
		if all := r.Bottles(); len(all) != 1 || all[0].Status != c.want || all[0].Reason == "" {
			t.Errorf("without its %s it is listed as %+v", c.service, all)
		}
	}
	wantWork(t, r, slug)
}
