// Command upstream plays the internet for tests and the demo: a server of HTTPS,
// HTTP, DNS and echo that answers to any name and tells of all that arrives, as
// JSON lines on standard output. It makes its own certificate authority, so
// that whoever trusts that file reaches it under the names it was given.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"bottle/pkg/ca"
	"bottle/pkg/spool"
	"bottle/test/forward"
	"bottle/test/gitserver"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// entry is one thing that arrived.
type entry struct {
	Time   time.Time `json:"time"`
	Kind   string    `json:"kind"` // ready, https, http, message, tls, dns, tcp, udp, proxy, packet or lost
	From   string    `json:"from,omitempty"`
	Host   string    `json:"host,omitempty"` // the name that was asked for
	Method string    `json:"method,omitempty"`
	Path   string    `json:"path,omitempty"`
	Proto  string    `json:"proto,omitempty"` // HTTP/1.1; HTTP/2.0 is spoken for names that begin with h2.
	Detail string    `json:"detail,omitempty"`
	// Header are a request's header lines, as NAME: VALUE.
	Header []string `json:"header,omitempty"`
}

// diary writes entries, one a line.
type diary struct {
	mu    sync.Mutex
	out   io.Writer
	files string       // directory of what is served; empty: nothing
	git   http.Handler // of repositories; nil: there are none
}

func (d *diary) note(e entry) {
	e.Time = time.Now().UTC()
	line, err := json.Marshal(e)
	if err != nil {
		panic(err) // an entry is text
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.out.Write(append(line, '\n'))
}

func run(args []string, out, errOut io.Writer) int {
	flags := flag.NewFlagSet("upstream", flag.ContinueOnError)
	flags.SetOutput(errOut)
	address := flags.String("listen", "", "`address` to listen on; empty: all")
	files := flags.String("files", "", "`directory` whose files are answers")
	caOut := flags.String("ca-out", "", "`file` to write the certificate authority to")
	log := flags.String("log", "", "`file` to tell of all that arrives in, too")
	answer := flags.String("answer", "", "`address` that every name has; empty: the one that was asked")
	git := flags.String("git", "", "`directory` of repositories that are served by https")
	token := flags.String("git-token", "", "`token` of who may have them")
	login := flags.String("proxy-login", "", "`user:password` of who may use the proxy")
	watch := flags.String("packets", "", "`interface` of which every packet is told")
	ports := map[string]*int{}
	for kind, port := range map[string]int{"https": 443, "http": 80, "dns": 53, "echo": 7, "proxy": -1} {
		ports[kind] = flags.Int(kind, port, "`port` of "+kind+"; -1: none")
	}
	if err := flags.Parse(args); err != nil {
		return 2
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	issuer, err := authority(*caOut)
	if err != nil {
		fmt.Fprintf(errOut, "upstream: %v\n", err)
		return 1
	}
	d := &diary{out: out, files: *files}
	if *log != "" {
		file, err := os.OpenFile(*log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			fmt.Fprintf(errOut, "upstream: %v\n", err)
			return 1
		}
		defer file.Close()
		d.out = io.MultiWriter(out, file)
	}
	if *git != "" {
		if d.git, err = gitserver.Web(*git, *token); err != nil {
			fmt.Fprintf(errOut, "upstream: %v\n", err)
			return 1
		}
	}
	if *watch != "" {
		if err := watchPackets(*watch, d); err != nil {
			fmt.Fprintf(errOut, "upstream: cannot watch %s: %v\n", *watch, err)
			return 1
		}
	}
	started := map[string]func(string) (string, error){
		"https": func(at string) (string, error) { return serveHTTPS(at, issuer, d) },
		"http":  func(at string) (string, error) { return serveHTTP(at, d) },
		"dns":   func(at string) (string, error) { return serveDNS(at, *answer, d) },
		"echo":  func(at string) (string, error) { return serveEcho(at, d) },
		"proxy": func(at string) (string, error) { return serveProxy(at, *login, d) },
	}
	var where []string
	for kind, start := range started {
		if *ports[kind] < 0 {
			continue
		}
		at, err := start(net.JoinHostPort(*address, fmt.Sprint(*ports[kind])))
		if err != nil {
			fmt.Fprintf(errOut, "upstream: cannot serve %s: %v\n", kind, err)
			return 1
		}
		where = append(where, kind+"="+at)
	}
	d.note(entry{Kind: "ready", Detail: strings.Join(where, " ")})
	<-ctx.Done()
	return 0
}

// authority makes the CA and writes its certificate; the key stays in memory.
func authority(file string) (*ca.Issuer, error) {
	certificate, key, err := ca.New("a test's company", time.Now())
	if err != nil {
		return nil, err
	}
	if file != "" {
		if err := spool.WriteFile(file, certificate, 0o644); err != nil {
			return nil, err
		}
	}
	return ca.Load(certificate, key)
}

func serveHTTPS(at string, issuer *ca.Issuer, d *diary) (string, error) {
	l, err := net.Listen("tcp", at)
	if err != nil {
		return "", err
	}
	// Handshakes that fail are told of too: who dials without a word was here.
	server := &http.Server{Handler: d.handler("https"), ReadHeaderTimeout: time.Minute, ErrorLog: d.errors("tls")}
	server.TLSConfig = &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return issuer.Leaf(strings.ToLower(hello.ServerName))
	}}
	old, both := server.TLSConfig.Clone(), server.TLSConfig.Clone()
	old.NextProtos, both.NextProtos = []string{"http/1.1"}, []string{"h2", "http/1.1"}
	server.TLSConfig.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if strings.HasPrefix(hello.ServerName, "h2.") {
			return both, nil
		}
		return old, nil
	}
	go server.ServeTLS(l, "", "")
	return l.Addr().String(), nil
}

