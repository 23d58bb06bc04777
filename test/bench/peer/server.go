package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"bottle/pkg/ca"
)

// jsonSize is about what a small request or answer of an API has.
const jsonSize = 1 << 10

// jsonText is as many bytes of JSON: words, as people and models send them. A
// filler of one letter would be less than the scan has to do.
var jsonText = func() string {
	const before, after = `{"model":"small","max_tokens":1024,"messages":[{"role":"user","content":"`, `"}]}`
	words := strings.Repeat("The parser reads one line at a time, and fails on the 3rd of them when it ends in a comma. ", jsonSize)
	return before + words[:jsonSize-len(before)-len(after)] + after
}()

// serve is an ordinary server of net/http. It makes its CA, whose certificate
// it leaves in dir/upstream.pem.
func serve(dir string) error {
	cert, key, err := ca.New("bench upstream", time.Now())
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "upstream.pem"), cert, 0o600); err != nil {
		return err
	}
	issuer, err := ca.Load(cert, key)
	if err != nil {
		return err
	}
	leaf, err := issuer.Leaf("localhost")
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	mux := http.NewServeMux()
	mux.HandleFunc("/json", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(jsonText)))
		io.WriteString(w, jsonText)
	})
	mux.HandleFunc("/events", events)
	mux.HandleFunc("/download", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.ParseInt(r.FormValue("n"), 10, 64)
		w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		io.CopyN(w, zeros{}, n)
	})
	old := &tls.Config{Certificates: []tls.Certificate{*leaf}, NextProtos: []string{"http/1.1"}}
	both := old.Clone()
	both.NextProtos = []string{"h2", "http/1.1"}
	// HTTP/2 is for those that would rather have it.
	old.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if len(hello.SupportedProtos) > 0 && hello.SupportedProtos[0] == "h2" {
			return both, nil
		}
		return nil, nil
	}
	s := &http.Server{Handler: mux, ErrorLog: log.New(io.Discard, "", 0), TLSConfig: old}
	return s.ServeTLS(l, "", "")
}

// events sends n events, the time between them apart; each holds the time at
// which it was sent.
func events(w http.ResponseWriter, r *http.Request) {
	n, _ := strconv.Atoi(r.FormValue("n"))
	every, _ := time.ParseDuration(r.FormValue("every"))
	w.Header().Set("Content-Type", "text/event-stream")
	c := http.NewResponseController(w)
	for i := range n {
		if i > 0 {
			select {
			case <-time.After(every):
			case <-r.Context().Done():
				return
			}
		}
		fmt.Fprintf(w, "data: %d\n\n", time.Now().UnixNano())
		c.Flush()
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
