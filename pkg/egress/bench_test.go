package egress

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// BenchmarkRelay compares requests through egress with the same requests made
// directly: 1 KB of JSON each way, 16 connections, TLS on every hop. Client and
// server are as cheap as can be, so that the relay is what is measured. The
// rounds alternate; ratio is egress ÷ direct.
func BenchmarkRelay(b *testing.B) {
	w := newWorld(b)
	payload := `{"text":"` + strings.Repeat("x", 1000) + `"}`
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(payload)) + "\r\n\r\n" + payload)
	request := []byte("POST /v1/messages HTTP/1.1\r\nHost: a.example\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(payload)) + "\r\n\r\n" + payload)
	addr := cheapServer(b, w, len(payload), answer)
	w.setHost("a.example:443", addr)
	outside := w.s.pool.tls.RootCAs
	const conns = 16
	open := func(addr string, direct bool) []*tls.Conn {
		config := &tls.Config{ServerName: "a.example", RootCAs: w.trust}
		if direct {
			config.RootCAs = outside
		}
		list := make([]*tls.Conn, conns)
		for i := range list {
			c, err := tls.Dial("tcp", addr, config)
			must(b, err)
			b.Cleanup(func() { c.Close() })
			list[i] = c
		}
		return list
	}
	direct, through := open(addr, true), open(w.addr(w.s.Ports().TLS), false)
	run := func(list []*tls.Conn, each int) time.Duration {
		start := time.Now()
		var wg sync.WaitGroup
		for _, c := range list {
			wg.Go(func() {
				buf := make([]byte, 4096)
				for range each {
					c.Write(request)
					if err := readAnswer(c, buf, len(payload)); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		return time.Since(start)
	}
	run(direct, 10)
	run(through, 10)
	each := max(b.N/conns, 20)
	var straight, relayed time.Duration
	b.ResetTimer()
	for range 4 {
		straight += run(direct, each/4+1)
		relayed += run(through, each/4+1)
	}
	b.StopTimer()
	b.ReportMetric(straight.Seconds()/relayed.Seconds(), "ratio")
	b.ReportMetric(float64((each/4+1)*4*conns)/relayed.Seconds(), "req/s")
}

// readAnswer reads a head and length bytes.
func readAnswer(r io.Reader, buf []byte, length int) error {
	have := 0
	for {
		n, err := r.Read(buf[have:])
		have += n
		if i := bytes.Index(buf[:have], []byte("\r\n\r\n")); i >= 0 && have == i+4+length {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func cheapServer(b *testing.B, w *world, length int, answer []byte) string {
	l, err := tls.Listen("tcp", "127.0.0.1:0", w.certificate("a.example"))
	must(b, err)
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func(c net.Conn) {
				defer c.Close()
				buf := make([]byte, 4096)
				for readAnswer(c, buf, length) == nil {
					c.Write(answer)
				}
			}(c)
		}
	}()
	return l.Addr().String()
}

// BenchmarkDownload streams 64 MiB through egress.
func BenchmarkDownload(b *testing.B) {
	w := newWorld(b)
	const size = 64 << 20
	w.serve("a.example:443", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { io.CopyN(rw, zeros{}, size) }))
	c := w.agent()
	b.SetBytes(size)
	for b.Loop() {
		r, err := c.Get("https://a.example/")
		must(b, err)
		io.Copy(io.Discard, r.Body)
		r.Body.Close()
	}
}
