package dlp

import (
	"bytes"
	"errors"
	"mime"
	"strconv"
	"strings"
)

// multipartWalker takes a multipart body apart: its parts' headers, file names
// and contents. It is strict: what it cannot read, another may read otherwise.
type multipartWalker struct {
	t     *text
	delim []byte // LF, two hyphens and the boundary
	buf   []byte
	state multipartState
	part  walker // of the part that it is in
	head  []byte // of a part, while it is too little to tell what it is
	lead  bool   // the LF behind a part's header has not been taken
	place *place
	form  string
	parts int
	err   error
}

type multipartState uint8

const (
	partPreamble multipartState = iota
	partLine                    // the rest of a delimiter's line
	partHeader
	partData
	partEpilogue
)

const (
	maxPartHeader = 16 << 10
	maxBoundary   = 70 // RFC 2046, 5.1.1
)

func newMultipart(t *text, boundary string) *multipartWalker {
	w := &multipartWalker{t: t, delim: []byte("\n--" + boundary), buf: []byte{'\n'}, place: bodyPlace}
	if boundary == "" || len(boundary) > maxBoundary {
		w.err = errors.New("its boundary is missing or too long")
	}
	t.mark(mark{up: bodyPlace, index: -1, kind: kindGap})
	return w
}

func (w *multipartWalker) write(p []byte) {
	w.buf = append(w.buf, p...)
	for w.err == nil && w.t.q.err == nil && w.step() {
	}
	if w.err != nil {
		w.t.q.found(&Refusal{Unreadable, w.err.Error()})
	}
}

// take removes n bytes from what is to be read, and scans them where they are
// no part's content.
func (w *multipartWalker) take(n int) []byte {
	b := w.buf[:n]
	w.buf = w.buf[n:]
	if w.state != partData {
		w.t.write(b)
	}
	return b
}

// step reads on. It says whether there may be more to read already.
func (w *multipartWalker) step() bool {
	switch w.state {
	case partPreamble, partData:
		return w.data()
	case partLine:
		return w.line()
	case partHeader:
		return w.header()
	}
	w.take(len(w.buf))
	return false
}

// data reads up to the next delimiter.
func (w *multipartWalker) data() bool {
	i := bytes.Index(w.buf, w.delim)
	if i < 0 {
		if n := len(w.buf) - len(w.delim) - 1; n > 0 {
			w.content(w.take(n))
		}
		return false
	}
	n := i
	if n > 0 && w.buf[n-1] == '\r' {
		n--
	}
	w.content(w.take(n))
	w.closePart()
	w.state = partLine
	w.t.mark(mark{up: bodyPlace, index: -1, kind: kindGap})
	w.take(i + len(w.delim) - n)
	return true
}

// content takes a part's next bytes. The first is the LF behind its header.
func (w *multipartWalker) content(p []byte) {
	if w.state != partData || len(p) == 0 {
		return
	}
	if w.lead {
		w.t.write(p[:1])
		p, w.lead = p[1:], false
		w.t.mark(mark{up: w.place, index: -1})
	}
	if w.part == nil {
		if w.head = append(w.head, p...); len(w.head) < sniffed {
			return
		}
		p = w.choose()
	}
	w.part.write(p)
}

// choose makes the part's walker, and returns what it is to be given first.
func (w *multipartWalker) choose() []byte {
	w.part = walkerFor(w.t, w.place, w.form, w.head)
	head := w.head
	w.head = nil
	return head
}

// closePart ends a part. The text goes on.
func (w *multipartWalker) closePart() {
	if len(w.head) > 0 {
		head := w.choose()
		w.part.write(head)
	}
	if f, ok := w.part.(interface{ flush() }); ok {
		f.flush()
	}
	if w.t.inflating != nil {
		w.t.inflating.close()
		w.t.inflating = nil
	}
	w.part = nil
}

// line reads what follows a delimiter: two hyphens at the end of all, or spaces.
func (w *multipartWalker) line() bool {
	if len(w.buf) >= 2 && w.buf[0] == '-' && w.buf[1] == '-' {
		w.state = partEpilogue
		return true
	}
	i := bytes.IndexByte(w.buf, '\n')
	if i < 0 {
		if len(w.buf) > maxBoundary {
			w.err = errors.New("a part's delimiter is too long")
		}
		return false
	}
	if len(bytes.Trim(w.buf[:i], " \t\r")) > 0 {
		w.err = errors.New("a part's delimiter goes on")
		return false
	}
	w.take(i)
	w.state = partHeader
	return true
}

// header reads a part's header; buf begins with the LF of the line before.
func (w *multipartWalker) header() bool {
	n := 0
	for {
		i := bytes.IndexByte(w.buf[n+1:], '\n')
		if i < 0 {
			if len(w.buf) > maxPartHeader {
				w.err = errors.New("a part's header is too long")
			}
			return false
		}
		line := bytes.TrimRight(w.buf[n+1:n+1+i], "\r")
		n += i + 1
		if len(line) == 0 {
			break
		}
	}
	// The LF of the empty line stays: a delimiter may follow at once.
	w.read(w.buf[1:n])
	w.take(n)
	w.state, w.lead = partData, true
	return w.err == nil
}

// read reads a part's header lines.
func (w *multipartWalker) read(lines []byte) {
	w.parts++
	name, file := strconv.Itoa(w.parts), ""
	w.form = ""
	for line := range strings.SplitSeq(strings.TrimSuffix(string(lines), "\r"), "\n") {
		line = strings.TrimRight(line, "\r")
		key, value, ok := strings.Cut(line, ":")
		if !ok && line != "" {
			w.err = errors.New("a part's header has a line without a name")
			return
		}
		switch strings.ToLower(strings.TrimSpace(key)) {
		case "content-disposition":
			_, params, err := mime.ParseMediaType(value)
			if err != nil {
				w.err = errors.New("a part's Content-Disposition is malformed")
				return
			}
			if n := params["name"]; n != "" {
				name = n
			}
			file = params["filename"]
		case "content-type":
			w.form, _, _ = mime.ParseMediaType(value)
		}
	}
	w.place = &place{up: bodyPlace, key: name, file: file}
	w.t.mark(mark{up: w.place, key: "header", index: -1, kind: kindValue})
	if file != "" {
		w.named(file)
	}
}

// named scans a file's name.
func (w *multipartWalker) named(file string) {
	m := mark{up: w.place, key: "filename", index: -1}
	w.t.mark(m)
	w.t.write([]byte("\n" + file + "\n"))
	q := w.t.q
	if r := q.rules.fileRule(file); r != nil {
		q.foundBy(r.ID, func() *Finding {
			return &Finding{Rule: r.ID, Where: m.where([]byte(file)), Fingerprint: fingerprint(q.key, []byte(file))}
		})
	}
	w.t.mark(mark{up: w.place, key: "header", index: -1, kind: kindValue})
}

func (w *multipartWalker) close() error {
	if w.err == nil && w.t.q.err == nil && w.state != partEpilogue {
		w.err = errors.New("it ends within a part")
	}
	w.t.close()
	return w.err
}
