package dlp

import (
	"bytes"
	"slices"
)

// LastHead scans the heads of one connection's requests. Most clients send the
// same head again and again: one that is the last one to the byte, for the same
// policy, rules and known secrets, is not looked through again where that one held
// nothing, no half of a secret either. The zero value knows no head, and nil never
// does. It is not to be used by two at once.
type LastHead struct {
	rules      *Rules // nil: no head is known
	known      *needles
	host       string
	model      bool
	target     []byte
	fields     []Field // all of their bytes, and target's, are in bytes
	bytes      []byte
	path       string
	work, room int64 // what the scan left of both
}

// maxLastHead is how many bytes of a head are kept.
const maxLastHead = 4 << 10

// Head is q.Head, where nothing of q was scanned before.
func (l *LastHead) Head(q *Request, target []byte, fields []Field) error {
	if l == nil || !q.untouched() {
		return q.Head(target, fields)
	}
	if l.is(q, target, fields) {
		q.path, q.work, q.room = l.path, l.work, l.room
		return nil
	}
	err := q.Head(target, fields)
	l.rules = nil
	if err == nil && len(q.halves.ends) == 0 && len(q.halves.begins) == 0 {
		l.keep(q, target, fields)
	}
	return err
}

// untouched says whether a head that is scanned now is scanned by policy, rules and
// known secrets alone: nothing came before it, and no exception may be needed.
func (q *Request) untouched() bool {
	return len(q.texts) == 0 && q.root == nil && q.err == nil && len(q.policy.Allow) == 0
}

func (l *LastHead) is(q *Request, target []byte, fields []Field) bool {
	return l.rules != nil && l.rules == q.rules && l.known == q.known && l.host == q.policy.Host && l.model == q.policy.Model &&
		bytes.Equal(l.target, target) && slices.EqualFunc(l.fields, fields, func(a, b Field) bool {
		return a.Credential == b.Credential && bytes.Equal(a.Name, b.Name) && bytes.Equal(a.Value, b.Value)
	})
}

// keep takes in a head that q has scanned.
func (l *LastHead) keep(q *Request, target []byte, fields []Field) {
	size := len(target)
	for _, f := range fields {
		size += len(f.Name) + len(f.Value)
	}
	if size > maxLastHead {
		return
	}
	l.bytes = slices.Grow(l.bytes[:0], size) // so that it stays where it is
	held := func(b []byte) []byte {
		l.bytes = append(l.bytes, b...)
		return l.bytes[len(l.bytes)-len(b):]
	}
	l.target, l.fields = held(target), l.fields[:0]
	for _, f := range fields {
		l.fields = append(l.fields, Field{Name: held(f.Name), Value: held(f.Value), Credential: f.Credential})
	}
	l.rules, l.known, l.host, l.model = q.rules, q.known, q.policy.Host, q.policy.Model
	l.path, l.work, l.room = q.path, q.work, q.room
}
