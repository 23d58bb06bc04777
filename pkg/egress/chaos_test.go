package egress

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// misbehave answers each request with its own path, in one of the ways that
// upstreams have, good ones and bad ones.
func misbehave(rw http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	way := rand.IntN(10)
	if way != 0 { // an upstream that answers before it has read
		io.Copy(io.Discard, r.Body)
	}
	c := http.NewResponseController(rw)
	switch way {
	case 1: // chunked
		for _, b := range []byte(path) {
			rw.Write([]byte{b})
			c.Flush()
		}
	case 2:
		rw.WriteHeader(http.StatusNoContent)
	case 3: // to the end, or not even there
		conn, _, err := c.Hijack()
		if err == nil {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n"+path)
			conn.Close()
		}
	case 4: // cut
		conn, _, err := c.Hijack()
		if err == nil {
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(path)+10, path)
			conn.Close()
		}
	case 5: // twice
		conn, _, err := c.Hijack()
		if err == nil {
			one := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(path), path)
			io.WriteString(conn, one+strings.ReplaceAll(one, path, strings.Repeat("X", len(path))))
			time.AfterFunc(time.Second, func() { conn.Close() })
		}
	case 6:
		panic(http.ErrAbortHandler)
	default:
		io.WriteString(rw, path)
	}
}

// pester makes requests over one connection, and breaks off in several ways.
func pester(t *testing.T, c net.Conn, host, id string) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	r := bufio.NewReader(c)
	for i := range 8 {
		path := fmt.Sprintf("/%s-%d", id, i)
		method, head, body := "GET", "", ""
		switch rand.IntN(6) {
		case 0:
			method, head, body = "POST", "Content-Length: 5\r\n", "hello"
		case 1:
			method, head, body = "PUT", "Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"
		case 2:
			method, head, body = "POST", "Content-Length: 300000\r\n", strings.Repeat("x", 300000)
		case 3:
			method = "HEAD"
		}
		text := method + " " + path + " HTTP/1.1\r\nHost: " + host + "\r\n" + head + "\r\n" + body
		leaves := rand.IntN(12) == 0
		if leaves {
			text = text[:1+rand.IntN(len(text)-1)]
		}
		if _, err := io.WriteString(c, text); err != nil || leaves {
			return
		}
		answer, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			return
		}
		got, err := io.ReadAll(answer.Body)
		if err == nil && answer.StatusCode == 200 && method != "HEAD" && string(got) != path {
			t.Errorf("%s %s was answered with %q", method, path, got)
		}
		if err != nil || answer.Close {
			return
		}
	}
}

// Whatever both sides do, nobody gets another's answer, and nothing is left of
// it.
func TestNobodyGetsAnothersAnswerAndNothingIsLeft(t *testing.T) {
	w := newWorld(t)
	w.serve("plain.example:80", http.HandlerFunc(misbehave))
	w.serve("a.example:443", http.HandlerFunc(misbehave))
	before := runtime.NumGoroutine()
	slots := make(chan struct{}, 24)
	var wg sync.WaitGroup
	for i := range 300 {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if i%2 == 0 {
				pester(t, w.open(w.s.Ports().HTTP), "plain.example", fmt.Sprint("p", i))
			} else {
				pester(t, w.inside("a.example"), "a.example", fmt.Sprint("a", i))
			}
		})
	}
	wg.Wait()
	select {
	case <-w.s.clients.wait():
	case <-time.After(time.Minute):
		t.Fatal("connections are left")
	}
	w.s.pool.keep(func(origin) bool { return false })
	if len(w.s.slots) > 0 || w.s.pool.count != 0 {
		t.Errorf("%d slots and %d upstreams are left", len(w.s.slots), w.s.pool.count)
	}
	for end := time.Now().Add(time.Minute); runtime.NumGoroutine() > before+20; runtime.Gosched() {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines have become %d: %s", before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
		}
	}
}