func serveHTTP(at string, d *diary) (string, error) {
	l, err := net.Listen("tcp", at)
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: d.handler("http"), ReadHeaderTimeout: time.Minute, ErrorLog: d.errors("tcp")}
	go server.Serve(l)
	return l.Addr().String(), nil
}

// serveProxy leads to whom this container reaches, and tells of who was asked for,
// and of the status that was answered.
func serveProxy(at, login string, d *diary) (string, error) {
	l, err := net.Listen("tcp", at)
	if err != nil {
		return "", err
	}
	proxy := &forward.Proxy{Login: login, Note: func(method, address string, status int) {
		d.note(entry{Kind: "proxy", Method: method, Host: address, Detail: fmt.Sprint(status)})
	}}
	go (&http.Server{Handler: proxy, ReadHeaderTimeout: time.Minute}).Serve(l)
	return l.Addr().String(), nil
}

// file answers with a file, if there is one, or says that there is none where
// others lie beside it.
func (d *diary) file(w http.ResponseWriter, r *http.Request) bool {
	if d.files == "" {
		return false
	}
	root, err := os.OpenRoot(d.files)
	if err != nil {
		return false
	}
	defer root.Close()
	name := strings.TrimPrefix(r.URL.Path, "/")
	f, err := root.Open(name)
	if err != nil {
		if dir := path.Dir(name); dir != "." {
			if info, err := root.Stat(dir); err == nil && info.IsDir() {
				http.NotFound(w, r)
				return true
			}
		}
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	http.ServeContent(w, r, info.Name(), info.ModTime(), f)
	return true
}

// switched tells of whatever comes on a connection that has changed its protocol.
func (d *diary) switched(w http.ResponseWriter, kind string) {
	conn, stream, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tunnel\r\n\r\n")
	conn.SetReadDeadline(time.Now().Add(time.Minute))
	first := make([]byte, maxBody)
	if n, err := stream.Read(first); err == nil {
		d.note(entry{Kind: kind, Path: "/switch", Detail: "behind the switch: " + string(first[:n])})
	}
}

// maxBody bounds what is told of a request's body.
const maxBody = 4 << 10

// headerLines are a request's, as NAME: VALUE, sorted by name.
func headerLines(r *http.Request) (lines []string) {
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		for _, value := range r.Header[name] {
			lines = append(lines, name+": "+value)
		}
	}
	return lines
}

// handler answers every request with what it was; /redirect?to=URL answers with
// a redirect besides, /switch with a change of protocol that nobody asked for, a
// handshake of WebSocket with one, /v1/401 with a refusal of who asks, the path of
// a file with that file. What is below /whole/ is told of only when
// all of the request has come.
func (d *diary) handler(kind string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d.git != nil {
			d.git.ServeHTTP(w, r)
			return
		}
		if d.modelled(w, r, kind) {
			return
		}
		if d.calls(w, r, kind) {
			return
		}
		body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
		if strings.HasPrefix(r.URL.Path, "/whole/") {
			if err == nil {
				_, err = io.Copy(io.Discard, r.Body)
			}
			if err != nil {
				return
			}
		}
		e := entry{Kind: kind, From: r.RemoteAddr, Host: r.Host, Method: r.Method, Path: r.URL.RequestURI(), Proto: r.Proto, Detail: string(body), Header: headerLines(r)}
		d.note(e)
		if r.Header.Get("Upgrade") == "websocket" {
			d.socket(w, r)
			return
		}
		if r.URL.Path == "/switch" {
			d.switched(w, kind)
			return
		}
		if d.file(w, r) {
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/redirect" {
			w.Header().Set("Location", r.URL.Query().Get("to"))
			w.WriteHeader(http.StatusTemporaryRedirect)
		}
		if r.URL.Path == "/v1/401" {
			w.WriteHeader(http.StatusUnauthorized)
		}
		var answer bytes.Buffer
		json.NewEncoder(&answer).Encode(map[string]any{"upstream": kind, "host": r.Host, "path": e.Path, "body": e.Detail, "header": e.Header})
		w.Write(answer.Bytes())
	})
}
