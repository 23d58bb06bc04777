// Package forward is a company's proxy as tests need one: CONNECT and whole URLs,
// for who has the login.
package forward

import (
	"context"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"time"
)

// Proxy is a proxy. It is an http.Handler.
type Proxy struct {
	Login string                                 // user:password; empty: anybody's
	Dial  func(address string) (net.Conn, error) // nil: by name and port
	Note  func(method, address string, status int)
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(p.Login))
	if p.Login != "" && r.Header.Get("Proxy-Authorization") != want {
		p.note(r, http.StatusProxyAuthRequired)
		w.Header().Set("Proxy-Authenticate", `Basic realm="company"`)
		w.WriteHeader(http.StatusProxyAuthRequired)
		return
	}
	if r.Method != http.MethodConnect {
		p.note(r, http.StatusOK)
		r.Header.Del("Proxy-Authorization")
		transport := &http.Transport{DisableKeepAlives: true, DialContext: func(_ context.Context, _, address string) (net.Conn, error) { return p.dial(address) }}
		(&httputil.ReverseProxy{Transport: transport, Rewrite: func(*httputil.ProxyRequest) {}}).ServeHTTP(w, r)
		return
	}
	to, err := p.dial(r.Host)
	if err != nil {
		p.note(r, http.StatusBadGateway)
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer to.Close()
	p.note(r, http.StatusOK)
	from, stream, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer from.Close()
	io.WriteString(from, "HTTP/1.1 200 Connection established\r\n\r\n")
	done := make(chan struct{})
	go func() {
		io.Copy(to, stream)
		to.(*net.TCPConn).CloseWrite()
		close(done)
	}()
	io.Copy(from, to)
	from.(*net.TCPConn).CloseWrite()
	<-done
}

func (p *Proxy) dial(address string) (net.Conn, error) {
	if p.Dial != nil {
		return p.Dial(address)
	}
	return net.DialTimeout("tcp", address, 5*time.Second)
}

func (p *Proxy) note(r *http.Request, status int) {
	if p.Note != nil {
		p.Note(r.Method, r.Host, status)
	}
}
