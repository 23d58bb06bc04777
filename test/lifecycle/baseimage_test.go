package lifecycle

import (
	"archive/tar"
	"bytes"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"bottle/test/rig"
)

func TestBaseImageIsPulledWhereARegistryAnswers(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	// Engines take one on the loopback without TLS.
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	name := strings.ToLower(filepath.Base(filepath.Dir(r.Home)))
	from, tag := strings.TrimPrefix(server.URL, "http://")+"/"+name+":slim", "bottle-test-base:"+name
	t.Cleanup(func() {
		for _, image := range []string{from, tag} {
			r.TryDocker("rmi", image) // where the test ended before it was made, there is none
		}
	})
	var packed bytes.Buffer
	w := tar.NewWriter(&packed)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	load := r.DockerCommand("import", "-", from)
	load.Stdin = &packed
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r.Docker("push", from)
	pushed := r.Docker("inspect", "-f", "{{.Id}}", from)
	r.Docker("rmi", from)

	script := exec.Command(filepath.Join(r.Libexec, "base-image"), tag)
	script.Env = append(os.Environ(), "BOTTLE_BASE_FROM="+from)
	out, err := script.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "base image: "+tag+" is ready") || strings.Contains(string(out), "debootstrap") {
		t.Fatalf("base-image: %v: %s", err, out)
	}
	if got := r.Docker("inspect", "-f", "{{.Id}}", tag); got != pushed {
		t.Errorf("%s is %s, and %s was pushed", tag, got, pushed)
	}
	if out, err := exec.Command(filepath.Join(r.Libexec, "base-image"), tag).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("a second time it said %s, %v", out, err)
	}
}
