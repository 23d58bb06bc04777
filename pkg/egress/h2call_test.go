package egress

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"bottle/pkg/policy"
)

// reserved makes a call to a host that speaks HTTP/2, as a client would.
func (w *world) reserved(host string) *upstream {
	at := place{origin: origin{scheme: policy.HTTPS, host: host, port: 443}}
	up, err := w.s.lines.get(w.t.Context(), at, false)
	must(w.t, err)
	return up
}

// A client may leave before the head of its request was written: whoever writes
// then must not wait for a reader that never comes.
func TestWritingToACallThatWasResetEnds(t *testing.T) {
	w := newWorld(t)
	w.serveH2("a.example:443", http.HandlerFunc(hello))
	up := w.reserved("a.example")
	defer up.close()
	up.reset()
	ended := make(chan error, 1)
	go func() {
		_, err := up.conn.Write([]byte("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 100\r\n\r\n"))
		for err == nil {
			_, err = up.conn.Write([]byte(strings.Repeat("x", 10)))
		}
		ended <- err
	}()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("it waits still")
	}
}

// A line that takes no more calls is closed with its last one, though the
// library still waits to hear that the stream was reset.
func TestALineEndsWithItsLastCall(t *testing.T) {
	w := newWorld(t)
	began := make(chan struct{})
	closed := make(chan struct{})
	s := w.serveH2("a.example:443", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.WriteHeader(200)
		http.NewResponseController(rw).Flush()
		close(began)
		<-r.Context().Done()
		<-closed // it hears of nothing meanwhile
	}))
	defer s.Close()
	defer close(closed)
	up := w.reserved("a.example")
	n := up.call.line
	_, err := up.conn.Write([]byte("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"))
	must(t, err)
	_, err = up.in.head()
	must(t, err)
	<-began
	w.s.lines.keep(func(origin) bool { return false })
	up.reset()
	up.close()
	if n.conn.Err() == nil {
		t.Error("its connection is still open")
	}
	w.s.lines.mu.Lock()
	defer w.s.lines.mu.Unlock()
	if w.s.lines.count != 0 {
		t.Errorf("%d lines are counted", w.s.lines.count)
	}
}
