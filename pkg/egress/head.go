package egress

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

const maxFields = 256

// errTooLarge is a head beyond maxHead or maxFields.
var errTooLarge = errors.New("the head is too large")

// errMalformed is in the error for bytes that are not a strict HTTP/1 message.
var errMalformed = errors.New("malformed")

type malformedError string

func (e malformedError) Error() string        { return string(e) }
func (e malformedError) Is(target error) bool { return target == errMalformed }

func malformed(format string, args ...any) error {
	if len(args) == 0 {
		return malformedError(format)
	}
	return malformedError(fmt.Sprintf(format, args...))
}

// field is one header field; both slices point into the reader's buffer.
type field struct {
	name, value []byte
	kind        kind
}

// fields are a head's fields, and what they say about the message's framing and
// about this hop.
type fields struct {
	list    []field
	host    []byte
	hosts   int
	length  int64 // -1: there is no Content-Length
	chunked bool
	close   bool // Connection: close
	upgrade bool // it wants another protocol
	expect  []byte
	seconds int // Keep-Alive: timeout=N; 0 where there is none
	// override is the name of a header by which some upstreams take another method
	// or path than the request's line says.
	override []byte
}

// parse reads lines, each ended by CRLF, up to the empty one. The slices of an
// earlier call are reused.
func (f *fields) parse(lines []byte) error {
	*f = fields{list: f.list[:0], length: -1}
	for {
		i := bytes.IndexByte(lines, '\n')
		line := lines[:i-1]
		lines = lines[i+1:]
		if len(line) == 0 {
			break
		}
		if len(f.list) == maxFields {
			return errTooLarge
		}
		if err := f.add(line); err != nil {
			return err
		}
	}
	if f.chunked && f.length >= 0 {
		return malformed("both Content-Length and Transfer-Encoding")
	}
	f.nominate()
	return nil
}

func (f *fields) add(line []byte) error {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 {
		return malformed("a header line without a name")
	}
	name := line[:colon]
	for _, c := range name {
		if !tokenByte[c] {
			// Here land a folded line and a space before the colon too.
			return malformed("a header name that is no token")
		}
	}
	value := trim(line[colon+1:])
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return malformed("a control character in a header")
		}
	}
	x := field{name, value, kindOf(name)}
	if x.kind == kindOverride {
		x.kind, f.override = kindEnd, name
	}
	f.list = append(f.list, x)
	return f.note(x)
}

// note takes in what a field says about framing and this hop.
func (f *fields) note(x field) error {
	switch x.kind {
	case kindHost:
		f.host = x.value
		f.hosts++
	case kindLength:
		if f.length >= 0 {
			return malformed("two Content-Length headers")
		}
		n, ok := decimal(x.value)
		if !ok {
			return malformed("a Content-Length that is no number")
		}
		f.length = n
	case kindTransfer:
		if f.chunked {
			return malformed("two Transfer-Encoding headers")
		}
		if !equalFold(x.value, "chunked") {
			return malformed("a Transfer-Encoding other than chunked")
		}
		f.chunked = true
	case kindConnection:
		eachToken(x.value, func(t []byte) {
			f.close = f.close || equalFold(t, "close")
			f.upgrade = f.upgrade || equalFold(t, "upgrade") || equalFold(t, "http2-settings")
		})
	case kindUpgrade:
		f.upgrade = true
	case kindExpect:
		if f.expect != nil {
			return malformed("two Expect headers")
		}
		f.expect = x.value
	case kindKeepAlive:
		if _, rest, ok := bytes.Cut(x.value, []byte("timeout=")); ok {
			digits := rest[:len(rest)-len(bytes.TrimLeft(rest, "0123456789"))]
			n, _ := strconv.ParseUint(string(digits), 10, 16)
			f.seconds = int(n)
		}
	case kindDisguised:
		return malformed("a header name that others may read as a framing header")
	}
	return nil
}

// nominate drops the fields that Connection names: they are for this hop.
func (f *fields) nominate() {
	for _, c := range f.list {
		if c.kind != kindConnection {
			continue
		}
		eachToken(c.value, func(t []byte) {
			for i := range f.list {
				if f.list[i].kind == kindEnd && bytes.EqualFold(f.list[i].name, t) {
					f.list[i].kind = kindHop
				}
			}
		})
	}
}

// request is a parsed request head.
type request struct {
	fields
	method string
	target []byte
	minor  int // HTTP/1.minor
	// injected is a header line of our own, with its end.
	injected  []byte
	unpacked  bool   // no encoding of the answer's body is accepted
	handshake string // lines of our own that ask for WebSocket, with their ends
}

// parse reads a head as reader.head returns it.
func (q *request) parse(head []byte) error {
	i := bytes.IndexByte(head, '\n')
	if i < 1 {
		return malformed("there is no request line")
	}
	method, rest, ok := bytes.Cut(head[:i-1], []byte(" "))
	target, version, ok2 := bytes.Cut(rest, []byte(" "))
	if !ok || !ok2 || len(target) == 0 {
		return malformed("the request line is not METHOD TARGET VERSION")
	}
	if len(method) == 0 || len(method) > 32 {
		return malformed("the method is no method")
	}
	for _, c := range method {
		if !tokenByte[c] {
			return malformed("the method is no method")
		}
	}
	switch string(version) {
	case "HTTP/1.1":
		q.minor = 1
	case "HTTP/1.0":
		q.minor = 0
	default:
		return malformed("only HTTP/1.1 and HTTP/1.0 are spoken here")
	}
	for _, c := range target {
		if c <= ' ' || c >= 0x7f || c == '#' {
			return malformed("the target has a character that must be encoded")
		}
	}
	q.method, q.target, q.injected, q.unpacked, q.handshake = internMethod(method), target, nil, false, ""
	if err := q.fields.parse(head[i+1:]); err != nil {
		return err
	}
	return q.check()
}

// check refuses what one field does not show.
func (q *request) check() error {
	switch {
	case q.minor == 0 && q.chunked:
		return malformed("HTTP/1.0 with Transfer-Encoding")
	case q.hosts > 1:
		return malformed("more than one Host header")
	case q.hosts == 0 && q.minor == 1:
		return malformed("there is no Host header")
	case q.method == "CONNECT" && (q.chunked || q.length > 0):
		return malformed("CONNECT with a body")
	}
	return nil
}

// hasBody says whether a body follows the head.
func (q *request) hasBody() bool { return q.chunked || q.length > 0 }

// response is a parsed response head.
type response struct {
	fields
	status int
	line   []byte // from the status on: "200 OK"
	minor  int
}

func (p *response) parse(head []byte) error {
	i := bytes.IndexByte(head, '\n')
	if i < 1 {
		return malformed("there is no status line")
	}
	line := head[:i-1]
	switch {
	case bytes.HasPrefix(line, []byte("HTTP/1.1 ")):
		p.minor = 1
	case bytes.HasPrefix(line, []byte("HTTP/1.0 ")):
		p.minor = 0
	default:
		return malformed("it does not answer in HTTP/1")
	}
	p.line = line[len("HTTP/1.1 "):]
	if len(p.line) < 3 || len(p.line) > 3 && p.line[3] != ' ' {
		return malformed("its status is no status")
	}
	status, ok := decimal(p.line[:3])
	if !ok || status < 100 {
		return malformed("its status is no status")
	}
	for _, c := range p.line {
		if c < ' ' && c != '\t' || c == 0x7f {
			return malformed("a control character in its status line")
		}
	}
	p.status = int(status)
	return p.fields.parse(head[i+1:])
}
