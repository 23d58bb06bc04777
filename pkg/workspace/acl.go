package workspace

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// The extended attributes that the kernel keeps POSIX ACLs in: a version, 2, in
// four bytes, and eight for each entry, little-endian: tag, rights, id. What
// the tags are is in acl(5).
const (
	accessACL  = "system.posix_acl_access"
	defaultACL = "system.posix_acl_default" // of a directory: what is made in it gets this
	aclVersion = 2
	maxACL     = 64 << 10 // bytes; XATTR_SIZE_MAX
)

// aclEntry gives rights, as of ls -l, to whom tag and id name.
type aclEntry struct {
	tag, perm uint16
	id        uint32
}

const (
	aclOwner      uint16 = 0x01
	aclUser       uint16 = 0x02
	aclOwnerGroup uint16 = 0x04
	aclGroup      uint16 = 0x08
	aclMask       uint16 = 0x10
	aclOther      uint16 = 0x20
	aclNobody            = ^uint32(0) // the id of entries that have none
)

// acl is a list in the kernel's order: by tag, then by id.
type acl []aclEntry

// fromMode is what a file without a list has.
func fromMode(mode fs.FileMode) acl {
	p := uint16(mode.Perm())
	return acl{{aclOwner, p >> 6 & 7, aclNobody}, {aclOwnerGroup, p >> 3 & 7, aclNobody}, {aclOther, p & 7, aclNobody}}
}

func (a acl) equal(b acl) bool { return slices.Equal(a, b) }

// grant gives uid these rights, and the mask lets them, and those of groups and
// other users, count.
func (a acl) grant(uid int, perm uint16) acl {
	a = slices.DeleteFunc(slices.Clone(a), func(e aclEntry) bool { return e.tag == aclUser && e.id == uint32(uid) || e.tag == aclMask })
	a = append(a, aclEntry{aclUser, perm, uint32(uid)})
	return a.masked()
}

// revoke takes away what uid was given by name.
func (a acl) revoke(uid int) acl {
	named := func(e aclEntry) bool { return e.tag == aclUser && e.id == uint32(uid) }
	if !slices.ContainsFunc(a, named) {
		return a
	}
	a = slices.DeleteFunc(slices.Clone(a), func(e aclEntry) bool { return named(e) || e.tag == aclMask })
	if slices.ContainsFunc(a, func(e aclEntry) bool { return e.tag == aclUser || e.tag == aclGroup }) {
		return a.masked()
	}
	return a // the rest is a mode again
}

func (a acl) masked() acl {
	var mask uint16
	for _, e := range a {
		if e.tag == aclUser || e.tag == aclOwnerGroup || e.tag == aclGroup {
			mask |= e.perm
		}
	}
	a = append(a, aclEntry{aclMask, mask, aclNobody})
	slices.SortFunc(a, func(x, y aclEntry) int {
		if x.tag != y.tag {
			return int(x.tag) - int(y.tag)
		}
		return int(int64(x.id) - int64(y.id))
	})
	return a
}

func readACL(f *os.File, list string) (acl, error) {
	buf := make([]byte, 512) // 63 entries
	n, err := unix.Fgetxattr(int(f.Fd()), list, buf)
	if errors.Is(err, unix.ERANGE) {
		buf = make([]byte, maxACL)
		n, err = unix.Fgetxattr(int(f.Fd()), list, buf)
	}
	if errors.Is(err, unix.ENODATA) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return decodeACL(buf[:n])
}

func decodeACL(b []byte) (acl, error) {
	if len(b) < 4 || (len(b)-4)%8 != 0 || binary.LittleEndian.Uint32(b) != aclVersion {
		return nil, errors.New("it has another form than this program knows")
	}
	var a acl
	for b = b[4:]; len(b) > 0; b = b[8:] {
		a = append(a, aclEntry{binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint32(b[4:])})
	}
	return a, nil
}

func (a acl) encode() []byte {
	b := binary.LittleEndian.AppendUint32(nil, aclVersion)
	for _, e := range a {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.perm)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return b
}

// base is what of a list a mode says, too.
func (a acl) base() acl {
	return slices.DeleteFunc(slices.Clone(a), func(e aclEntry) bool { return e.tag == aclUser || e.tag == aclGroup || e.tag == aclMask })
}

func writeACL(f *os.File, list string, a acl) error {
	if list == defaultACL && len(a.base()) == len(a) {
		err := unix.Fremovexattr(int(f.Fd()), list)
		if errors.Is(err, unix.ENODATA) {
			return nil
		}
		return err
	}
	return unix.Fsetxattr(int(f.Fd()), list, a.encode(), 0)
}
