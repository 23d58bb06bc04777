package dlp

import "slices"

// Object scans something that is kept, not sent: a file, a message, a name.
type Object struct {
	q *Request
	b *Body
}

// objectRoom is how many bytes may be decoded in a small object.
const objectRoom = 64 << 20

// AnyName stands for every name that an object may have: rules for some are tried.
// What is clean by it is so by any name, if that is clean by Name.
const AnyName = "\x00"

// Name scans the name of an object alone. Its error is a *Finding.
func (s *Scanner) Name(name string) error {
	if r := s.rules.fileRule(name); r != nil {
		return &Finding{Rule: r.ID, Where: namePlace, Fingerprint: fingerprint(s.key, []byte(name))}
	}
	return nil
}

// Object begins to scan an object by the name it has; empty: none is known.
// Rules of these IDs are left out. Nothing is said about it by headers: what it
// is is told by how it begins. Write and Close return a *Finding or a *Refusal;
// the object's last byte is scanned by Close. Whoever is done calls Release.
func (s *Scanner) Object(name string, without []string) *Object {
	q := s.Request(Policy{})
	for _, id := range without {
		q.policy.Allow = append(q.policy.Allow, Exception{Rule: id, Path: name})
	}
	q.path = name
	q.room = objectRoom    // what is kept is packed better than what is sent
	b, _ := q.Body("", "") // what it finds by the name stays, and Write tells
	if b == nil {
		b = &Body{q: q}
		b.first = b.plain
	}
	return &Object{q: q, b: b}
}

// Write scans the next bytes.
func (o *Object) Write(p []byte) (int, error) { return o.b.Write(p) }

// Close ends the object.
func (o *Object) Close() error {
	if o.q.err != nil {
		return o.q.err
	}
	return o.b.Close()
}

// Release gives back what the scan held.
func (o *Object) Release() { o.q.Close() }

// ClassIDs returns the IDs of the rules of a class, sorted.
func (rs *Rules) ClassIDs(c Class) []string {
	var ids []string
	for _, r := range rs.list {
		if r.Class == c && !slices.Contains(ids, r.ID) {
			ids = append(ids, r.ID)
		}
	}
	slices.Sort(ids)
	return ids
}
