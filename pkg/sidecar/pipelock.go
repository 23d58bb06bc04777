package sidecar

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// pipelockPatience is how long a pipelock that does not listen is waited for: who
// changes its file may have to restart it.
const (
	pipelockPatience = 15 * time.Second
	pipelockPause    = 50 * time.Millisecond
)

// throughPipelock connects to a host by the bottle's pipelock, which is waited for
// while it is restarted. Which addresses may be dialled is its to judge.
func (d Dialer) throughPipelock(ctx context.Context, host string, port int) (*net.TCPConn, error) {
	conn, err := d.AwaitPipelock(ctx)
	if err != nil {
		return nil, err
	}
	status, err := connect(ctx, conn, net.JoinHostPort(host, strconv.Itoa(port)), "", d.Timeout)
	if err == nil && status/100 == 2 {
		return conn, nil
	}
	defer conn.Close()
	var reason *ProxyError
	switch {
	case errors.As(err, &reason):
		return nil, &ProxyError{reason: reason.reason, own: true}
	case err != nil:
		return nil, err
	case status != http.StatusForbidden:
		return nil, &ProxyError{reason: "cannot reach it (" + strconv.Itoa(status) + ")", own: true}
	}
	return nil, &ProxyError{reason: "refuses: " + said(conn), own: true}
}

// AwaitPipelock connects to the bottle's pipelock itself, which may not be up yet.
// Nothing is sent.
func (d Dialer) AwaitPipelock(ctx context.Context) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(ctx, pipelockPatience)
	defer cancel()
	for {
		conn, err := d.proxyConn(ctx)
		if err == nil {
			return conn, nil
		}
		select {
		case <-ctx.Done():
			return nil, &ProxyError{reason: "cannot be reached", own: true}
		case <-time.After(pipelockPause):
		}
	}
}

// PipelockAnswers says, by its error, that the bottle's pipelock does not answer a
// question after its health, whatever it answers: a program that hangs is connected
// to all the same. d.Timeout bounds it.
func (d Dialer) PipelockAnswers(ctx context.Context) error {
	conn, err := d.proxyConn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = exchange(ctx, conn, "GET /health HTTP/1.1\r\nHost: pipelock\r\nConnection: close\r\n\r\n", d.Timeout)
	var reason *ProxyError
	if errors.As(err, &reason) {
		return &ProxyError{reason: reason.reason, own: true}
	}
	return err
}

// maxSaid bounds what is told of a refusal, in bytes.
const maxSaid = 256

// said is what pipelock says of a refusal, in one printable line.
func said(conn net.Conn) string {
	conn.SetReadDeadline(time.Now().Add(time.Second))
	text, _ := io.ReadAll(io.LimitReader(conn, maxSaid)) // what came of it will do
	conn.SetReadDeadline(time.Time{})
	line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, line)
}

// notListed is in what pipelock says of a host that is not on its list.
const notListed = "not in allowlist"

// PipelockLists says whether pipelock's list has a host, as it does right now. A
// pipelock that takes its time to connect has let it pass.
func (d Dialer) PipelockLists(ctx context.Context, host string) (bool, error) {
	conn, err := d.proxyConn(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	status, err := connect(ctx, conn, net.JoinHostPort(host, "443"), "", d.Timeout)
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case err != nil && !errors.Is(err, errSlow):
		return false, err
	case err != nil:
		return true, nil
	}
	return status != http.StatusForbidden || !strings.Contains(said(conn), notListed), nil
}

// askTime bounds one question of AskPipelock.
const askTime = 2 * time.Second

// AskPipelock writes, a line a host, which of them the pipelock of the HostFile in
// a directory lists: "listed HOST" or "closed HOST". Asked for none it says only,
// by its error, whether it can be reached.
func AskPipelock(ctx context.Context, dir string, hosts []string, out io.Writer) error {
	doc, err := ReadHost(dir)
	if err != nil {
		return err
	}
	proxy, err := NewProxy(doc.Proxy, &Secrets{})
	if err != nil {
		return err
	}
	if proxy == nil || !proxy.own {
		return errors.New("there is no pipelock behind this egress")
	}
	d := Dialer{Check: Guard{}.Check, Lookup: Resolve, Timeout: askTime, Proxy: proxy}
	conn, err := d.AwaitPipelock(ctx)
	if err != nil {
		return err
	}
	conn.Close()
	if err := d.PipelockAnswers(ctx); err != nil {
		return err
	}
	for _, host := range hosts {
		word := "closed "
		if listed, err := d.PipelockLists(ctx, host); err != nil {
			return err
		} else if listed {
			word = "listed "
		}
		if _, err := io.WriteString(out, word+host+"\n"); err != nil {
			return err
		}
	}
	return nil
}
