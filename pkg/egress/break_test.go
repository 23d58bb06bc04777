package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestTruncatedAnswerIsNotTakenForWhole(t *testing.T) {
	w := newWorld(t)
	for _, head := range []string{"Content-Length: 1000", "Transfer-Encoding: chunked"} {
		w.raw("a.example:443", func(c net.Conn, r *bufio.Reader) {
			http.ReadRequest(r)
			body := "0123456789"
			if strings.HasPrefix(head, "Transfer") {
				body = "3e8\r\n0123456789"
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\n%s\r\n\r\n%s", head, body)
			c.(*tls.Conn).NetConn().Close() // no close_notify
		})
		r, err := w.agent().Get("https://a.example/")
		if err != nil {
			continue // the reset overtook the head
		}
		if _, err := io.ReadAll(r.Body); err == nil {
			t.Errorf("%s: a cut answer looked whole", head)
		}
		r.Body.Close()
	}
}

func TestClientThatLeavesFreesItsUpstream(t *testing.T) {
	w := newWorld(t)
	began, ended := make(chan struct{}, 4), make(chan struct{}, 4)
	w.serve("a.example:443", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		began <- struct{}{}
		<-r.Context().Done()
		ended <- struct{}{}
	}))
	c := w.inside("a.example")
	io.WriteString(c, "POST /wait HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\n{}")
	<-began
	c.Close()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("the upstream was left waiting")
	}
	if e := w.event("request"); e.Reason != "the client left" {
		t.Errorf("event %+v", e)
	}
}

// A request is asked again where a kept connection died, not where its client
// has left.
func TestARequestThatNobodyWaitsForIsNotAskedAgain(t *testing.T) {
	w := newWorld(t)
	asked := make(chan string, 8)
	w.serve("a.example:443", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		if r.URL.Path == "/wait" {
			<-r.Context().Done()
		}
	}))
	c := w.inside("a.example")
	io.WriteString(c, "GET /first HTTP/1.1\r\nHost: a.example\r\n\r\n")
	w.event("request") // its upstream is kept
	io.WriteString(c, "GET /wait HTTP/1.1\r\nHost: a.example\r\n\r\n")
	for path := range asked {
		if path == "/wait" {
			break
		}
	}
	c.Close()
	if e := w.event("request"); e.Reason != "the client left" {
		t.Errorf("event %+v", e)
	}
	if len(asked) > 0 || len(w.dialled()) != 1 {
		t.Errorf("it was asked again: %v", w.dialled())
	}
}

func TestBodyThatBreaksOffNeverLooksWholeUpstream(t *testing.T) {
	w := newWorld(t)
	result := make(chan error, 4)
	w.serve("plain.example:80", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		result <- err
	}))
	const head = "POST / HTTP/1.1\r\nHost: plain.example\r\n"
	for _, text := range []string{"Content-Length: 10\r\n\r\n12345", "Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n"} {
		c := w.open(w.s.Ports().HTTP)
		io.WriteString(c, head+text)
		c.(*net.TCPConn).CloseWrite()
		if err := <-result; err == nil {
			t.Errorf("%q looked whole", text)
		}
	}
	got := say(t, w.open(w.s.Ports().HTTP), head+"Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\nzz\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 400 egress: ") {
		t.Errorf("a malformed chunk: %q", got)
	}
}

func TestStalePooledConnectionsAreReplaced(t *testing.T) {
	w := newWorld(t)
	var conns atomic.Int32
	w.raw("a.example:443", func(c net.Conn, r *bufio.Reader) {
		conns.Add(1)
		q, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		io.Copy(io.Discard, q.Body)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") // and it closes, without a word
	})
	c := w.agent()
	for i := range 20 {
		var r *http.Response
		var err error
		if i%2 == 0 {
			r, err = c.Get("https://a.example/")
		} else {
			r, err = c.Post("https://a.example/", "text/plain", strings.NewReader("x"))
		}
		must(t, err)
		body, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if r.StatusCode == 502 && i%2 == 1 {
			continue // it closed between our look and our request; a POST is not sent twice
		}
		if string(body) != "ok" {
			t.Fatalf("request %d: %s %q", i, r.Status, body)
		}
	}
}

