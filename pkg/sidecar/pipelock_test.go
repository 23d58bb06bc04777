package sidecar

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bottle/pkg/bottle"
)

// refuser is a pipelock whose list has one host.
func refuser(listed string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := strings.Cut(r.Host, ":")
		if host != listed {
			http.Error(w, "CONNECT blocked: domain not in allowlist: "+host+"\x1b[2J", http.StatusForbidden)
			return
		}
		w.WriteHeader(http.StatusOK)
	})
}

func throughPipelock(t *testing.T, address string) Dialer {
	t.Helper()
	p, err := NewProxy(&bottle.Proxy{Address: address, Pipelock: true}, &Secrets{})
	if err != nil {
		t.Fatal(err)
	}
	return Dialer{Proxy: p, Timeout: 2 * time.Second, Lookup: Resolve, Check: func(netip.Addr, bool) error { return nil }}
}

func TestWhatPipelockRefusesIsToldInItsWords(t *testing.T) {
	server := httptest.NewServer(refuser("open.example.com"))
	defer server.Close()
	d := throughPipelock(t, server.Listener.Addr().String())
	conn, err := d.Dial(t.Context(), "open.example.com", 443, false)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	var refused *ProxyError
	_, err = d.Dial(t.Context(), "other.example.com", 443, false)
	if want := "pipelock, behind egress, refuses: CONNECT blocked: domain not in allowlist: other.example.com[2J"; !errors.As(err, &refused) || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	for host, want := range map[string]bool{"open.example.com": true, "other.example.com": false} {
		if got, err := d.PipelockLists(t.Context(), host); err != nil || got != want {
			t.Errorf("%s is listed: %v, %v", host, got, err)
		}
	}
}

// A pipelock that is restarted is waited for, and what was asked meanwhile goes on.
func TestAPipelockThatIsRestartedIsWaitedFor(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	d := throughPipelock(t, address)
	done := make(chan error, 1)
	go func() {
		conn, err := d.Dial(context.Background(), "open.example.com", 443, false)
		if err == nil {
			conn.Close()
		}
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(3 * pipelockPause):
	}
	if l, err = net.Listen("tcp", address); err != nil {
		t.Skipf("somebody took the port: %v", err)
	}
	server := &http.Server{Handler: refuser("open.example.com")}
	go server.Serve(l)
	defer server.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestACompanysProxyIsNotAskedAsPipelock(t *testing.T) {
	dir := t.TempDir()
	data, err := json.Marshal(bottle.Host{Proxy: &bottle.Proxy{Address: "10.255.255.1:3128"}})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, HostFile), data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := AskPipelock(t.Context(), dir, nil, &bytes.Buffer{}); err == nil {
		t.Error("it was asked")
	}
}

// A program that hangs is connected to, and yet is known for what it is; whatever
// answers is well.
func TestAPipelockThatHangsDoesNotAnswer(t *testing.T) {
	server := httptest.NewServer(refuser("open.example.com"))
	defer server.Close()
	if err := throughPipelock(t, server.Listener.Addr().String()).PipelockAnswers(t.Context()); err != nil {
		t.Error(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := throughPipelock(t, l.Addr().String())
	d.Timeout = 100 * time.Millisecond
	if err := d.PipelockAnswers(t.Context()); err == nil || err.Error() != "pipelock, behind egress, did not answer in time" {
		t.Error(err)
	}
}
