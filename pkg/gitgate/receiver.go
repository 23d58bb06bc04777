package gitgate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
)

// receiver is an upstream's git-receive-pack: gitprotocol-pack(5).
type receiver struct {
	offer io.Reader // what it says first
	// send sends what it is asked for, and returns what it answers, maybe before all
	// is sent.
	send  func(body io.Reader, size int64) (io.Reader, error)
	close func() error
}

// webReceiver is a receiver behind https: one request for what it offers, and one
// for the push.
type webReceiver struct {
	ctx    context.Context
	line   *line
	path   string // of the repository
	trip   func(*http.Request) (*http.Response, error)
	bodies []io.ReadCloser
}

func (w *webReceiver) begin() (*receiver, error) {
	up := &receiver{close: w.close, send: func(body io.Reader, size int64) (io.Reader, error) {
		io.CopyN(io.Discard, w.bodies[0], 1) // it is read to its end: the connection is used again
		return w.ask(http.MethodPost, "/"+receivePack, "", "result", io.NopCloser(body), size)
	}}
	var err error
	if up.offer, err = w.ask(http.MethodGet, "/info/refs", "service="+receivePack, "advertisement", nil, 0); err != nil {
		w.close()
		return nil, err
	}
	return up, nil
}

func (w *webReceiver) close() error {
	for _, b := range w.bodies {
		b.Close()
	}
	return nil
}

// ask sends one request. What is answered must be git's.
func (w *webReceiver) ask(method, what, query, kind string, body io.ReadCloser, size int64) (io.Reader, error) {
	r := (&http.Request{Method: method, URL: &url.URL{Path: w.path + what, RawQuery: query}, Body: body, ContentLength: size,
		Header: http.Header{"User-Agent": {"git/2 (git-gate)"}}}).WithContext(w.ctx)
	kind = "application/x-" + receivePack + "-" + kind
	if body != nil {
		r.Header.Set("Content-Type", "application/x-"+receivePack+"-request")
		r.Header.Set("Accept", kind)
	}
	resp, err := w.trip(r)
	if resp != nil {
		w.bodies = append(w.bodies, resp.Body)
	}
	switch {
	case err != nil:
		w.line.unreached(err)
		return nil, err
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("it answers %s", inert(resp.Status))
	case resp.Header.Get("Content-Type") != kind:
		return nil, errors.New("what it answers is not git's")
	}
	return resp.Body, nil
}

// shellReceiver is a receiver behind ssh, with which one talks all the while.
func shellReceiver(cmd *exec.Cmd) (*receiver, error) {
	said := &tail{max: 16 << 10}
	cmd.Stderr = said
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := start(cmd); err != nil {
		return nil, err
	}
	asked := false
	end := func() error {
		if !asked {
			io.WriteString(in, "0000") // nothing is asked for
		}
		in.Close()
		out.Close()
		if err := cmd.Wait(); err != nil {
			return &gitError{sub: "push", said: said.String(), err: err}
		}
		return nil
	}
	return &receiver{offer: out, close: end, send: func(body io.Reader, _ int64) (io.Reader, error) {
		asked = true
		go func() { // what it says meanwhile must be read
			if _, err := io.Copy(in, body); err != nil {
				in.Close()
			}
		}()
		return out, nil
	}}, nil
}
