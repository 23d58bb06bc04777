package egress

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// What reads and writes by itself tells errors as the net package does.
func TestRawCallsFailAsNetDoes(t *testing.T) {
	read := func(c io.ReadWriter) error { _, err := c.Read(make([]byte, 1)); return err }
	write := func(c io.ReadWriter) error { _, err := c.Write(make([]byte, 32<<20)); return err }
	for _, x := range []struct {
		name string
		do   func(io.ReadWriter) error
		make func(a, b *net.TCPConn)
		want error
	}{
		{"end", read, func(_, b *net.TCPConn) { b.Close() }, io.EOF},
		{"reset", read, func(_, b *net.TCPConn) { b.SetLinger(0); b.Close() }, syscall.ECONNRESET},
		{"closed, read", read, func(a, _ *net.TCPConn) { a.Close() }, net.ErrClosed},
		{"closed, write", write, func(a, _ *net.TCPConn) { a.Close() }, net.ErrClosed},
		{"too late, read", read, func(a, _ *net.TCPConn) { a.SetDeadline(time.Now().Add(time.Millisecond)) }, os.ErrDeadlineExceeded},
		{"too late, write", write, func(a, _ *net.TCPConn) { a.SetDeadline(time.Now().Add(time.Millisecond)) }, os.ErrDeadlineExceeded},
		{"broken pipe", write, func(a, _ *net.TCPConn) { a.CloseWrite() }, syscall.EPIPE},
	} {
		var said [2]string
		for i := range said {
			a, b := ends(t)
			c := io.ReadWriter(a)
			if i == 1 {
				c = newRawIO(a)
			}
			x.make(a, b)
			err := x.do(c)
			if !errors.Is(err, x.want) {
				t.Errorf("%s: %v", x.name, err)
				continue
			}
			if op := (*net.OpError)(nil); errors.As(err, &op) {
				if op.Source.String() != a.LocalAddr().String() || op.Addr.String() != a.RemoteAddr().String() {
					t.Errorf("%s: it is from %v to %v", x.name, op.Source, op.Addr)
				}
				said[i] = op.Op + " " + op.Net + ": " + op.Err.Error()
			}
		}
		if said[0] != said[1] {
			t.Errorf("%s: %q, net says %q", x.name, said[1], said[0])
		}
	}
}

func TestARawWriteGoesOnWhereTheKernelTakesLess(t *testing.T) {
	a, b := ends(t)
	sent := make([]byte, 16<<20)
	for i := range sent {
		sent[i] = byte(i / 1000)
	}
	wrote := make(chan error, 1)
	go func() {
		n, err := newRawIO(a).Write(sent)
		if err == nil && n != len(sent) {
			err = io.ErrShortWrite
		}
		a.CloseWrite()
		wrote <- err
	}()
	got, err := io.ReadAll(onlyReader{newRawIO(b)})
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d of %d bytes: %v", len(got), len(sent), err)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}
