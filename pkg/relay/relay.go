// Package relay leads what is fetched while an image is made to a company's proxy,
// with the login that the builder must not know: what a build is given stands in
// its containers. It runs in a container of its own, whose network the build's
// steps share.
package relay

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/sidecar"
)

// Address is where the steps of a build find it.
const Address = "127.0.0.1:3128"

// Ready is the line that it says when it serves.
const Ready = "ready\n"

// patience is for connections, and for a proxy's answer.
const patience = 30 * time.Second

// Run takes the proxy's login, one line, from in, and serves until in ends.
func Run(doc bottle.Proxy, in io.Reader, out io.Writer) error {
	lines := bufio.NewReader(in)
	login, err := lines.ReadString('\n')
	if err != nil {
		return errors.New("cannot read the proxy's login")
	}
	l, err := net.Listen("tcp", Address)
	if err != nil {
		return fmt.Errorf("cannot listen: %w", err)
	}
	handler, err := New(doc, strings.TrimSuffix(login, "\n"))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: patience}
	go func() {
		io.Copy(io.Discard, lines) // who started it is gone
		server.Close()
	}()
	if _, err := io.WriteString(out, Ready); err != nil {
		return err
	}
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// New makes the relay itself: CONNECT becomes one of the company's proxy, and a
// request for a whole URL such a request, as programs send for http.
func New(doc bottle.Proxy, login string) (http.Handler, error) {
	secrets := &sidecar.Secrets{}
	if login != "" {
		secrets.Put(bottle.Secrets{Values: map[string]string{bottle.ProxyLogin: login}})
		doc.Login = bottle.ProxyLogin
	}
	proxy, err := sidecar.NewProxy(&doc, secrets)
	if err != nil {
		return nil, err
	}
	at := &url.URL{Scheme: "http", Host: doc.Address}
	if user, password, ok := strings.Cut(login, ":"); ok {
		at.User = url.UserPassword(user, password)
	}
	// The steps are the operator's own, and reach what the engine's builder would.
	whoever := func(netip.Addr, bool) error { return nil }
	r := &relay{dialer: sidecar.Dialer{Check: whoever, Lookup: sidecar.Resolve, Timeout: patience, Proxy: proxy}}
	transport := &http.Transport{DisableCompression: true, ResponseHeaderTimeout: 5 * time.Minute, Proxy: func(q *http.Request) (*url.URL, error) {
		if port := q.URL.Port(); proxy.Leads(q.URL.Hostname(), portOr(port, 80)) {
			return at, nil
		}
		return nil, nil
	}}
	r.plain = &httputil.ReverseProxy{Transport: transport, FlushInterval: -1, Rewrite: func(*httputil.ProxyRequest) {}}
	return r, nil
}

type relay struct {
	dialer sidecar.Dialer
	plain  http.Handler
}

// ServeHTTP implements http.Handler.
func (r *relay) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	switch {
	case q.Method == http.MethodConnect:
		r.tunnel(w, q)
	case q.URL.Scheme != "http" || q.URL.Host == "":
		http.Error(w, "relay: it takes whole http URLs and CONNECT", http.StatusBadRequest)
	default:
		r.plain.ServeHTTP(w, q)
	}
}

func (r *relay) tunnel(w http.ResponseWriter, q *http.Request) {
	to, err := r.dial(q.Context(), q.Host)
	if err != nil {
		http.Error(w, "relay: "+err.Error(), http.StatusBadGateway)
		return
	}
	defer to.Close()
	from, stream, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer from.Close()
	if _, err := io.WriteString(from, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	done := make(chan struct{})
	go func() {
		io.Copy(to, stream)
		to.CloseWrite()
		close(done)
	}()
	io.Copy(from, to)
	if half, ok := from.(*net.TCPConn); ok {
		half.CloseWrite()
	}
	<-done
}

func (r *relay) dial(ctx context.Context, at string) (*net.TCPConn, error) {
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		return nil, errors.New("CONNECT names no host and port")
	}
	return r.dialer.Dial(ctx, host, portOr(port, 0), true)
}

// portOr reads a port.
func portOr(s string, other int) int {
	if n, err := strconv.Atoi(s); err == nil {
		return n
	}
	return other
}
