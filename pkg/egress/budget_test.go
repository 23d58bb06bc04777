package egress

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"bottle/pkg/sidecar"
)

// whole takes all of the budget and gives it back: nobody else holds a share.
func (b budget) whole(t *testing.T) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if b.left.Acquire(ctx, scanMemory) != nil {
		return false
	}
	b.release(scanMemory)
	return true
}

func TestWithoutMemoryToScanNothingPasses(t *testing.T) {
	w := newWorldWith(t, Config{Secrets: &sidecar.Secrets{}, Out: t.TempDir(), HeadTime: 2 * time.Second})
	arrived := make(chan string, 1)
	w.serve("a.example:443", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { arrived <- r.URL.Path }))
	if !w.s.scans.take(t.Context(), scanMemory) {
		t.Fatal("somebody scans already")
	}
	code, header, text := post(t, w.agent(), "https://a.example/early", []byte("hello"), false)
	if code != 503 || header.Get("X-Bottle-Blocked") != "" || !strings.Contains(text, "memory") {
		t.Errorf("%d %s %s", code, header, text)
	}
	w.s.scans.release(scanMemory)
	if code, _, text := post(t, w.agent(), "https://a.example/late", []byte("hello"), false); code != 200 || <-arrived != "/late" {
		t.Errorf("with memory again: %d %s", code, text)
	}
}

func TestAScanHoldsMemoryNoLongerThanItsRequestLasts(t *testing.T) {
	w, _ := scanWorld(t)
	c := w.agent()
	during := make(chan bool, 1)
	w.serve("a.example:443", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		rw.(http.Flusher).Flush() // the answer has begun, and goes on
		during <- w.s.scans.whole(t)
	}))
	for name, body := range map[string]string{"none": "", "little": "hello", "much": strings.Repeat("all is well. ", 4000)} {
		for _, chunked := range []bool{false, true} {
			post(t, c, "https://a.example/", []byte(body), chunked && body != "")
			if !<-during {
				t.Errorf("body %s, chunked %t: the scan holds memory while the answer goes on", name, chunked)
			}
		}
	}
	// However a request ends.
	for _, header := range [][]string{nil, {"Content-Encoding", "br"}, {"Content-Encoding", "gzip, zstd, rot13"}, {"X-Note", aKey}} {
		post(t, c, "https://keyed.example/", []byte(strings.Repeat(aKey, 2000)), header == nil, header...)
	}
	conn := w.inside("keyed.example")
	io.WriteString(conn, "POST / HTTP/1.1\r\nHost: keyed.example\r\nContent-Length: 60000\r\n\r\nbegun")
	conn.Close()
	if !w.s.scans.whole(t) {
		t.Error("a request that is over holds memory")
	}
}

func TestNoShareIsMoreThanThereIs(t *testing.T) {
	for _, encoding := range []string{"br", "br, br, br", "zstd,br,zstd", strings.Repeat("br,", 5000), ""} {
		q := request{}
		q.chunked = true
		q.list = []field{{name: []byte("Content-Encoding"), value: []byte(encoding)}, {name: []byte("content-encoding"), value: []byte(encoding)}}
		if share := q.scanShare(q.sendsMessages()); share <= 0 || share > scanMemory {
			t.Errorf("%.20s takes %d bytes", encoding, share)
		}
	}
}
