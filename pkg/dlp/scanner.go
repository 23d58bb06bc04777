package dlp

import (
	"slices"
	"strings"
	"sync"
)

// Options are a Scanner's.
type Options struct {
	// Key makes fingerprints incomparable between those who have different ones.
	Key []byte
	// MaxDecoded is how many bytes a body may have once its Content-Encoding is
	// undone, and again how many may be decoded in it. Zero: 32 MiB.
	MaxDecoded int64
}

// Scanner holds rules and known secrets. It may be used by many at once.
type Scanner struct {
	rules *Rules
	known *needles
	key   []byte
	max   int64
	texts sync.Pool
	spare sync.Pool // of *Request
}

// New makes a Scanner. An error names the secret that is too short.
func New(rules *Rules, known []Known, o Options) (*Scanner, error) {
	n, err := newNeedles(known)
	if err != nil {
		return nil, err
	}
	if o.MaxDecoded <= 0 {
		o.MaxDecoded = 32 << 20
	}
	return &Scanner{rules: rules, known: n, key: o.Key, max: o.MaxDecoded}, nil
}

// Exception lets a rule's findings pass in requests below a path. It holds for
// no known secret.
type Exception struct {
	Rule string // an ID, exactly
	Path string // a prefix that ends at a segment; empty: all paths
}

// Policy is what the caller knows of a request before it is scanned.
type Policy struct {
	Host string // in lower case
	// Model: the host is the agent's model. Rules of class Format alone are tried.
	Model bool
	Allow []Exception
}

// Request scans one request. It is not to be used by two at once.
type Request struct {
	rules  *Rules
	known  *needles
	key    []byte
	pool   *sync.Pool
	policy Policy
	path   string
	inHead bool
	root   *place // of the body; nil: it is a request's
	joined uint32 // how far into known secrets what came before the body has led
	halves halves
	passed []Passed
	err    error // the first finding or refusal
	// What may be spent yet: bytes that expressions may look at, and bytes that
	// may be decoded.
	work, room int64
	max        int64
	texts      []*text
	inflaters  []*inflater
	spare      *sync.Pool
	// What most requests need once.
	places []place // places of this request, for as long as there is room
	body   Body
	json   jsonWalker
	busy   bool // json is in use
}

// place returns a place that lives as long as the request.
func (q *Request) place(p place) *place {
	if len(q.places) == cap(q.places) {
		q.places = make([]place, 0, 32) // those before stay where they are
	}
	q.places = append(q.places, p)
	return &q.places[len(q.places)-1]
}

// Request begins to scan a request.
func (s *Scanner) Request(p Policy) *Request {
	q, _ := s.spare.Get().(*Request)
	if q == nil {
		q = &Request{}
	}
	*q = Request{rules: s.rules, known: s.known, key: s.key, pool: &s.texts, spare: &s.spare, policy: p, work: workFloor, room: roomFloor, max: s.max,
		texts: q.texts[:0], places: q.places[:0], json: jsonWalker{stack: q.json.stack[:0], name: q.json.name[:0], escaped: q.json.escaped[:0], cache: q.json.cache}}
	return q
}

const (
	workFloor = 512 << 10
	roomFloor = 1 << 20
	workRatio = 2  // bytes that expressions may look at, a byte of the body
	roomRatio = 16 // bytes that may be decoded, a byte of the body
)

// grow allows for n more bytes of the body.
func (q *Request) grow(n int) {
	q.work += workRatio * int64(n)
	q.room += roomRatio * int64(n)
}

// spend says whether an expression may look at n more bytes.
func (q *Request) spend(n int) bool {
	if q.work -= int64(n); q.work < 0 {
		q.found(&Refusal{TooDense, "too much in it looks like a secret from afar"})
		return false
	}
	return true
}

// decoded says whether n more bytes may be decoded.
func (q *Request) decoded(n int) bool {
	q.room -= int64(n)
	if q.room < 0 {
		q.found(&Refusal{TooLarge, "too much is encoded in it, or a bomb"})
		return false
	}
	return true
}

// found records the first finding or refusal.
func (q *Request) found(err error) {
	if q.err == nil {
		q.err = err
	}
}

// foundBy records what a rule found, unless an exception lets it pass.
func (q *Request) foundBy(rule string, finding func() *Finding) {
	for i, e := range q.policy.Allow {
		if e.Rule != rule || !below(q.path, e.Path) {
			continue
		}
		if !slices.ContainsFunc(q.passed, func(p Passed) bool { return p.Exception == i }) {
			q.passed = append(q.passed, Passed{i, finding()})
		}
		return
	}
	q.found(finding())
}

// Passed is a finding that an exception let pass.
type Passed struct {
	Exception int // its index in Policy.Allow
	Finding   *Finding
}

// Passed returns the first finding that each exception let pass so far, in the
// order in which they were found. Of exceptions for the same the first one does.
func (q *Request) Passed() []Passed { return q.passed }

// below says whether a path is at or below a prefix that ends at a segment.
func below(path, prefix string) bool {
	prefix = strings.TrimSuffix(prefix, "/")
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || rest[0] == '/')
}

// The texts in which rules of a class are tried.
type classSet uint8

const (
	formatOnly classSet = iota // format; in a head those services' that say so
	allClasses
)

// newText returns an empty text at a depth of decoding.
func (q *Request) newText(depth int) *text {
	t, _ := q.pool.Get().(*text)
	if t == nil {
		t = &text{}
	}
	t.q, t.depth = q, depth
	if depth == 0 && !q.inHead && !q.policy.Model {
		t.classes = allClasses
	}
	q.texts = append(q.texts, t)
	return t
}

const maxMarks = 2048 // that a text may keep for the next

// Close gives back what the scan held, at whatever point it ended; once. The
// request's findings stay valid, and nothing else of it.
func (q *Request) Close() {
	for _, f := range q.inflaters {
		f.stop()
	}
	q.inflaters = nil
	for _, t := range q.texts {
		if cap(t.buf) > 4*block || cap(t.marks) > maxMarks {
			continue
		}
		*t = text{buf: t.buf[:0], marks: t.marks[:0], open: t.open[:0], scratch: t.scratch}
		q.pool.Put(t)
	}
	clear(q.texts)
	q.texts = q.texts[:0]
	q.spare.Put(q)
}
