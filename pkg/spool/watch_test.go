package spool

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// wantTold fails unless a watch tells of a file that appears.
func wantTold(t *testing.T) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ready")
	changes, stop, err := Watch(path)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if err := WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	select {
	case <-changes:
	case <-time.After(time.Minute):
		t.Fatal("nothing is told of a file that appeared")
	}
}

func TestAWatchTellsOfItsFileAlone(t *testing.T) {
	wantTold(t)
	dir := t.TempDir()
	changes, stop, err := Watch(filepath.Join(dir, "ready"))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if err := WriteFile(filepath.Join(dir, "other"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	select {
	case <-changes:
		t.Error("another file is told of")
	case <-time.After(4 * lookAgain):
	}
	if _, _, err := Watch(filepath.Join(dir, "gone", "ready")); err == nil {
		t.Error("a directory that is not there is watched")
	}
}

// The user's other programs may have taken all watches. Only a user namespace of
// its own has a limit that nobody else feels.
func TestWithoutAWatchToHaveItIsLookedForAgain(t *testing.T) {
	const inside = "BOTTLE_TEST_NO_WATCHES"
	if os.Getenv(inside) != "" {
		if err := os.WriteFile("/proc/sys/user/max_inotify_instances", []byte("0"), 0); err != nil {
			t.Fatal(err)
		}
		if fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC); err == nil {
			syscall.Close(fd)
			t.Fatal("there is a watch to have: it proves nothing")
		}
		wantTold(t)
		return
	}
	again := exec.Command(os.Args[0], "-test.v", "-test.run", "^"+t.Name()+"$")
	again.Env = append(os.Environ(), inside+"=1")
	again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}}
	if err := exec.Command("unshare", "--user", "--map-root-user", "true").Run(); err != nil {
		t.Skip("this machine lets nobody have a user namespace")
	}
	if out, err := again.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
