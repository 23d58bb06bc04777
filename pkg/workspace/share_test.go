package workspace

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
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
	if err := Unshare(t.Context(), dir, testAgent, testOwner); err != nil {
		t.Fatal(err)
	}
	if got := all(); !slices.Equal(got, before) {
		t.Errorf("taken back: %q, not %q", got, before)
	}
}

func TestOtherListsOfAFolderStay(t *testing.T) {
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
	if err := Unshare(t.Context(), dir, testAgent, testOwner); err != nil {
		t.Fatal(err)
	}
	if got := aclOf(t, path); got != before {
		t.Errorf("%q, not %q", got, before)
	}
}

func TestListsAreReadAsTheKernelWritesThem(t *testing.T) {
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
