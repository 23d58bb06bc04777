package tunnel

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// ends is a tunnel whose other end dials by dial.
func ends(t testing.TB, dial func(port uint16) (*net.TCPConn, error)) *Host {
	t.Helper()
	toServer, fromHost := io.Pipe()
	toHost, fromServer := io.Pipe()
	go func() {
		Serve(toServer, fromServer, dial)
		fromServer.Close()
	}()
	h, err := Open(t.Context(), toHost, fromHost)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

// pair is a TCP connection's two ends.
func pair(t testing.TB) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err := net.DialTCP("tcp4", nil, l.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	if far, err = l.AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialled.Close(); far.Close() })
	return dialled, far
}

// carried is a connection of a client to a server, through a tunnel.
func carried(t testing.TB) (client, server *net.TCPConn) {
	t.Helper()
	client, near := pair(t)
	dialled, server := pair(t)
	h := ends(t, func(uint16) (*net.TCPConn, error) { return dialled, nil })
	go h.Carry(t.Context(), near, 80)
	return client, server
}

func TestTheEndOfOneDirectionLeavesTheOther(t *testing.T) {
	for _, clientFirst := range []bool{true, false} {
		first, second := carried(t)
		if !clientFirst {
			first, second = second, first
		}
		first.Write([]byte("a question"))
		first.CloseWrite()
		if got, err := io.ReadAll(second); err != nil || string(got) != "a question" {
			t.Errorf("%v: %q, %v", clientFirst, got, err)
		}
		second.Write([]byte("an answer"))
		second.Close()
		if got, err := io.ReadAll(first); err != nil || string(got) != "an answer" {
			t.Errorf("%v: %q, %v", clientFirst, got, err)
		}
	}
}

func TestABrokenConnectionIsNoEnd(t *testing.T) {
	client, server := carried(t)
	server.Write([]byte("half of it"))
	if _, err := io.ReadFull(client, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	abort(server)
	if n, err := client.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the client read %d, %v", n, err)
	}
	client, server = carried(t)
	client.Write([]byte("x"))
	io.ReadFull(server, make([]byte, 1))
	abort(client)
	if n, err := server.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the server read %d, %v", n, err)
	}
}

// Where nobody reads what a client sends, its connection is not read from either.
func TestAClientThatGoesGivesItsPlaceBackThoughNobodyReads(t *testing.T) {
	client, near := pair(t)
	dialled, server := pair(t)
	h := ends(t, func(uint16) (*net.TCPConn, error) { return dialled, nil })
	carried := make(chan error, 1)
	go func() { carried <- h.Carry(t.Context(), near, 80) }()
	client.SetWriteDeadline(time.Now().Add(time.Second)) // by then all buffers are full
	if _, err := client.Write(make([]byte, 64<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("somebody takes all of it: %v", err)
	}
	abort(client)
	select {
	case err := <-carried:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it is carried on")
	}
	if _, err := io.Copy(io.Discard, server); err == nil {
		t.Error("what came is the server's whole")
	}
}

func TestWhereNothingListensTheClientIsReset(t *testing.T) {
	client, near := pair(t)
	asked := make(chan uint16, 1)
	h := ends(t, func(port uint16) (*net.TCPConn, error) { asked <- port; return nil, errors.New("refused") })
	if err := h.Carry(t.Context(), near, 65535); !errors.Is(err, ErrRefused) || <-asked != 65535 {
		t.Error(err)
	}
	if n, err := client.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the client read %d, %v", n, err)
	}
}

// Who does not read holds up his own connection, and no other.
func TestWhoDoesNotReadHoldsUpHimselfAlone(t *testing.T) {
	var conns sync.Map
	h := ends(t, func(port uint16) (*net.TCPConn, error) { c, _ := conns.Load(port); return c.(*net.TCPConn), nil })
	carry := func(port uint16) (client, server *net.TCPConn) {
		client, near := pair(t)
		dialled, server := pair(t)
		conns.Store(port, dialled)
		go h.Carry(t.Context(), near, port)
		return client, server
	}
	_, full := carry(1)
	var written atomic.Int64
	go func() {
		for block := make([]byte, 64<<10); ; {
			n, err := full.Write(block)
			if written.Add(int64(n)); err != nil {
				return
			}
		}
	}()
	stalled := func() bool { // it has come to a stand
		before := written.Load()
		time.Sleep(200 * time.Millisecond)
		return before > 0 && written.Load() == before
	}
	for end := time.Now().Add(time.Minute); !stalled(); {
		if time.Now().After(end) {
			t.Fatalf("%d MiB were taken of a client that reads nothing", written.Load()>>20)
		}
	}
	client, server := carry(2)
	go io.Copy(server, server)
	client.Write([]byte("quick"))
	if got := make([]byte, 5); true {
		if _, err := io.ReadFull(client, got); err != nil || string(got) != "quick" {
			t.Errorf("%q, %v", got, err)
		}
	}
}

func TestManyConnectionsAtOnceKeepTheirBytesApart(t *testing.T) {
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			go func() { io.Copy(c, c); c.CloseWrite() }()
		}
	}()
	h := ends(t, func(uint16) (*net.TCPConn, error) { return net.DialTCP("tcp4", nil, l.Addr().(*net.TCPAddr)) })
	var all sync.WaitGroup
	for range 50 {
		client, near := pair(t)
		go h.Carry(t.Context(), near, 80)
		all.Go(func() {
			sent := make([]byte, 1<<20)
			rand.Read(sent)
			go func() { client.Write(sent); client.CloseWrite() }()
			if got, err := io.ReadAll(client); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("%d of %d bytes came back: %v", len(got), len(sent), err)
			}
		})
	}
	all.Wait()
}

func TestATunnelEndsWithItsStream(t *testing.T) {
	client, near := pair(t)
	dialled, _ := pair(t)
	toServer, fromHost := io.Pipe()
	toHost, fromServer := io.Pipe()
	go Serve(toServer, fromServer, func(uint16) (*net.TCPConn, error) { return dialled, nil })
	h, err := Open(t.Context(), toHost, fromHost)
	if err != nil {
		t.Fatal(err)
	}
	carried := make(chan error, 1)
	go func() { carried <- h.Carry(t.Context(), near, 80) }()
	fromServer.Close()
	<-h.Done()
	<-carried
	if n, err := client.Read(make([]byte, 1)); err == nil {
		t.Errorf("the client read %d", n)
	}
}

// The agent can write what it likes to the host's end.
func FuzzHost(f *testing.F) {
	f.Add([]byte{0, 2, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0})                                        // an answer to the ping
	f.Add([]byte{0, 1, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0})                                        // a stream of its own
	f.Add([]byte{0, 2, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 0}) // and to the dial
	f.Fuzz(func(t *testing.T, hostile []byte) {
		out, in := io.Pipe()
		go io.Copy(io.Discard, out)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		h, err := Open(ctx, io.NopCloser(bytes.NewReader(hostile)), in)
		if err != nil {
			return
		}
		defer h.Close()
		if s, err := h.dial(ctx, 80); err == nil {
			io.Copy(io.Discard, s)
		}
	})
}

// BenchmarkConnection is what a connection costs before its first byte is back.
func BenchmarkConnection(b *testing.B) {
	h := ends(b, func(uint16) (*net.TCPConn, error) {
		c, far := pair(b)
		go io.Copy(far, far)
		return c, nil
	})
	for b.Loop() {
		client, near := pair(b)
		go h.Carry(b.Context(), near, 80)
		client.Write([]byte("x"))
		io.ReadFull(client, make([]byte, 1))
		client.Close()
	}
}
