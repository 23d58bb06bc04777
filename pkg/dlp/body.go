package dlp

import (
	"fmt"
	"io"
	"mime"
	"strings"
)

// Body scans a body as it passes.
type Body struct {
	q      *Request
	first  func(p []byte) // takes what is written; nil: plain does
	chain  []*inflater    // each writes to the next, the last to the sink
	raw    []*text        // what each was given
	sink   walker
	sniff  []byte
	form   string // the body's media type
	params map[string]string
	in     int64 // bytes as they were sent
	out    int64 // bytes once decoded
}

// walker takes a body's decoded bytes apart.
type walker interface {
	write(p []byte)
	// close ends the body. An error says that it is not what its headers say.
	close() error
}

const (
	sniffed   = 16      // bytes by which a body or a part is told
	bombFloor = 1 << 20 // decoded bytes from which on a ratio is looked at
	bombRatio = 100     // decoded bytes that a byte may become
)

// Body begins to scan a body. The arguments are the values of its headers. The
// error is a *Refusal where the encoding is unknown or the type unreadable.
func (q *Request) Body(contentType, contentEncoding string) (*Body, error) {
	openers, err := decodings(contentEncoding)
	if err != nil {
		q.found(err)
		return nil, err
	}
	b := &q.body
	*b = Body{q: q}
	if simple(contentType) {
		b.form = contentType
	} else if b.form, b.params, err = mime.ParseMediaType(contentType); err != nil {
		b.form, b.params = "", nil
		if strings.HasPrefix(strings.ToLower(strings.TrimSpace(contentType)), "multipart/") {
			err = &Refusal{Unreadable, "its Content-Type is no multipart's"}
			q.found(err)
			return nil, err
		}
	}
	for i := len(openers) - 1; i >= 0; i-- {
		b.undo(openers[i])
	}
	if r := q.rules.fileRule(q.path); r != nil {
		q.foundBy(r.ID, func() *Finding {
			return &Finding{Rule: r.ID, Where: namePlace, Fingerprint: fingerprint(q.key, []byte(q.path))}
		})
	}
	return b, q.err
}

const namePlace = "url.path" // of what is found by a name alone

// simple says whether a media type is one as it stands: in lower case, without a
// parameter.
func simple(s string) bool {
	slash := false
	for i := range len(s) {
		c := s[i]
		slash = slash || c == '/' && i > 0
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '+' || c == '.' || c == '/') {
			return false
		}
	}
	return slash && !strings.HasPrefix(s, "multipart/")
}

// Write scans the next bytes of the body as it was sent. Its error is a
// *Finding or a *Refusal; nothing more may pass then.
func (b *Body) Write(p []byte) (int, error) {
	if b.q.err != nil {
		return 0, b.q.err
	}
	b.in += int64(len(p))
	if b.first == nil {
		b.plain(p)
	} else {
		b.first(p)
	}
	if b.q.err != nil {
		return 0, b.q.err
	}
	return len(p), nil
}

// undo puts a decoding in front of what there is. What is encoded is scanned as
// it is too: formats have room for names, comments and what is to be skipped.
func (b *Body) undo(open opener) {
	out, q := b.first, b.q
	if out == nil {
		out = b.plain
	}
	raw := q.newText(maxDepth)
	raw.mark(mark{up: bodyPlace, index: -1})
	f := q.newInflater(open, func(p []byte) error {
		out(p)
		return q.err
	})
	b.chain = append([]*inflater{f}, b.chain...)
	b.raw = append(b.raw, raw)
	b.first = func(p []byte) {
		raw.write(p)
		if q.err == nil && !f.write(p) && q.err == nil {
			b.undecodable(f.err)
		}
	}
}

// undecodable refuses data that ended, or is not what it is said to be.
func (b *Body) undecodable(err error) {
	if err == io.EOF {
		err = errTrailing
	}
	b.q.found(&Refusal{Unreadable, fmt.Sprintf("it cannot be decoded: %v", err)})
}

// Close ends the body and scans what is left. The body's last byte must not
// pass before Close returned nil.
func (b *Body) Close() error {
	for _, f := range b.chain {
		if err := f.close(); err != nil && b.q.err == nil {
			b.undecodable(err)
		}
	}
	for _, t := range b.raw {
		t.close()
	}
	if b.sink == nil && b.q.err == nil {
		b.choose(b.sniff)
		if b.q.err == nil && len(b.sniff) > 0 {
			b.sink.write(b.sniff)
		}
	}
	if b.sink != nil {
		if err := b.sink.close(); err != nil {
			b.q.found(&Refusal{Unreadable, err.Error()})
		}
	}
	return b.q.err
}

// plain takes decoded bytes.
func (b *Body) plain(p []byte) {
	q := b.q
	b.out += int64(len(p))
	if len(b.chain) > 0 && b.out > bombFloor && b.out > bombRatio*b.in {
		q.found(&Refusal{TooLarge, "it is a bomb"})
	}
	if b.out > q.max {
		q.found(&Refusal{TooLarge, fmt.Sprintf("it has more than %d bytes", q.max)})
	}
	q.grow(len(p))
	if b.sink == nil {
		head := p
		if len(b.sniff) > 0 || !tells(p) {
			if b.sniff = append(b.sniff, p...); !tells(b.sniff) {
				return
			}
			head = b.sniff
		}
		b.choose(head)
		p = head
	}
	for len(p) > 0 && q.err == nil {
		n := min(len(p), block)
		b.sink.write(p[:n])
		p = p[n:]
	}
}

// tells says whether a body's beginning is enough to tell what it is.
func tells(b []byte) bool {
	return len(b) >= sniffed && (len(b) >= 256 || first(b) != 0)
}

// first returns the first byte that is no white space, or 0.
func first(b []byte) byte {
	for _, c := range b {
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' && c != 0xef && c != 0xbb && c != 0xbf {
			return c
		}
	}
	return 0
}

var bodyPlace = &place{key: "body"}

// choose makes the sink that fits a body which begins with head.
func (b *Body) choose(head []byte) {
	t := b.q.newText(0)
	t.joined = b.q.joined
	root := bodyPlace
	if b.q.root != nil {
		root = b.q.root
	}
	if strings.HasPrefix(b.form, "multipart/") {
		b.sink = newMultipart(t, b.params["boundary"])
	} else {
		b.sink = walkerFor(t, root, b.form, head)
	}
}

// walkerFor makes the walker of a body, or of a part of one, by how it begins
// and by what it is said to be: the sender's word, which must hide nothing.
func walkerFor(t *text, root *place, form string, head []byte) walker {
	switch c := first(head); {
	case compression(head) != nil:
	case c == '{' || c == '[' || form == "application/json" || strings.HasSuffix(form, "+json"):
		return newJSON(t, root)
	case form == "application/x-www-form-urlencoded":
		return newForm(t, root)
	}
	w := &plainWalker{t: t}
	t.runMark = mark{up: root, index: -1}
	t.start(mark{up: root, index: -1}, head)
	return w
}

// plainWalker writes bytes as they are.
type plainWalker struct{ t *text }

func (w *plainWalker) write(p []byte) { w.t.more(p) }
func (w *plainWalker) close() error {
	w.t.close()
	return nil
}
