package egress

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestConnectionsAreKeptOnBothSides(t *testing.T) {
	w := newWorld(t)
	w.serve("a.example:443", http.HandlerFunc(hello))
	c := w.agent()
	opened := 0
	for i := range 20 {
		method, body := "GET", ""
		if i%2 == 1 {
			method, body = "POST", strings.Repeat("x", i*1000)
		}
		req, _ := http.NewRequest(method, "https://a.example/", strings.NewReader(body))
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
			if !i.Reused {
				opened++
			}
		}}))
		r, err := c.Do(req)
		must(t, err)
		got, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if string(got) != fmt.Sprintf("%s a.example / %d", method, len(body)) {
			t.Errorf("%q", got)
		}
	}
	if n := len(w.dialled()); n != 1 || opened != 1 {
		t.Errorf("%d connections from the client, %d upstream; want 1 and 1", opened, n)
	}
}

func TestEventsOfAStreamArriveWhenTheyAreSent(t *testing.T) {
	w := newWorld(t)
	next := make(chan struct{})
	w.serve("a.example:443", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		for i := range 50 {
			fmt.Fprintf(rw, "data: %d\n\n", i)
			rw.(http.Flusher).Flush()
			<-next // the next event is not sent before this one has been seen
		}
	}))
	r, err := w.agent().Post("https://a.example/v1/messages", "application/json", strings.NewReader("{}"))
	must(t, err)
	defer r.Body.Close()
	lines := bufio.NewReader(r.Body)
	for i := range 50 {
		line, err := lines.ReadString('\n')
		must(t, err)
		if line != fmt.Sprintf("data: %d\n", i) {
			t.Fatalf("event %d is %q", i, line)
		}
		lines.ReadString('\n')
		next <- struct{}{}
	}
	if _, err := lines.ReadByte(); err != io.EOF {
		t.Error(err)
	}
}

func TestBodiesPassUnchangedInBothFramings(t *testing.T) {
	w := newWorld(t)
	w.serve("a.example:443", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		rw.Header().Set("X-Chunked", fmt.Sprint(r.ContentLength < 0))
		rw.Header().Set("Trailer", "X-Sum")
		if r.Header.Get("X-Sized") != "" {
			rw.Header().Set("Content-Length", fmt.Sprint(len(data)))
		}
		for len(data) > 0 {
			n := min(len(data), 7001)
			rw.Write(data[:n])
			data = data[n:]
		}
		rw.Header().Set("X-Sum", "sum"+r.Trailer.Get("X-In"))
	}))
	c := w.agent()
	payload := bytes.Repeat([]byte("0123456789abcdef\r\n"), 60_000)
	for _, size := range []int{0, 1, 1000, 16 << 10, 17 << 10, 64 << 10, 1 << 20} {
		for _, chunked := range []bool{true, false} {
			var body io.Reader = bytes.NewReader(payload[:size])
			if chunked {
				body = io.MultiReader(body)
			}
			req, _ := http.NewRequest("POST", "https://a.example/", body)
			if chunked {
				req.Trailer = http.Header{"X-In": {"42"}}
			} else {
				req.Header.Set("X-Sized", "1")
			}
			r, err := c.Do(req)
			must(t, err)
			got, err := io.ReadAll(r.Body)
			r.Body.Close()
			if err != nil || !bytes.Equal(got, payload[:size]) || r.Header.Get("X-Chunked") != fmt.Sprint(chunked) {
				t.Fatalf("size %d, chunked %v: %d bytes came back, %v, %v", size, chunked, len(got), err, r.Header)
			}
			if chunked && r.Trailer.Get("X-Sum") != "sum42" {
				t.Errorf("trailers %v", r.Trailer)
			}
		}
	}
}

func TestExpectIsAnsweredByTheUpstream(t *testing.T) {
	w := newWorld(t)
	w.serve("a.example:443", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			rw.WriteHeader(413)
			return
		}
		hello(rw, r)
	}))
	for path, status := range map[string]int{"/yes": 200, "/no": 413} {
		read := false
		body := readFunc(func(p []byte) (int, error) {
			if read {
				return 0, io.EOF
			}
			read = true
			return copy(p, "body"), nil
		})
		req, _ := http.NewRequest("POST", "https://a.example"+path, body)
		req.ContentLength = 4
		req.Header.Set("Expect", "100-continue")
		r, err := w.agent().Do(req)
		must(t, err)
		r.Body.Close()
		if r.StatusCode != status || read != (status == 200) {
			t.Errorf("%s: %s, body read: %v", path, r.Status, read)
		}
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

func TestLargeBodiesUseLittleMemory(t *testing.T) {
	w := newWorld(t)
	w.write(testRoutes + "max_body: 64MiB\n")
	must(t, w.s.Reload())
	const size = 64 << 20
	sum := sha256.New()
	w.serve("a.example:443", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		io.Copy(sum, r.Body)
		io.CopyN(rw, zeros{}, size)
	}))
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	c := w.agent()
	c.Timeout = 2 * time.Minute // all of it is scanned
	r, err := c.Post("https://a.example/", "application/octet-stream", io.LimitReader(zeros{}, size))
	must(t, err)
	n, err := io.Copy(io.Discard, r.Body)
	r.Body.Close()
	runtime.ReadMemStats(&after)
	if err != nil || n != size {
		t.Fatalf("%d bytes, %v", n, err)
	}
	want := sha256.New()
	io.CopyN(want, zeros{}, size)
	if !bytes.Equal(sum.Sum(nil), want.Sum(nil)) {
		t.Error("the upload was changed")
	}
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 32<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
	if e := w.event("request"); e.Sent != size || e.Recv != size {
		t.Errorf("event %+v", e)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestManyPostsNoneLost(t *testing.T) {
	w := newWorld(t)
	w.serve("a.example:443", http.HandlerFunc(hello))
	var wg sync.WaitGroup
	var failed atomic.Int32
	for worker := range 8 {
		wg.Go(func() {
			c := w.agent()
			for i := range 250 {
				size := (worker*250 + i) * 37 % 40_000
				r, err := c.Post("https://a.example/", "text/plain", strings.NewReader(strings.Repeat("x", size)))
				if err != nil {
					failed.Add(1)
					t.Error(err)
					return
				}
				body, err := io.ReadAll(r.Body)
				r.Body.Close()
				if err != nil || string(body) != fmt.Sprintf("POST a.example / %d", size) {
					failed.Add(1)
					t.Errorf("%s %q %v", r.Status, body, err)
				}
			}
		})
	}
	wg.Wait()
	if n := failed.Load(); n > 0 {
		t.Errorf("%d of 2,000 failed", n)
	}
}
