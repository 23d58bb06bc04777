package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"bottle/pkg/ca"
)

// proxy leads to the hosts of its list by CONNECT.
type proxy struct {
	config func() *config
	issuer *ca.Issuer
	roots  *x509.CertPool
	mu     sync.Mutex
	out    io.Writer
	hangs  atomic.Bool // it takes connections, and answers nothing more
}

// hangPath is the path of a request that tells the stand-in to hang.
const hangPath = "/hang-now"

// note writes a line of the log.
func (p *proxy) note(event, about string) {
	line, err := json.Marshal(map[string]string{"event": event, "target": about})
	if err != nil {
		panic(err) // it is text
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out.Write(append(line, '\n'))
}

// ServeHTTP implements http.Handler.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p.hangs.Load() {
		<-r.Context().Done()
		return
	}
	c := p.config()
	host, _, err := net.SplitHostPort(r.Host)
	switch {
	case r.Method != http.MethodConnect || err != nil:
		http.Error(w, "blocked: the tests ask by CONNECT", http.StatusForbidden)
		return
	case !c.lists(host):
		p.note("blocked", host)
		http.Error(w, "CONNECT blocked: domain not in allowlist: "+host, http.StatusForbidden)
		return
	}
	up, err := net.DialTimeout("tcp", r.Host, 5*time.Second)
	if err != nil {
		http.Error(w, "cannot connect", http.StatusBadGateway)
		return
	}
	defer up.Close()
	down, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer down.Close()
	io.WriteString(down, "HTTP/1.1 200 Connection Established\r\n\r\n")
	first, err := buffered.Peek(1)
	if err != nil {
		return
	}
	p.note("tunnel", host)
	from := &peeked{Conn: down, r: buffered.Reader}
	if first[0] != 22 || slices.Contains(c.TLS.Passthrough, host) { // no handshake
		pass(from, up)
		return
	}
	p.open(from, up, host)
}

// peeked is a connection of which the beginning was read.
type peeked struct {
	net.Conn
	r *bufio.Reader
}

func (c *peeked) Read(b []byte) (int, error) { return c.r.Read(b) }

// pass copies both ways until one ends.
func pass(a, b net.Conn) {
	done := make(chan struct{}, 2)
	one := func(to, from net.Conn) {
		io.Copy(to, from)
		done <- struct{}{}
	}
	go one(a, b)
	go one(b, a)
	<-done
}

// open ends TLS on both sides and passes on what holds no secret.
func (p *proxy) open(down, up net.Conn, host string) {
	leaf, err := p.issuer.Leaf(host)
	if err != nil {
		return
	}
	client := tls.Server(down, &tls.Config{Certificates: []tls.Certificate{*leaf}})
	server := tls.Client(up, &tls.Config{ServerName: host, RootCAs: p.roots})
	if err := server.HandshakeContext(context.Background()); err != nil {
		p.note("upstream", err.Error())
		return
	}
	requests, answers := bufio.NewReader(client), bufio.NewReader(server)
	for {
		r, err := http.ReadRequest(requests)
		if err != nil {
			return
		}
		if r.URL.Path == hangPath {
			p.hangs.Store(true)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if why := p.finds(r, host, body); why != "" {
			p.note("blocked", host+": "+why)
			fmt.Fprintf(client, "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n\r\n%s", len(why), why)
			continue
		}
		r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
		if err := r.Write(server); err != nil {
			return
		}
		answer, err := http.ReadResponse(answers, r)
		if err != nil || answer.Write(client) != nil {
			return
		}
	}
}
