package workspace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Share lets uid read and write all files below root, and what will be made
// there, by POSIX ACLs; owner keeps its rights to what uid makes. Its .git and
// what symlinks lead to are left alone. Passed over are files of other people,
// and files with a second name, which may lie anywhere (package managers link
// from a store that all projects have in common): others tells how many.
func Share(ctx context.Context, root string, uid, owner int) (others int, err error) {
	err = eachShared(ctx, root, func(r *os.File, rel string, d fs.DirEntry, err error) error {
		if rel == ".git" {
			return passOver(d)
		}
		if err == nil {
			err = onACL(r, rel, d, accessACL, func(a acl, fi fs.FileInfo) acl {
				if !fi.IsDir() && fi.Sys().(*syscall.Stat_t).Nlink > 1 {
					others++
					return a
				}
				perm := uint16(6)
				if fi.IsDir() || fi.Mode()&0o111 != 0 {
					perm = 7
				}
				return a.grant(uid, perm)
			})
		}
		if err == nil && d.IsDir() {
			err = onACL(r, rel, d, defaultACL, func(a acl, _ fs.FileInfo) acl { return a.grant(uid, 7).grant(owner, 7) })
		}
		if errors.Is(err, fs.ErrPermission) && rel != "." {
			others++
			return passOver(d)
		}
		return err
	})
	if errors.Is(err, unix.ENOTSUP) {
		err = errors.New("its file system has no ACLs; --workspace copy needs none")
	}
	if err != nil {
		return others, fmt.Errorf("cannot share %s: %w", root, err)
	}
	return others, nil
}

// Unshare takes back what Share gave to uid, also where it was passed on to a
// .git that was made since. What uid made stays its own, and open to owner. What cannot be changed, or not be looked into, keeps nothing
// else from being taken back: the error is the first, and closed tells how many
// directories nobody but uid can look into.
func Unshare(ctx context.Context, root string, uid, owner int) (closed int, err error) {
	var first error
	err = eachShared(ctx, root, func(r *os.File, rel string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrPermission) && rel != "." {
			closed++
			return passOver(d)
		}
		if err == nil {
			err = onACL(r, rel, d, accessACL, func(a acl, _ fs.FileInfo) acl { return a.revoke(uid) })
		}
		if err == nil && d.IsDir() {
			err = onACL(r, rel, d, defaultACL, func(a acl, _ fs.FileInfo) acl { return a.revoke(uid).revoke(owner) })
		}
		if err == nil || errors.Is(err, fs.ErrPermission) { // another's
			return nil
		}
		if first == nil {
			first = err
		}
		return nil
	})
	if first == nil {
		first = err
	}
	if first != nil {
		return closed, fmt.Errorf("cannot take back all that the agent was given in %s: %w", root, first)
	}
	return closed, nil
}

// eachShared calls do for root and the files and directories below, and again,
// with an error, for directories that cannot be read.
func eachShared(ctx context.Context, root string, do func(r *os.File, rel string, d fs.DirEntry, err error) error) error {
	r, err := os.Open(root)
	if err != nil {
		return err
	}
	defer r.Close()
	return eachOf(ctx, root, func(rel string, d fs.DirEntry, err error) error {
		if !d.IsDir() && !d.Type().IsRegular() {
			return nil
		}
		return do(r, rel, d, err)
	})
}

// onACL changes one list of a file or directory. No link is followed on the way
// to it, so that nobody can have another one changed, those in .git among them;
// what is another thing by now, or gone, is left alone.
func onACL(r *os.File, rel string, d fs.DirEntry, list string, change func(acl, fs.FileInfo) acl) error {
	fd, err := unix.Openat2(int(r.Fd()), rel, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS})
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENXIO) {
		return nil
	}
	if err != nil {
		return &fs.PathError{Op: "open", Path: rel, Err: err}
	}
	f := os.NewFile(uintptr(fd), rel)
	defer f.Close()
	fi, err := f.Stat()
	if err != nil || fi.IsDir() != d.IsDir() || !fi.IsDir() && !fi.Mode().IsRegular() {
		return err
	}
	from, err := readACL(f, list)
	if err == nil && len(from) == 0 && list == defaultACL {
		from, err = readACL(f, accessACL) // with one, the mode's group is the mask
		from = from.base()
	}
	if err != nil {
		return &fs.PathError{Op: "read the ACL of", Path: rel, Err: err}
	}
	if len(from) == 0 {
		from = fromMode(fi.Mode())
	}
	changed := change(from, fi)
	if changed.equal(from) {
		return nil
	}
	if err := writeACL(f, list, changed); err != nil {
		return &fs.PathError{Op: "write the ACL of", Path: rel, Err: err}
	}
	return nil
}
