package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWrongFlagsAreUsageErrors(t *testing.T) {
	for _, args := range [][]string{
		{"x"}, {"--listen", "0.0.0.0/8"}, {"--listen", "::1/64"}, {"--listen", "127.0.0.1"}, {"--listen", "127.0.0.1/0"}, {"--listen", "a"}, {}, {"--no-such"},
		{"--listen", "127.0.0.1/8", "--name", "egress"}, {"--listen", "127.0.0.1/8", "--name", "=10.0.0.1"},
	} {
		var out, errOut bytes.Buffer
		if code := run(append([]string{"bottle-egress"}, args...), nil, &out, &errOut); code != 2 || out.Len() > 0 || !strings.Contains(errOut.String(), "hint: ") {
			t.Errorf("%v: exit %d, %q", args, code, errOut.String())
		}
	}
}

// TestNothingIsServedWithoutItsFiles starts it for real: each file that is
// missing ends it, unready, with one line.
func TestNothingIsServedWithoutItsFiles(t *testing.T) {
	in, out := t.TempDir(), t.TempDir()
	var errOut bytes.Buffer
	for _, missing := range []string{"host.json", "routes.yaml"} {
		errOut.Reset()
		code := run([]string{"bottle-egress", "--in", in, "--out", out, "--listen", "127.0.0.1/8"}, nil, &errOut, &errOut)
		if code != 1 || strings.Count(errOut.String(), "\n") != 1 || !strings.Contains(errOut.String(), missing) {
			t.Errorf("exit %d, %q", code, errOut.String())
		}
		if err := os.WriteFile(filepath.Join(in, missing), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(out, "ready")); err == nil {
		t.Error("it says it is ready")
	}
	if c, err := net.Dial("tcp", "127.0.0.1:3128"); err == nil {
		c.Close()
		t.Error("something listens on 3128")
	}
}
