package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	docker "github.com/docker/docker/client"
	"golang.org/x/sys/unix"
)

// dirPrefix begins the names of all rigs' directories, below the system's
// directory for temporary files.
const dirPrefix = "bottle-rig-"

// lockName is the file that a living run holds locked: a process that is gone
// holds no locks, however it went.
const lockName = "lock"

// alive keeps the locks of this process' rigs.
var alive struct {
	sync.Mutex
	files map[string]*os.File
}

func makeDir() (string, error) {
	dir, err := os.MkdirTemp("", dirPrefix)
	if err != nil {
		return "", err
	}
	f, locked, err := lock(dir)
	for tries := 0; (err != nil || !locked) && tries < 10; tries++ {
		// Another run's sweep was there between the two steps.
		if dir, err = os.MkdirTemp("", dirPrefix); err != nil {
			return "", err
		}
		f, locked, err = lock(dir)
	}
	if err != nil || !locked {
		return "", fmt.Errorf("cannot lock %s: %w", dir, err)
	}
	alive.Lock()
	defer alive.Unlock()
	if alive.files == nil {
		alive.files = map[string]*os.File{}
	}
	alive.files[dir] = f
	return dir, nil
}

func lock(dir string) (f *os.File, locked bool, err error) {
	f, err = os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, false, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, false, nil
		}
		return nil, false, err
	}
	return f, true, nil
}

var swept sync.Once

func sweepOnce(t testing.TB) { swept.Do(func() { sweep(t) }) }

// sweep takes down what runs left that are gone.
func sweep(t testing.TB) {
	left, err := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range left {
		f, locked, err := lock(dir)
		if err != nil || !locked {
			continue // it lives, or went just now
		}
		if err := remove(dir); err != nil {
			t.Logf("cannot sweep what another run left: %v", err)
		}
		f.Close()
	}
}

// removeTries bounds how often what a rig made is removed, where something appears,
// and removePause is between two tries.
const (
	removeTries = 20
	removePause = 500 * time.Millisecond
)

// remove takes down all that a rig made, on the engine first: its directory is
// how the next run knows of it.
func remove(dir string) error {
	// Bottles go first: they may be on the rig's networks.
	var filters []string
	if id, err := os.ReadFile(filepath.Join(dir, "home", "id")); err == nil {
		filters = append(filters, "bottle.home="+strings.TrimSpace(string(id)))
	}
	filters = append(filters, label+"="+filepath.Base(dir))
	for try := 1; ; try++ {
		err := removeOnce(dir, filters)
		if err == nil {
			break
		}
		if miscounted(filters) {
			break // a sweep removes it when the engine was restarted
		}
		// What a killed program asked of the engine may have come to it just now: a
		// container on a network that was to go, or what writes in the directory; or
		// another run's sweep tried the lock, and so made it.
		if try == removeTries {
			return err
		}
		time.Sleep(removePause) // nothing tells when it has come
	}
	alive.Lock()
	defer alive.Unlock()
	if f := alive.files[dir]; f != nil {
		delete(alive.files, dir)
		return f.Close()
	}
	return nil
}

// miscounted says whether all that is left are networks in which nothing is: engine
// 20.10 sometimes counts an endpoint of theirs that is gone, when many containers
// come and go at once, and then removes them only after it was started again.
func miscounted(filters []string) bool {
	networks := 0
	for _, f := range filters {
		for _, list := range [][]string{{"ps", "-aq"}, {"volume", "ls", "-q"}} {
			if out, err := client(append(list, "--filter", "label="+f)...); err != nil || out != "" {
				return false
			}
		}
		out, err := client("network", "ls", "-q", "--filter", "label="+f)
		if err != nil {
			return false
		}
		for _, id := range strings.Fields(out) {
			inside, err := client("network", "inspect", "-f", "{{len .Containers}}", id)
			if err != nil || strings.TrimSpace(inside) != "0" {
				return false
			}
			if _, err := client("network", "rm", id); err == nil || !strings.Contains(err.Error(), "has active endpoints") {
				return false
			}
			networks++
		}
	}
	return networks > 0
}

// removeOnce removes what the engine has under one of filters, then the directory.
func removeOnce(dir string, filters []string) error {
	for _, f := range filters {
		if err := removeLabelled(f); err != nil {
			return err
		}
	}
	if err := removeEngine(dir); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// engineAPI asks the engine that all have, in this process: its client would be
// started a dozen times for each rig.
var engineAPI = sync.OnceValues(func() (*docker.Client, error) {
	return docker.NewClientWithOpts(docker.FromEnv, docker.WithAPIVersionNegotiation())
})

// removeLabelled removes containers, then what they hold.
func removeLabelled(label string) error {
	api, err := engineAPI()
	if err != nil {
		return err
	}
	ctx, by := context.Background(), filters.NewArgs(filters.Arg("label", label))
	containers, err := api.ContainerList(ctx, container.ListOptions{All: true, Filters: by})
	if err != nil {
		return err
	}
	for _, c := range containers { // in turn, see watchEngine
		if err := api.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil && !errdefs.IsNotFound(err) {
			return err
		}
	}
	networks, err := api.NetworkList(ctx, network.ListOptions{Filters: by})
	if err != nil {
		return err
	}
	for _, n := range networks {
		if err := api.NetworkRemove(ctx, n.ID); err != nil && !errdefs.IsNotFound(err) {
			return err
		}
	}
	volumes, err := api.VolumeList(ctx, volume.ListOptions{Filters: by})
	if err != nil {
		return err
	}
	for _, v := range volumes.Volumes {
		if err := api.VolumeRemove(ctx, v.Name, true); err != nil && !errdefs.IsNotFound(err) {
			return err
		}
	}
	return nil
}

// engineDir holds what a private engine has, below the directory of its own.
const engineDir = "engine"

// removeEngine waits until a private engine is gone, which its test or the
// kernel has killed, and removes what outlives processes.
func removeEngine(dir string) error {
	alive, err := os.Open(filepath.Join(dir, engineDir, "alive"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer alive.Close()
	if err := unix.Flock(int(alive.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	// One hierarchy, or one a controller below the first; the deepest go first.
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		groups, err := filepath.Glob(pattern + filepath.Base(dir))
		if err != nil {
			return err
		}
		for _, g := range groups {
			if err := removeCgroup(g); err != nil {
				return err
			}
		}
	}
	return nil
}

func removeCgroup(dir string) error {
	below, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, d := range below {
		if d.IsDir() {
			if err := removeCgroup(filepath.Join(dir, d.Name())); err != nil {
				return err
			}
		}
	}
	return unix.Rmdir(dir)
}

// client runs the client of the engine that the tests have.
func client(args ...string) (string, error) { return clientOf("", args...) }

// clientCommand prepares the client of an engine.
func clientCommand(host string, args ...string) *exec.Cmd {
	cmd := exec.Command("docker", args...)
	cmd.Env = os.Environ()
	if host != "" {
		cmd.Env = append(cmd.Env, "DOCKER_HOST="+host)
	}
	hangUp(cmd)
	return cmd
}

func clientOf(host string, args ...string) (string, error) {
	cmd := clientCommand(host, args...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("docker %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(said.Bytes()))
	}
	return out.String(), nil
}
