package rig

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// socket is where the rig's engine listens.
func (r *Rig) socket() string {
	return strings.TrimPrefix(cmp.Or(r.host(), os.Getenv("DOCKER_HOST"), "unix:///var/run/docker.sock"), "unix://")
}

// Cut is a way to the engine that breaks after so many requests, as an engine
// does that is stopped in the middle: every connection ends, none can be made.
type Cut struct {
	Host string // for DOCKER_HOST

	Stalled chan struct{} // of StallAfter and StallAt: closed when it has stalled

	requests atomic.Int64
	server   *http.Server
}

// StallAfter makes a way to the engine that lets n requests through; then it
// takes requests, and answers none.
func (r *Rig) StallAfter(n int) *Cut {
	r.t.Helper()
	c := r.way(func(c *Cut, q *http.Request) {
		if c.count(q) == int64(n)+1 {
			close(c.Stalled)
		}
		if c.requests.Load() > int64(n) {
			<-q.Context().Done()
			panic(http.ErrAbortHandler)
		}
	})
	return c
}

// StallAt makes a way to the engine that takes requests whose path ends so, and
// answers none of them.
func (r *Rig) StallAt(path string) *Cut {
	r.t.Helper()
	var first sync.Once
	return r.way(func(c *Cut, q *http.Request) {
		if strings.HasSuffix(q.URL.Path, path) {
			first.Do(func() { close(c.Stalled) })
			<-q.Context().Done()
			panic(http.ErrAbortHandler)
		}
	})
}

// CutAfter makes a way to the engine that lets n requests through.
func (r *Rig) CutAfter(n int) *Cut {
	r.t.Helper()
	return r.way(func(c *Cut, q *http.Request) {
		if c.count(q) > int64(n) {
			go c.server.Close()
			panic(http.ErrAbortHandler)
		}
	})
}

// way makes a way to the engine; judge is asked before each request.
func (r *Rig) way(judge func(*Cut, *http.Request)) *Cut {
	r.t.Helper()
	path := filepath.Join(r.t.(*testing.T).TempDir(), "engine.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		r.t.Fatal(err)
	}
	socket := r.socket()
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "engine"})
	proxy.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	proxy.FlushInterval = -1
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	c := &Cut{Host: "unix://" + path, Stalled: make(chan struct{})}
	c.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		judge(c, q)
		proxy.ServeHTTP(w, q)
	})}
	go c.server.Serve(listener)
	r.t.Cleanup(func() { c.server.Close() })
	return c
}

// count counts a request, and returns how many there are; 0: this one is not counted.
// How often a program asks whether what it runs has ended is the machine's doing.
func (c *Cut) count(q *http.Request) int64 {
	if strings.Contains(q.URL.Path, "/exec/") && strings.HasSuffix(q.URL.Path, "/json") {
		return 0
	}
	return c.requests.Add(1)
}

// Requests is how many requests were made, the one that broke it included, but for
// those that ask whether what runs in a container has ended.
func (c *Cut) Requests() int { return int(c.requests.Load()) }

// Command prepares one of the programs to be run over this way.
func (c *Cut) Command(r *Rig, program string, args ...string) *exec.Cmd {
	cmd := r.Command(context.Background(), program, args...)
	cmd.Env = append(cmd.Env, "DOCKER_HOST="+c.Host)
	return cmd
}

// Through runs one of the programs over this way.
func (c *Cut) Through(r *Rig, program string, args ...string) (stdout, stderr string, code int) {
	r.t.Helper()
	return r.finish(c.Command(r, program, args...))
}

// OneLine says whether text has one line of a program's, besides hints and what
// it said before.
func OneLine(program, text string) bool {
	n := 0
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, program+": ") {
			n++
		}
	}
	return n == 1
}
