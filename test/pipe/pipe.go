// Package pipe makes of two streams the connection that yamux wants, for the tests'
// dialer and for who talks to it.
package pipe

import (
	"io"
	"net"
	"time"
)

// Conn is two streams as one. It has no deadlines: the test ends them.
type Conn struct {
	io.ReadCloser
	Out io.WriteCloser
}

func (c Conn) Write(p []byte) (int, error) { return c.Out.Write(p) }

// Close closes both.
func (c Conn) Close() error {
	c.Out.Close()
	return c.ReadCloser.Close()
}

func (Conn) LocalAddr() net.Addr              { return &net.UnixAddr{} }
func (Conn) RemoteAddr() net.Addr             { return &net.UnixAddr{} }
func (Conn) SetDeadline(time.Time) error      { return nil }
func (Conn) SetReadDeadline(time.Time) error  { return nil }
func (Conn) SetWriteDeadline(time.Time) error { return nil }
