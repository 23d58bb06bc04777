package main

import "testing"

func TestPacketsAreReadAndRubbishIsNot(t *testing.T) {
	v4 := append([]byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 192, 0, 2, 1}, 0x10, 0x00, 0, 53, 0, 8, 0, 0)
	if e, ok := packet(v4); !ok || e.From != "10.0.0.1:4096" || e.Detail != "udp 192.0.2.1:53" {
		t.Errorf("read as %+v, %v", e, ok)
	}
	v6 := make([]byte, 44)
	v6[0], v6[6], v6[23], v6[39], v6[43] = 0x60, 6, 1, 2, 80
	if e, ok := packet(v6); !ok || e.From != "[::1]:0" || e.Detail != "tcp [::2]:80" {
		t.Errorf("read as %+v, %v", e, ok)
	}
	for _, b := range [][]byte{nil, {0x45}, v4[:19], append([]byte{0x4f}, v4[1:]...), v6[:39], {0x12, 0x34}} {
		if e, ok := packet(b); ok {
			t.Errorf("% x was read as %+v", b, e)
		}
	}
}

func FuzzPacket(f *testing.F) {
	f.Add([]byte{0x45})
	f.Fuzz(func(_ *testing.T, b []byte) { packet(b) })
}
