package workspace

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	testAgent = 83001
	testOwner = 83002
)

// aclOf is what getfacl says, without comments, in one line.
func aclOf(t *testing.T, path string) string {
	t.Helper()
	out, err := exec.Command("getfacl", "--omit-header", "--numeric", "--absolute-names", path).Output()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("getfacl is not here")
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(out)), " ")
}

// sharedFolder is a repository's folder on a file system with ACLs.
func sharedFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"private": 0o600, "run.sh": 0o700, "sub/open": 0o644, ".git/config": 0o644} {
		path := filepath.Join(dir, name)
		write(t, dir, name, name)
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Setxattr(dir, defaultACL, fromMode(0o755).grant(1, 7).encode(), 0); errors.Is(err, unix.ENOTSUP) {
		t.Skip("this file system has no ACLs")
	}
	if err := unix.Removexattr(dir, defaultACL); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestAFolderIsSharedAndTakenBack(t *testing.T) {
	t.Parallel()
	dir := sharedFolder(t)
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	names := []string{"", "private", "run.sh", "sub", "sub/open", ".git", ".git/config"}
	all := func() (lists []string) {
		for _, name := range names {
			lists = append(lists, aclOf(t, filepath.Join(dir, name)))
		}
		return append(lists, aclOf(t, outside))
	}
	before := all()
	if n, err := Share(t.Context(), dir, testAgent, testOwner); err != nil || n != 0 {
		t.Fatal(n, err)
	}
	dirList := " default:user::rwx default:user:83001:rwx default:user:83002:rwx default:group::r-x default:mask::rwx default:other::r-x"
	want := slices.Clone(before)
	want[1] = "user::rw- user:83001:rw- group::--- mask::rw- other::---"
	want[2] = "user::rwx user:83001:rwx group::--- mask::rwx other::---"
	want[3] = "user::rwx user:83001:rwx group::r-x mask::rwx other::r-x" + dirList
	want[4] = "user::rw- user:83001:rw- group::r-- mask::rw- other::r--"
	want[0] = want[3]
	if got := all(); !slices.Equal(got, want) {
		t.Errorf("shared: %q", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "sub/new"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if got := aclOf(t, filepath.Join(dir, "sub/new")); !strings.Contains(got, "user:83001:rwx #effective:rw- user:83002:rwx #effective:rw-") {
		t.Errorf("a new file has %q", got)
	}
	if _, err := Unshare(t.Context(), dir, testAgent, testOwner); err != nil {
		t.Fatal(err)
	}
	if got := all(); !slices.Equal(got, before) {
		t.Errorf("taken back: %q, not %q", got, before)
	}
}

func TestOtherListsOfAFolderStay(t *testing.T) {
	t.Parallel()
	dir := sharedFolder(t)
	path := filepath.Join(dir, "private")
	theirs := fromMode(0o640).grant(7, 4)
	if err := unix.Setxattr(path, accessACL, theirs.encode(), 0); err != nil {
		t.Fatal(err)
	}
	before := aclOf(t, path)
	if _, err := Share(t.Context(), dir, testAgent, testOwner); err != nil {
		t.Fatal(err)
	}
	if got := aclOf(t, path); !strings.Contains(got, "user:7:r-- user:83001:rw- group::r-- mask::rw-") {
		t.Errorf("%q", got)
	}
	if _, err := Unshare(t.Context(), dir, testAgent, testOwner); err != nil {
		t.Fatal(err)
	}
	if got := aclOf(t, path); got != before {
		t.Errorf("%q, not %q", got, before)
	}
}

// withoutPrivileges makes of a test's root, for good, somebody to whom modes
// and owners count.
func withoutPrivileges(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("it takes root to make another user's files")
	}
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&head, &none[0]); err != nil {
		t.Fatal(err)
	}
}

// The operator's git init, or clone, while the agent is there makes a .git that
// is open to it.
func TestARepositoryMadeSinceIsTakenBack(t *testing.T) {
	t.Parallel()
	dir := sharedFolder(t)
	if err := os.RemoveAll(filepath.Join(dir, ".git")); err != nil {
		t.Fatal(err)
	}
	if _, err := Share(t.Context(), dir, testAgent, testOwner); err != nil {
		t.Fatal(err)
	}
	write(t, dir, ".git/hooks/x", "")
	if _, err := Unshare(t.Context(), dir, testAgent, testOwner); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".git", ".git/hooks/x"} {
		if got := aclOf(t, filepath.Join(dir, name)); strings.Contains(got, "83001") {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// A directory that the agent closed keeps nothing else open.
func TestAClosedDirectoryStopsNoUnshare(t *testing.T) {
	t.Parallel()
	dir := sharedFolder(t)
	before := aclOf(t, filepath.Join(dir, "sub/open"))
	if _, err := Share(t.Context(), dir, testAgent, testOwner); err != nil {
		t.Fatal(err)
	}
	closed := filepath.Join(dir, "a")
	if err := errors.Join(os.Mkdir(closed, 0o700), os.Chown(closed, testAgent, testAgent), os.Chmod(closed, 0o700)); err != nil {
		t.Skip(err)
	}
	withoutPrivileges(t)
	if n, err := Unshare(t.Context(), dir, testAgent, testOwner); n != 1 || err != nil {
		t.Errorf("%d closed, %v", n, err)
	}
	if got := aclOf(t, filepath.Join(dir, "sub/open")); got != before {
		t.Errorf("behind it: %q, not %q", got, before)
	}
	if n, err := Share(t.Context(), dir, testAgent, testOwner); n != 1 || err != nil {
		t.Errorf("shared again: %d are others', %v", n, err)
	}
}

// Nor does a path that is longer than the kernel takes.
func TestADeepDirectoryStopsNoUnshare(t *testing.T) {
	t.Parallel()
	dir := sharedFolder(t)
	if _, err := Share(t.Context(), dir, testAgent, testOwner); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	name := strings.Repeat("a", 250)
	for i := 0; i < 20 && err == nil; i++ {
		if err = unix.Mkdirat(fd, name, 0o755); err == nil {
			var below int
			below, err = unix.Openat(fd, name, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			unix.Close(fd)
			fd = below
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	t.Cleanup(func() { exec.Command("rm", "-rf", dir).Run() })
	if _, err := Unshare(t.Context(), dir, testAgent, testOwner); !errors.Is(err, unix.ENAMETOOLONG) {
		t.Errorf("%v", err)
	}
	if got := aclOf(t, filepath.Join(dir, "sub/open")); strings.Contains(got, "83001") {
		t.Errorf("behind it: %q", got)
	}
}

// What is a file of another place, too, is not the agent's to change.
func TestAFileOfTwoNamesIsNotShared(t *testing.T) {
	t.Parallel()
	dir, store := sharedFolder(t), t.TempDir()
	if err := os.Link(filepath.Join(dir, "private"), filepath.Join(store, "private")); err != nil {
		t.Fatal(err)
	}
	before := aclOf(t, filepath.Join(store, "private"))
	n, err := Share(t.Context(), dir, testAgent, testOwner)
	if n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if got := aclOf(t, filepath.Join(store, "private")); got != before {
		t.Errorf("%q", got)
	}
	// What the agent links itself is taken back all the same.
	if err := os.Link(filepath.Join(dir, "run.sh"), filepath.Join(dir, "sub/again")); err != nil {
		t.Fatal(err)
	}
	if _, err := Unshare(t.Context(), dir, testAgent, testOwner); err != nil {
		t.Fatal(err)
	}
	if got := aclOf(t, filepath.Join(dir, "run.sh")); strings.Contains(got, "83001") {
		t.Errorf("%q", got)
	}
}

// A directory that becomes a symlink while it is looked at leads nowhere.
func TestNoSymlinkLeadsToAList(t *testing.T) {
	t.Parallel()
	dir := sharedFolder(t)
	before := aclOf(t, filepath.Join(dir, ".git/config"))
	entries, err := os.ReadDir(filepath.Join(dir, ".git"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(".git", filepath.Join(dir, "way")); err != nil {
		t.Fatal(err)
	}
	r, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := onACL(r, "way/config", entries[0], accessACL, func(a acl, _ fs.FileInfo) acl { return a.grant(testAgent, 7) }); err != nil {
		t.Error(err)
	}
	if got := aclOf(t, filepath.Join(dir, ".git/config")); got != before {
		t.Errorf("%q", got)
	}
}

func TestListsAreReadAsTheKernelWritesThem(t *testing.T) {
	t.Parallel()
	list := fromMode(0o750).grant(9, 6).grant(8, 7)
	back, err := decodeACL(list.encode())
	if err != nil || !back.equal(list) {
		t.Errorf("%v, %v", back, err)
	}
	for _, b := range [][]byte{nil, {2, 0, 0}, {3, 0, 0, 0}, append(list.encode(), 1)} {
		if _, err := decodeACL(b); err == nil {
			t.Errorf("%x was read", b)
		}
	}
}
