package session

import (
	"errors"
	"net"
	"testing"
)

func TestPortsAreReadOrRefused(t *testing.T) {
	for text, want := range map[string]Port{"3000": {3000, 3000}, "8080:80": {8080, 80}, "0:3000": {0, 3000}} {
		if got, err := ParsePort(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0", ":", "80:", ":80", "80:0", "65536", "a", "-1", "1:2:3", "127.0.0.1:80:80", " 80"} {
		if got, err := ParsePort(text); err == nil {
			t.Errorf("%q is taken: %v", text, got)
		}
	}
}

func TestPortsAreOfTheLoopbackAlone(t *testing.T) {
	f, err := Listen([]Port{{0, 80}, {0, 80}})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Ports[0].Local == 0 || f.Ports[0].Local == f.Ports[1].Local {
		t.Errorf("%v", f.Ports)
	}
	for i, at := range f.at {
		for _, l := range at {
			if a := l.Addr().(*net.TCPAddr); !a.IP.IsLoopback() || uint16(a.Port) != f.Ports[i].Local {
				t.Errorf("it listens on %v", a)
			}
		}
	}
	if _, err := Listen([]Port{{f.Ports[0].Local, 80}}); !errors.Is(err, ErrPortInUse) {
		t.Errorf("one that is in use: %v", err)
	}
}
