// Command goproxy is a proxy made of elazarl/goproxy with an allowlist, for the
// benchmarks to compare with.
//
//	goproxy DIR PORT     allows https://localhost:PORT; prints the proxy's port
//
// DIR holds upstream.pem; the CA's certificate is left there as goproxy.pem.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/elazarl/goproxy"

	"bottle/pkg/ca"
)

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "goproxy:", err)
		os.Exit(1)
	}
}

func run(dir, port string) error {
	cert, key, err := ca.New("bench goproxy", time.Now())
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "goproxy.pem"), cert, 0o600); err != nil {
		return err
	}
	authority, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return err
	}
	pem, err := os.ReadFile(filepath.Join(dir, "upstream.pem"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return errors.New("there is no certificate in upstream.pem")
	}
	allowed := "localhost:" + port
	p := goproxy.NewProxyHttpServer()
	p.CertStore = &leaves{}
	p.Tr = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, MaxIdleConnsPerHost: 64}
	action := &goproxy.ConnectAction{Action: goproxy.ConnectMitm, TLSConfig: goproxy.TLSConfigFromCA(&authority)}
	p.OnRequest().HandleConnectFunc(func(host string, _ *goproxy.ProxyCtx) (*goproxy.ConnectAction, string) {
		if host != allowed {
			return goproxy.RejectConnect, host
		}
		return action, host
	})
	p.OnRequest().DoFunc(func(r *http.Request, _ *goproxy.ProxyCtx) (*http.Request, *http.Response) {
		if r.URL.Host != allowed {
			return r, goproxy.NewResponse(r, "text/plain", http.StatusForbidden, "refused")
		}
		return r, nil
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	return http.Serve(l, p)
}

// leaves keeps certificates, as a proxy that is meant would.
type leaves struct{ m sync.Map }

func (l *leaves) Fetch(host string, make func() (*tls.Certificate, error)) (*tls.Certificate, error) {
	if c, ok := l.m.Load(host); ok {
		return c.(*tls.Certificate), nil
	}
	c, err := make()
	if err == nil {
		l.m.Store(host, c)
	}
	return c, err
}
