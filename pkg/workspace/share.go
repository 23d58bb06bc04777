package workspace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Share lets uid read and write all files below root, and what will be made
// there, by POSIX ACLs; owner keeps its rights to what uid makes. Its .git and
// what symlinks lead to are left alone. Files of other people are passed over:
// others tells how many.
func Share(ctx context.Context, root string, uid, owner int) (others int, err error) {
	err = eachShared(ctx, root, func(r *os.Root, rel string, d fs.DirEntry) error {
		err := onACL(r, rel, d, accessACL, func(a acl, mode fs.FileMode) acl {
			perm := uint16(6)
			if mode.IsDir() || mode&0o111 != 0 {
				perm = 7
			}
			return a.grant(uid, perm)
		})
		if err == nil && d.IsDir() {
			err = onACL(r, rel, d, defaultACL, func(a acl, _ fs.FileMode) acl { return a.grant(uid, 7).grant(owner, 7) })
		}
		if errors.Is(err, fs.ErrPermission) && rel != "." {
			others++
			return nil
		}
		return err
	})
	if errors.Is(err, unix.ENOTSUP) {
		err = errors.New("its file system has no ACLs")
	}
	if err != nil {
		return others, fmt.Errorf("cannot share %s: %w", root, err)
	}
	return others, nil
}

// Unshare takes back what Share gave to uid. What uid made stays its own, and
// open to owner.
func Unshare(ctx context.Context, root string, uid, owner int) error {
	err := eachShared(ctx, root, func(r *os.Root, rel string, d fs.DirEntry) error {
		err := onACL(r, rel, d, accessACL, func(a acl, _ fs.FileMode) acl { return a.revoke(uid) })
		if err == nil && d.IsDir() {
			err = onACL(r, rel, d, defaultACL, func(a acl, _ fs.FileMode) acl { return a.revoke(uid).revoke(owner) })
		}
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
			return nil // another's, or gone
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot take back what the agent was given in %s: %w", root, err)
	}
	return nil
}

// eachShared calls do for the files and directories below root but its .git.
func eachShared(ctx context.Context, root string, do func(r *os.Root, rel string, d fs.DirEntry) error) error {
	r, err := os.OpenRoot(root)
	if err != nil {
		return err
	}
	defer r.Close()
	return eachOf(ctx, root, func(rel string, d fs.DirEntry) error {
		if rel == ".git" || !d.IsDir() && !d.Type().IsRegular() {
			return nil
		}
		return do(r, rel, d)
	})
}

// onACL changes one list of a file or directory. The file is opened without
// following a link, so that nobody can have another one changed.
func onACL(r *os.Root, rel string, d fs.DirEntry, list string, change func(acl, fs.FileMode) acl) error {
	f, err := r.OpenFile(rel, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
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
	changed := change(from, fi.Mode())
	if changed.equal(from) {
		return nil
	}
	if err := writeACL(f, list, changed); err != nil {
		return &fs.PathError{Op: "write the ACL of", Path: rel, Err: err}
	}
	return nil
}