func TestSlowClientsBlockNobodyAndAreCut(t *testing.T) {
	w := newWorldWith(t, Config{HeadTime: 2 * time.Second})
	w.serve("a.example:443", http.HandlerFunc(hello))
	var slow []net.Conn
	for range 50 {
		c := w.open(w.s.Ports().Proxy)
		io.WriteString(c, "GET http://plain.exa")
		slow = append(slow, c)
	}
	if r, _ := get(t, w.agent(), "https://a.example/"); r.StatusCode != 200 {
		t.Error(r.Status)
	}
	for _, c := range slow {
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("a slow client was not cut: %v", err)
		}
	}
}

func TestDrainEndsIdleConnectionsAndWaitsForBusyOnes(t *testing.T) {
	w := newWorld(t)
	began, release := make(chan struct{}), make(chan struct{})
	w.serve("a.example:443", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		close(began)
		<-release
		io.WriteString(rw, "late")
	}))
	idle := w.open(w.s.Ports().Proxy)
	answer := make(chan string)
	go func() {
		r, err := w.agent().Get("https://a.example/")
		if err != nil {
			answer <- err.Error()
			return
		}
		body, _ := io.ReadAll(r.Body)
		answer <- string(body)
	}()
	<-began
	drained := make(chan struct{})
	go func() { w.s.Drain(t.Context()); close(drained) }()
	if _, err := idle.Read(make([]byte, 1)); err == nil {
		t.Error("an idle connection lives on")
	}
	close(release)
	if got := <-answer; got != "late" {
		t.Errorf("the request under way got %q", got)
	}
	<-drained
}

func TestSurplusConnectionsAreClosedAndOthersServed(t *testing.T) {
	w := newWorld(t)
	w.serve("a.example:443", http.HandlerFunc(hello))
	var held []net.Conn
	for range MaxConns {
		held = append(held, w.open(w.s.Ports().HTTP))
	}
	for _, port := range []int{w.s.Ports().HTTP, w.s.Ports().Proxy, w.s.Ports().TLS} {
		c, err := net.Dial("tcp", w.addr(port))
		if err != nil {
			continue // closed before we could look
		}
		c.SetDeadline(time.Now().Add(time.Minute))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the surplus connection was not closed: %v", err)
		}
		c.Close()
	}
	for _, c := range held {
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
	for len(w.s.slots) > 0 { // each goes as soon as its end is seen
		runtime.Gosched()
	}
	if r, _ := get(t, w.agent(), "https://a.example/"); r.StatusCode != 200 {
		t.Error(r.Status)
	}
}

func TestDrainEndsWhatIsBeingDialled(t *testing.T) {
	w := newWorld(t)
	dialling := make(chan struct{})
	w.s.pool.dial = func(ctx context.Context, _ string, _ int, _ bool) (*net.TCPConn, error) {
		close(dialling)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(5 * time.Minute):
			return nil, errors.New("nobody ended it")
		}
	}
	io.WriteString(w.open(w.s.Ports().HTTP), "GET / HTTP/1.1\r\nHost: plain.example\r\n\r\n")
	<-dialling
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	drained := make(chan struct{})
	go func() { w.s.Drain(ctx); close(drained) }()
	select {
	case <-drained:
	case <-time.After(time.Minute):
		t.Fatal("it waits for an upstream that does not answer")
	}
}

func TestAReaderCannotUndoItsEnd(t *testing.T) {
	a, b := ends(t)
	defer b.Close()
	s := newSocket(a)
	s.expire() // and only now comes the first read, which sets a deadline
	ended := make(chan error, 1)
	go func() { _, err := s.Read(make([]byte, 1)); ended <- err }()
	select {
	case err := <-ended:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it reads on")
	}
}

// ends returns both ends of a connection.
func ends(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	d, err := l.Accept()
	must(t, err)
	t.Cleanup(func() { c.Close(); d.Close() })
	return c.(*net.TCPConn), d.(*net.TCPConn)
}
