package egress

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// link is what a client's bytes come over: a connection of its own, or one stream
// of many.
type link interface {
	expire()    // ends the read under way and all that come
	gone() bool // the other side has closed its end
	// attend calls gone once that is so, until it is stopped. Nothing else may read
	// meanwhile.
	attend(gone func()) (stop func())
	Close() error
	SetWriteDeadline(time.Time) error
}

// h2stream is a request that came over HTTP/2. Its client reads and writes
// HTTP/1.1: what it writes is an answer, which goes out as the library takes it.
type h2stream struct {
	w       http.ResponseWriter
	r       *http.Request
	control *http.ResponseController

	head  response
	began bool // the answer's head went out
	out   payload
	text  []byte      // the request's head
	read  atomic.Bool // the request has come in whole
	// When a read, or a write, began that has not returned, in nanoseconds; 0: none.
	reading, writing atomic.Int64

	mu    sync.Mutex
	ended bool // w must not be used any more
}

// body returns what stands behind the request's head.
func (st *h2stream) body() io.Reader {
	in := &incoming{st: st, left: st.r.ContentLength}
	if !streamChunked(st.r) {
		st.read.Store(in.left == 0)
		return in
	}
	return &chunker{src: in, trailer: func() http.Header { return st.r.Trailer }}
}

// incoming reads a stream's body and notes its end.
type incoming struct {
	st   *h2stream
	left int64 // -1: nobody knows
}

func (in *incoming) Read(p []byte) (int, error) {
	in.st.reading.Store(time.Now().UnixNano())
	n, err := in.st.r.Body.Read(p)
	in.st.reading.Store(0)
	if in.left > 0 {
		in.left -= int64(n)
	}
	if err != nil || in.left == 0 {
		in.st.read.Store(true)
	}
	return n, err
}

// request returns the request's head. A short body is waited for, so that it is
// scanned and sent in one piece.
func (st *h2stream) request(in *reader) ([]byte, error) {
	var err error
	if st.text, err = appendStreamHead(getBuf(), st.r); err != nil {
		return nil, err
	}
	st.r.Header = nil // a head may be large, and this one is not looked at again
	if n := st.r.ContentLength; !streamChunked(st.r) && n <= prefill {
		for int64(len(in.buffered())) < n {
			if err := in.fill(); err != nil {
				return nil, noEOF(err)
			}
		}
	}
	return st.text, nil
}

// Read is the reader's, which has a body's own.
func (st *h2stream) Read([]byte) (int, error) { return 0, io.EOF }

// Write takes a piece of the answer. A head is written in one piece.
func (st *h2stream) Write(p []byte) (int, error) {
	size := len(p)
	st.writing.Store(time.Now().UnixNano())
	defer st.writing.Store(0)
	if !st.began {
		n, err := st.answer(p)
		if err != nil || !st.began {
			return n, err
		}
		p = p[n:]
	}
	for len(p) > 0 && !st.out.whole() {
		n, data, err := st.out.next(p)
		if err != nil {
			return 0, err
		}
		if p = p[n:]; len(data) == 0 {
			continue
		}
		if _, err := st.w.Write(data); err != nil {
			return 0, err
		}
	}
	if st.out.whole() && st.read.Load() {
		return size, nil // the library sends what is left with the end of the stream
	}
	return size, st.control.Flush()
}

// answer takes a head in, and returns its size.
func (st *h2stream) answer(p []byte) (int, error) {
	size := bytes.Index(p, []byte("\r\n\r\n")) + len("\r\n\r\n")
	if size < len("\r\n\r\n") {
		return 0, malformed("half a head")
	}
	if err := st.head.parse(p[:size]); err != nil {
		return 0, err
	}
	h := st.w.Header()
	setFields(h, &st.head.fields)
	if st.head.status < 200 {
		st.w.WriteHeader(st.head.status)
		clear(h)
		return size, nil
	}
	for _, name := range []string{"Date", "Content-Type"} { // the library would add them
		if _, there := h[name]; !there {
			h[name] = nil
		}
	}
	bare := bodiless(st.r.Method, st.head.status)
	st.out = payload{chunked: st.head.chunked, left: st.head.length}
	if bare {
		st.out = payload{}
	}
	if st.head.length >= 0 {
		h["Content-Length"] = []string{strconv.FormatInt(st.head.length, 10)}
	}
	st.began = true
	st.w.WriteHeader(st.head.status)
	clear(h) // what stands in it at the end is trailers
	return size, nil
}

// end ends the answer, and says whether there is one.
func (st *h2stream) end() bool {
	st.mu.Lock()
	st.ended = true
	st.mu.Unlock()
	putBuf(st.text)
	if !st.began {
		return false
	}
	trailer, err := st.out.trailer()
	for name, values := range trailer {
		st.w.Header()[http.TrailerPrefix+name] = values
	}
	return err == nil
}

func (st *h2stream) expire() { st.r.Body.Close() }

func (st *h2stream) gone() bool { return st.r.Context().Err() != nil }

func (st *h2stream) attend(gone func()) (stop func()) {
	over := context.AfterFunc(st.r.Context(), gone)
	return func() { over() }
}

// tidy ends a stream whose client sends or takes nothing for too long.
func (st *h2stream) tidy(now time.Time) {
	if stale(&st.reading, now) || stale(&st.writing, now) {
		st.Close()
	}
}

// Close resets the stream.
func (st *h2stream) Close() error { return st.SetWriteDeadline(past) }

func (st *h2stream) SetWriteDeadline(t time.Time) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.ended {
		return nil
	}
	return st.control.SetWriteDeadline(t)
}
