package egress

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"bottle/pkg/sidecar"
)

// held is a connection whose writes wait, so that several TLS records arrive as
// one piece.
type held struct {
	net.Conn
	holding bool
	pending bytes.Buffer
}

func (h *held) Write(p []byte) (int, error) {
	if h.holding {
		return h.pending.Write(p)
	}
	return h.Conn.Write(p)
}

// release sends all that waits but the last bytes.
func (h *held) release(but int) {
	h.holding = false
	h.Conn.Write(h.pending.Bytes()[:h.pending.Len()-but])
	h.pending.Next(h.pending.Len() - but)
}

// An upstream that answers twice must not answer the next request, whatever
// layer its second answer waits in.
func TestASecondAnswerIsNobodysAnswer(t *testing.T) {
	const real, poison = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nreal", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
	for _, c := range []struct {
		name     string
		late     int  // bytes of the second record that come with the next request
		separate bool // records
	}{{"in one record", 0, false}, {"in the record behind", 0, true}, {"in a record that is not whole", 20, true}, {"but a byte", 1, true}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			must(t, err)
			t.Cleanup(func() { l.Close() })
			w.setHost("a.example:443", l.Addr().String())
			config := w.certificate("a.example")
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					go func() {
						defer conn.Close()
						h := &held{Conn: conn}
						s := tls.Server(h, config)
						for r := bufio.NewReader(s); ; {
							if _, err := http.ReadRequest(r); err != nil {
								return
							}
							h.release(0)
							h.holding = true
							if c.separate {
								io.WriteString(s, real)
								io.WriteString(s, poison)
							} else {
								io.WriteString(s, real+poison)
							}
							h.release(c.late)
						}
					}()
				}
			}()
			agent := w.agent()
			for range 4 {
				if _, body := get(t, agent, "https://a.example/"); body != "real" {
					t.Fatalf("a request was answered with %q", body)
				}
			}
		})
	}
}

// What was dialled for a route that may lead to private addresses is not there
// for another.
func TestPrivateConnectionsAreForTheirRoutesOnly(t *testing.T) {
	w := newWorld(t)
	w.serve("a.example:443", http.HandlerFunc(hello))
	w.guard = func(_ string, private bool) error {
		if !private {
			return fmt.Errorf("%w: 10.9.9.9", sidecar.ErrPrivate)
		}
		return nil
	}
	w.write("routes:\n- {host: a.example, private: true, path_allowlist: [/in]}\n- {host: a.example, path_allowlist: [/out]}\n")
	must(t, w.s.Reload())
	agent := w.agent()
	for range 2 {
		if r, body := get(t, agent, "https://a.example/in"); r.StatusCode != 200 {
			t.Fatalf("%s %s", r.Status, body)
		}
		r, body := get(t, agent, "https://a.example/out")
		if r.StatusCode != 403 || r.Header.Get("X-Bottle-Blocked") == "" || !strings.Contains(body, "private: true") || strings.Contains(body, "10.9") {
			t.Fatalf("%s %s", r.Status, body)
		}
	}
	e := w.event("request")
	for e.Path != "/out" {
		e = w.event("request")
	}
	if e.Verdict != "deny" || !strings.Contains(e.Detail, "10.9.9.9") {
		t.Errorf("the event is %+v", e)
	}
}

func TestARefusedAddressIsARefusal(t *testing.T) {
	w := newWorld(t)
	w.guard = func(string, bool) error { return fmt.Errorf("%w: 169.254.169.254", sidecar.ErrRefused) }
	r, body := get(t, w.agent(), "https://a.example/")
	if r.StatusCode != 403 || !strings.Contains(body, "its address is refused") || strings.Contains(body, "169.254") {
		t.Errorf("%s %s", r.Status, body)
	}
	w.guard = func(string, bool) error { return errors.New("something else") }
	if r, _ := get(t, w.agent(), "https://a.example/"); r.StatusCode != 502 {
		t.Error(r.Status)
	}
}

func TestUpstreamsOutliveClientsThatClose(t *testing.T) {
	w := newWorld(t)
	from := make(chan string, 3)
	w.serve("plain.example:80", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { from <- r.RemoteAddr }))
	for range 3 {
		got := say(t, w.open(w.s.Ports().HTTP), "GET / HTTP/1.1\r\nHost: plain.example\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 200") {
			t.Fatal(got)
		}
	}
	if a, b, c := <-from, <-from, <-from; a != b || b != c {
		t.Errorf("requests one after another came by the connections %s, %s, %s", a, b, c)
	}
}

// Headers by which upstreams let a proxy change host, method or path are not
// the agent's to send.
func TestHeadersThatOverrideTheRequestLine(t *testing.T) {
	w := newWorld(t)
	heard := make(chan http.Header, 100)
	w.serve("a.example:443", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { heard <- r.Header.Clone() }))
	w.serve("b.example:443", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { heard <- r.Header.Clone() }))
	w.write("routes:\n- host: a.example\n- {host: b.example, path_allowlist: [/ok]}\n")
	must(t, w.s.Reload())
	send := func(host, name string) string {
		return say(t, w.inside(host), "POST /ok HTTP/1.1\r\nHost: "+host+"\r\nContent-Length: 0\r\nConnection: close\r\n"+name+": /admin\r\n\r\n")
	}
	for _, name := range []string{"X-HTTP-Method-Override", "x-http_method-override", "X-Original-URL", "X_Rewrite_URL", "X-Method-Override"} {
		if got := send("b.example", name); !strings.HasPrefix(got, "HTTP/1.1 403 ") {
			t.Errorf("%s where the path was judged: %s", name, got)
		}
		if got := send("a.example", name); !strings.HasPrefix(got, "HTTP/1.1 200") || (<-heard).Get(name) == "" {
			t.Errorf("%s where the whole host is allowed: %s", name, got)
		}
	}
	for _, name := range []string{"X-Forwarded-Host", "x_forwarded_host", "Forwarded", "X-Host", "X-Original-Host"} {
		got := send("a.example", name)
		if h := <-heard; !strings.HasPrefix(got, "HTTP/1.1 200") || h.Get(name) != "" || len(h[name]) > 0 {
			t.Errorf("%s went upstream: %v %s", name, h, got)
		}
	}
}
