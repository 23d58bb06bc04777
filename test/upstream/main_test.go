package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestUpstreamAnswersAndTellsOfIt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	reader, writer := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- run([]string{"--listen", "127.0.0.1", "--https", "0", "--http", "-1", "--dns", "-1", "--echo", "-1", "--ca-out", file}, writer, os.Stderr)
	}()
	lines := bufio.NewScanner(reader)
	next := func() entry {
		t.Helper()
		var e entry
		if !lines.Scan() || json.Unmarshal(lines.Bytes(), &e) != nil {
			t.Fatalf("no entry: %q %v", lines.Text(), lines.Err())
		}
		return e
	}
	ready := next()
	address, found := strings.CutPrefix(ready.Detail, "https=")
	if ready.Kind != "ready" || !found {
		t.Fatalf("not ready: %+v", ready)
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "allowed.test"}}}
	request, err := http.NewRequest("POST", "https://"+address+"/a?b", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "allowed.test"
	response := make(chan error, 1)
	go func() {
		r, err := client.Do(request)
		if err == nil {
			r.Body.Close()
		}
		response <- err
	}()
	if e := next(); e.Kind != "https" || e.Host != "allowed.test" || e.Method != "POST" || e.Path != "/a?b" || e.Detail != "hello" {
		t.Errorf("told of %+v", e)
	}
	if err := <-response; err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := <-ended; code != 0 {
		t.Errorf("ended with %d", code)
	}
}
