package rig

import (
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/libp2p/go-yamux/v5"

	"bottle/pkg/plan"
	"bottle/test/pipe"
)

// dialerBin is where Dialer puts the tests' dialer (test/dialer).
const dialerBin = plan.AgentHome + "/dialer"

// Dialer opens TCP connections from inside a bottle, whose bytes come and go
// unchanged: no client library stands between.
type Dialer struct{ mux *yamux.Session }

// Dialer puts a program into a bottle's agent's container that dials, and starts it.
// It goes with the rig.
func (r *Rig) Dialer(slug string) (*Dialer, error) {
	if err := r.put(slug, "dialer", dialerBin); err != nil {
		return nil, err
	}
	cmd := r.DockerCommand("exec", "-i", plan.ContainerName(slug, plan.AgentService), dialerBin)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	config := yamux.DefaultConfig()
	config.EnableKeepAlive = false // the end of the streams tells
	config.LogOutput = io.Discard
	mux, err := yamux.Client(pipe.Conn{ReadCloser: out, Out: in}, config, nil)
	if err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		return nil, err
	}
	r.t.Cleanup(func() {
		mux.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	return &Dialer{mux}, nil
}

// Dial opens a connection to an address and port, such as 10.0.0.1:80.
func (d *Dialer) Dial(t testing.TB, address string) (net.Conn, error) {
	s, err := d.mux.OpenStream(t.Context())
	if err != nil {
		return nil, err
	}
	answer := []byte{1}
	if _, err = io.WriteString(s, address+"\n"); err == nil {
		_, err = io.ReadFull(s, answer)
	}
	if err == nil && answer[0] != 0 {
		err = fmt.Errorf("cannot reach %s", address)
	}
	if err != nil {
		s.Reset()
		return nil, err
	}
	return s, nil
}
