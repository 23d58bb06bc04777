package egress

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// call is one request over a line, as an upstream: what is written is a request in
// HTTP/1.1, what is read its answer.
type call struct {
	line   *line
	ctx    context.Context
	cancel context.CancelFunc
	once   sync.Once

	// The writer's, until ready is closed.
	ready chan struct{}
	q     *http.Request
	body  payload
	pipe  *io.PipeWriter // nil: the body came whole with the head

	// The reader's.
	res    *http.Response
	left   []byte // of the answer's head
	answer io.Reader
	since  atomic.Int64 // when a read began that has not returned, in nanoseconds; 0: none
}

// newCall makes an upstream of a place that was reserved on a line.
func newCall(n *line, reused bool) *upstream {
	n.calls.Add(1)
	c := &call{line: n, ready: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return &upstream{place: n.place, conn: c, call: c, in: newReader(c), reused: reused}
}

// Write takes a piece of the request. Its head is written in one piece.
func (c *call) Write(p []byte) (int, error) {
	size := len(p)
	if c.q == nil {
		n, err := c.request(p)
		if err == nil {
			p, err = c.whole(p[n:])
		}
		if err != nil {
			c.cancel() // nobody else ends the wait for an answer
			return 0, err
		}
		close(c.ready)
	}
	if c.pipe == nil {
		return size, nil
	}
	for len(p) > 0 && !c.body.whole() {
		n, data, err := c.body.next(p)
		if err != nil {
			return 0, err
		}
		if _, err := c.pipe.Write(data); len(data) > 0 && err != nil {
			return 0, err
		}
		p = p[n:]
	}
	if c.body.whole() {
		return size, c.finish()
	}
	return size, nil
}

// request takes a head in, and returns its size.
func (c *call) request(p []byte) (int, error) {
	size := bytes.Index(p, []byte("\r\n\r\n")) + len("\r\n\r\n")
	if size < len("\r\n\r\n") {
		return 0, malformed("half a head")
	}
	var q request
	if err := q.parse(p[:size]); err != nil {
		return 0, err
	}
	h := http.Header{}
	setFields(h, &q.fields)
	if _, there := h["User-Agent"]; !there {
		h["User-Agent"] = nil // the library would add its own
	}
	host := string(q.host)
	c.q = (&http.Request{Method: q.method, URL: &url.URL{Scheme: c.line.place.scheme, Host: host, Opaque: opaque(host, string(q.target))}, Host: host,
		Header: h, ContentLength: max(q.length, 0)}).WithContext(c.ctx)
	for _, v := range h["Trailer"] {
		for name := range strings.SplitSeq(v, ",") {
			if c.q.Trailer == nil {
				c.q.Trailer = http.Header{}
			}
			c.q.Trailer[textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name))] = nil
		}
	}
	delete(h, "Trailer")
	h["Te"] = []string{"trailers"} // it is said hop by hop, and gRPC's servers ask for it
	c.body = payload{chunked: q.chunked, left: max(q.length, 0)}
	return size, nil
}

// opaque has a target sent as it is.
func opaque(host, target string) string {
	if strings.HasPrefix(target, "//") {
		return "//" + host + target
	}
	return target
}

// whole takes a body that has come whole behind its head. What is left of p is of
// one that has not.
func (c *call) whole(p []byte) ([]byte, error) {
	var all []byte
	for len(p) > 0 && !c.body.whole() {
		n, data, err := c.body.next(p)
		if err != nil {
			return nil, err
		}
		all, p = append(all, data...), p[n:]
	}
	switch {
	case !c.body.whole():
		c.q.ContentLength = -1
		if !c.body.chunked {
			c.q.ContentLength = int64(len(all)) + c.body.left
		}
		in, out := io.Pipe()
		c.pipe = out
		context.AfterFunc(c.ctx, func() { out.CloseWithError(errStreamEnded) })
		c.q.Body = io.NopCloser(io.MultiReader(bytes.NewReader(all), in))
		return nil, nil
	case len(all) > 0 || len(c.q.Trailer) > 0:
		c.q.ContentLength = int64(len(all))
		c.q.Body = io.NopCloser(bytes.NewReader(all))
		return nil, c.trailers()
	}
	return nil, nil
}

// finish ends the body.
func (c *call) finish() error {
	if err := c.trailers(); err != nil {
		return err
	}
	return c.pipe.Close()
}

func (c *call) trailers() error {
	trailer, err := c.body.trailer()
	for name, values := range trailer {
		if _, declared := c.q.Trailer[name]; declared {
			c.q.Trailer[name] = values
		}
	}
	return err
}

// Read returns what comes of the answer.
func (c *call) Read(p []byte) (int, error) {
	c.since.Store(time.Now().UnixNano())
	defer c.since.Store(0)
	if c.res == nil {
		if err := c.send(); err != nil {
			return 0, err
		}
	}
	if len(c.left) > 0 {
		n := copy(p, c.left)
		c.left = c.left[n:]
		return n, nil
	}
	return c.answer.Read(p)
}

// send sends the request when its head is there, and waits for the answer's.
func (c *call) send() error {
	select {
	case <-c.ready:
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
	sent := false
	c.once.Do(func() { sent = true })
	if !sent {
		return errStreamEnded
	}
	res, err := c.line.conn.RoundTrip(c.q)
	if err != nil {
		return err
	}
	c.res, c.answer = res, res.Body
	chunked := answerChunked(c.q.Method, res)
	if chunked {
		c.answer = &chunker{src: res.Body, trailer: func() http.Header { return res.Trailer }}
	}
	c.left, err = appendAnswer(nil, res, chunked)
	return err
}

// answerChunked says whether an answer's body is read in chunks: its length is not
// told, or fields may follow it.
func answerChunked(method string, res *http.Response) bool {
	return !bodiless(method, res.StatusCode) &&
		(res.ContentLength < 0 || len(res.Trailer) > 0 || res.ContentLength > 0 && strings.HasPrefix(res.Header.Get("Content-Type"), "application/grpc"))
}

// appendAnswer writes an answer's head for response.parse.
func appendAnswer(out []byte, res *http.Response, chunked bool) ([]byte, error) {
	if res.StatusCode < 200 || res.StatusCode > 999 {
		return out, malformed("its status is no status")
	}
	out = append(out, "HTTP/1.1 "...)
	out = strconv.AppendInt(out, int64(res.StatusCode), 10)
	out = append(out, " \r\n"...)
	var err error
	for name, values := range res.Header {
		if name == "Content-Length" {
			continue
		}
		for _, v := range values {
			if out, err = appendText(out, name, v); err != nil {
				return out, err
			}
		}
	}
	for name := range res.Trailer {
		if out, err = appendText(out, "Trailer", name); err != nil {
			return out, err
		}
	}
	return append(appendFraming(out, chunked, res.ContentLength), '\r', '\n'), nil
}

// end ends the call: what has not ended by itself is reset.
func (c *call) end() {
	c.cancel()
	unsent := false
	c.once.Do(func() { unsent = true })
	if unsent {
		c.line.conn.Release()
	}
	if c.res != nil {
		c.res.Body.Close()
	}
	c.line.over()
}

// reset ends the call from outside: the upstream is told that it is not whole, and
// whoever writes waits no more, even where the head is yet to be written.
func (c *call) reset() { c.cancel() }

var errStreamEnded = errors.New("the stream was ended")
