package tunnel

import (
	"bytes"
	"encoding/binary"
	"io"
	"runtime"
	"sync"
	"testing"
	"testing/iotest"
)

// frame is one of yamux's.
func frame(kind, flags byte, id, length uint32, payload string) []byte {
	b := []byte{0, kind, 0, flags}
	b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, id), length)
	return append(b, payload...)
}

// crumbling is a host whose other end is hostile: on each connection it sends all
// that the window takes a byte at a time, and then tells.
func crumbling(t *testing.T, told func()) *Host {
	t.Helper()
	asked, fromHost := io.Pipe()
	toHost, answers := io.Pipe()
	go func() {
		const flagACK, window, ping = 2, 1, 2
		var head [frameHead]byte
		for {
			if _, err := io.ReadFull(asked, head[:]); err != nil {
				return
			}
			id, length := binary.BigEndian.Uint32(head[4:]), binary.BigEndian.Uint32(head[8:])
			switch opens := head[3]&flagSYN != 0; {
			case head[1] == typeData:
				io.CopyN(io.Discard, asked, int64(length))
			case head[1] == ping && opens:
				answers.Write(frame(ping, flagACK, 0, length, ""))
			case head[1] == window && opens:
				all := append(frame(window, flagACK, id, 0, ""), frame(typeData, 0, id, 1, string(rune(dialled)))...)
				all = append(all, bytes.Repeat(frame(typeData, 0, id, 1, "x"), int(config(0).InitialStreamWindowSize)-1)...)
				go func() {
					answers.Write(all)
					told()
				}()
			}
		}
	}()
	h, err := Open(t.Context(), toHost, fromHost)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

// An agent that sends crumbs to clients that do not read costs little of the
// operator's memory.
func TestCrumbsAreNotKept(t *testing.T) {
	const conns = 3
	var told sync.WaitGroup
	told.Add(conns)
	h := crumbling(t, told.Done)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range conns {
		client, near := pair(t)
		client.SetReadBuffer(4096)
		near.SetWriteBuffer(4096)
		go h.Carry(t.Context(), near, 80)
	}
	told.Wait()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / conns; each > 1<<20 {
		t.Errorf("each connection costs %d KiB", each>>10)
	}
	if _, err := h.mux.Ping(); err != nil {
		t.Errorf("others cannot go on: %v", err)
	}
}

// Who does not read misses what is dropped, and hears that it is not the end. What
// comes for others passes.
func TestTooManyPiecesAreDropped(t *testing.T) {
	var sent, want []byte
	for range maxPieces {
		sent = append(sent, frame(typeData, 0, 1, 1, "x")...)
	}
	want = append(want, sent...)
	sent = append(sent, frame(typeData, 0, 1, 3, "yyy")...)
	for _, other := range [][]byte{frame(typeData, 0, 3, 2, "zz"), frame(1, 0, 1, 99, ""), frame(2, 2, 0, 7, ""), frame(typeData, 0, 5, 1, "?")} {
		sent, want = append(sent, other...), append(want, other...)
	}
	sent = append(sent, frame(typeData, 0, 1, 1, "y")...)
	g := newGauge(wire{io.NopCloser(iotest.OneByteReader(bytes.NewReader(sent))), nopCloser{io.Discard}})
	for _, id := range []uint32{1, 3} {
		g.Write(frame(1, flagSYN, id, 0, ""))
	}
	if got, err := io.ReadAll(g); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes pass, %v; %d are to", len(got), err, len(want))
	}
	if !g.lost(1) || g.lost(3) || g.lost(5) {
		t.Error("another one misses something")
	}
	g.close(1)
	if len(g.open) != 1 || g.lost(1) {
		t.Error("a stream that was closed is remembered")
	}
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// Many small pieces are nothing bad where they are read.
func TestSmallPiecesPassWhereTheyAreRead(t *testing.T) {
	h := crumbling(t, func() {})
	client, near := pair(t)
	go h.Carry(t.Context(), near, 80)
	want := int64(config(0).InitialStreamWindowSize - 1)
	if n, err := io.CopyN(io.Discard, client, want); err != nil {
		t.Errorf("%d of %d bytes came: %v", n, want, err)
	}
}
