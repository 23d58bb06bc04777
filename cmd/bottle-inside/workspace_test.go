package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/pkg/workspace"
)

// call runs the program as the host does, through an exec.
func call(in []byte, args ...string) (out []byte, said string, code int) {
	var o, e bytes.Buffer
	code = run(append([]string{"bottle-inside"}, args...), bytes.NewReader(in), &o, &e)
	return o.Bytes(), e.String(), code
}

func TestWorkspaceGoesInAndComesOut(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	outside, inside := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "file"), []byte("x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var stream bytes.Buffer
	if _, err := workspace.Pack(context.Background(), outside, &stream, workspace.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, said, code := call(stream.Bytes(), "unpack", inside); code != 0 || said != "" {
		t.Fatalf("unpack ended with %d: %s", code, said)
	}
	bundle, said, code := call(nil, "capture", inside)
	if code != 0 || said != "" {
		t.Fatalf("capture ended with %d: %s", code, said)
	}
	heads, err := workspace.Check(context.Background(), bytes.NewReader(bundle), workspace.Limits{})
	if err != nil || !strings.Contains(strings.Join(heads, " "), "wip") {
		t.Errorf("%q, %v", heads, err)
	}
}

// The host tells them apart by these codes, and shows the last line.
func TestWorkspaceCommandsSayHowTheyEnded(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		said string
	}{
		{[]string{"unpack"}, exitUsage, "one directory is wanted"},
		{[]string{"capture", "a", "b"}, exitUsage, "one directory is wanted"},
		{[]string{"unpack", t.TempDir()}, 1, "cannot unpack the workspace: the stream was cut off"},
		{[]string{"capture", t.TempDir()}, exitNothing, ""},
		{[]string{"capture", "/nowhere"}, 1, "cannot capture the work"},
	} {
		out, said, code := call(nil, c.args...)
		if code != c.code || !strings.Contains(said, c.said) || len(out) > 0 || strings.Count(said, "\n") > 1 {
			t.Errorf("%v: %d, %q, %d bytes", c.args, code, said, len(out))
		}
	}
}
