package egress

import (
	"io"
	"net/http"
	"net/textproto"
	"strconv"
)

// What comes over HTTP/2 is written as it would stand in HTTP/1.1, and read
// strictly again: there is one parser, one judge and one scanner. What goes out
// over HTTP/2 takes the way back.

// appendStreamHead writes a request's head for request.parse. What it returns has
// the lines that r has fields, and no others.
func appendStreamHead(out []byte, r *http.Request) ([]byte, error) {
	for _, c := range []byte(r.Method) {
		if !tokenByte[c] {
			return out, malformed("the method is no method")
		}
	}
	for _, c := range []byte(r.RequestURI) {
		if c <= ' ' || c >= 0x7f {
			return out, malformed("the target has a character that must be encoded")
		}
	}
	for _, host := range r.Header["Host"] {
		if host != r.Host {
			return out, malformed("the Host header differs from :authority")
		}
	}
	out = append(out, r.Method...)
	out = append(out, ' ')
	out = append(out, r.RequestURI...)
	out = append(out, " HTTP/1.1\r\n"...)
	var err error
	if r.Host != "" {
		if out, err = appendText(out, "Host", r.Host); err != nil {
			return out, err
		}
	}
	for name, values := range r.Header {
		if name == "Host" || name == "Content-Length" {
			continue
		}
		for _, v := range values {
			if out, err = appendText(out, name, v); err != nil {
				return out, err
			}
		}
	}
	return appendStreamFraming(out, r)
}

// appendStreamFraming writes how the body is framed for us, and ends the head.
func appendStreamFraming(out []byte, r *http.Request) ([]byte, error) {
	lengths := r.Header["Content-Length"]
	if len(lengths) > 1 || len(lengths) == 1 && lengths[0] != strconv.FormatInt(r.ContentLength, 10) {
		return out, malformed("a Content-Length that is not the body's")
	}
	var err error
	for name := range r.Trailer {
		if out, err = appendText(out, "Trailer", name); err != nil {
			return out, err
		}
	}
	chunked := streamChunked(r)
	out = appendFraming(out, chunked, -1)
	if !chunked && (r.ContentLength > 0 || len(lengths) == 1) {
		out = appendFraming(out, false, r.ContentLength)
	}
	return append(out, '\r', '\n'), nil
}

// streamChunked says whether a body is written in chunks: its length is not told,
// or something follows it.
func streamChunked(r *http.Request) bool { return r.ContentLength < 0 || len(r.Trailer) > 0 }

// appendText writes a field as a line of its own.
func appendText(out []byte, name, value string) ([]byte, error) {
	if name == "" {
		return out, malformed("a header line without a name")
	}
	for i := range len(name) {
		if !tokenByte[name[i]] {
			return out, malformed("a header name that is no token")
		}
	}
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return out, malformed("a control character in a header")
		}
	}
	out = append(out, name...)
	out = append(out, ':', ' ')
	out = append(out, value...)
	return append(out, '\r', '\n'), nil
}

// appendTrailer writes the last chunk and what follows it.
func appendTrailer(out []byte, trailer http.Header) ([]byte, error) {
	out = append(out, '0', '\r', '\n')
	var err error
	for name, values := range trailer {
		for _, v := range values {
			if out, err = appendText(out, name, v); err != nil {
				return out, err
			}
		}
	}
	return append(out, '\r', '\n'), nil
}

// setFields puts the fields of a head of ours into h. Framing and this hop's are
// the library's to write; a field with a name of its own meaning to a proxy is
// there since we wrote it.
func setFields(h http.Header, f *fields) {
	for _, x := range f.list {
		switch x.kind {
		case kindEnd, kindHop:
			name := textproto.CanonicalMIMEHeaderKey(string(x.name))
			h[name] = append(h[name], string(x.value))
		}
	}
}

// payload takes the framing of a body of ours off again, as it is written.
type payload struct {
	chunked bool
	left    int64 // where it is not chunked; -1: up to the end
	d       dechunker
}

// next consumes a prefix of p. It returns how much, and the payload in it; call
// it until all of p is consumed, or whole.
func (b *payload) next(p []byte) (n int, data []byte, err error) {
	if b.chunked {
		return b.d.next(p)
	}
	if b.left >= 0 {
		p = p[:min(int64(len(p)), b.left)]
		b.left -= int64(len(p))
	}
	return len(p), p, nil
}

// whole says whether the body came to its end.
func (b *payload) whole() bool {
	return b.chunked && b.d.state == chunkDone || !b.chunked && b.left == 0
}

// trailer returns the fields behind the body.
func (b *payload) trailer() (http.Header, error) {
	if len(b.d.trailer) <= len("\r\n") {
		return nil, nil
	}
	var f fields
	if err := f.parse(b.d.trailer); err != nil {
		return nil, err
	}
	h := http.Header{}
	setFields(h, &f)
	return h, nil
}

// chunker reads src as a chunked body, which is never held up: each read is a
// chunk.
type chunker struct {
	src     io.Reader
	trailer func() http.Header // asked at src's end
	left    []byte             // what is to come before more of src
	ended   bool
}

const (
	chunkHead = len("00000000\r\n")
	chunkTail = len("\r\n")
	chunkRoom = 256 // less is not worth a chunk of its own
)

func (c *chunker) Read(p []byte) (int, error) {
	if len(c.left) == 0 && !c.ended && len(p) < chunkRoom {
		small := make([]byte, chunkRoom)
		n, err := c.chunk(small)
		if err != nil {
			return 0, err
		}
		if n > 0 {
			c.left = small[:n]
		}
	}
	if len(c.left) == 0 && !c.ended {
		if n, err := c.chunk(p); n > 0 || err != nil {
			return n, err
		}
	}
	if len(c.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.left)
	c.left = c.left[n:]
	return n, nil
}

// chunk reads one chunk into p, or, at src's end, nothing: what is left then is in
// left.
func (c *chunker) chunk(p []byte) (int, error) {
	n, err := c.src.Read(p[chunkHead : len(p)-chunkTail])
	if n > 0 {
		const digits = "0123456789abcdef"
		for i, size := chunkHead-3, n; i >= 0; i, size = i-1, size>>4 {
			p[i] = digits[size&0xf]
		}
		copy(p[chunkHead-2:], "\r\n")
		copy(p[chunkHead+n:], "\r\n")
		return chunkHead + n + chunkTail, nil // an error will come again
	}
	if err == io.EOF {
		c.ended = true
		c.left, err = appendTrailer(nil, c.trailer())
	}
	return 0, err
}
