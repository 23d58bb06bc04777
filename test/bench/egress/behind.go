package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"bottle/pkg/ca"
	"bottle/pkg/pipelock"
	"bottle/pkg/policy"
)

// second is a pipelock behind egress.
type second struct {
	address string
	cert    []byte // of its CA, PEM
	cmd     *exec.Cmd
}

// begin starts a program with the file that a bottle's pipelock has, on a port of
// its own, and waits until it listens.
func begin(program, dir, port string) (*second, error) {
	dir = filepath.Join(dir, "second")
	cert, key, err := ca.New("second", time.Now())
	if err != nil {
		return nil, err
	}
	text, err := pipelock.Render([]string{"localhost"}, pipelock.Options{MaxBody: policy.DefaultMaxBody})
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &second{address: l.Addr().String(), cert: cert}
	l.Close()
	file := strings.NewReplacer(fmt.Sprintf("0.0.0.0:%d", pipelock.Port), s.address, pipelock.Dir+"/", dir+"/").Replace(string(text))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	for name, data := range map[string][]byte{pipelock.File: []byte(file), pipelock.CertFile: cert, pipelock.KeyFile: key} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return nil, err
		}
	}
	s.cmd = exec.Command(program, "run", "--config", filepath.Join(dir, pipelock.File))
	s.cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+filepath.Join(filepath.Dir(dir), "upstream.pem"))
	s.cmd.Stderr = os.Stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", s.address)
		if err == nil {
			return s, conn.Close()
		}
		if time.Now().After(end) {
			s.end()
			return nil, err
		}
	}
}

func (s *second) end() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

// dial connects by CONNECT, as egress' own way through pipelock does.
func (s *second) dial(ctx context.Context, host string, port int, _ bool) (*net.TCPConn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", s.address)
	if err != nil {
		return nil, err
	}
	to := net.JoinHostPort(host, strconv.Itoa(port))
	fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", to, to)
	answer, err := http.ReadResponse(bufio.NewReaderSize(c, 16), &http.Request{Method: http.MethodConnect}) // it says nothing first
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("it refuses: %s", answer.Status)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c.(*net.TCPConn), nil
}
