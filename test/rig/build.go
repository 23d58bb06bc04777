package rig

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// programs are built once a process, into a directory laid out as installed.
var programs struct {
	sync.Once
	dir string
	err error
}

// build returns the directory with bin/ and libexec/bottle/.
func build(t testing.TB) string {
	t.Helper()
	programs.Do(func() { programs.dir, programs.err = buildAll() })
	if programs.err != nil {
		t.Fatal(programs.err)
	}
	return programs.dir
}

// Main runs a package's tests and removes what was built for them: call it from
// TestMain. More of them than processors are at once, if -parallel says nothing
// else: they wait for the engine and for containers.
func Main(m *testing.M) int {
	if err := flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0))); err != nil {
		panic(err)
	}
	defer func() {
		if programs.dir != "" {
			remove(programs.dir)
		}
	}()
	return m.Run()
}

func buildAll() (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	dir, err := makeDir()
	if err != nil {
		return "", err
	}
	// go build makes only what is not up to date.
	for _, made := range []string{"bin", "libexec"} {
		if err := os.CopyFS(filepath.Join(dir, made), os.DirFS(filepath.Join(root, made))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	libexec := filepath.Join(dir, "libexec", "bottle")
	for _, b := range []struct {
		to      string
		sources []string
	}{
		{filepath.Join(dir, "bin"), []string{"./cmd/bottle-start", "./cmd/bottle-attach", "./cmd/bottle-ls", "./cmd/bottle-approve", "./cmd/bottle-edit", "./cmd/bottle-log", "./cmd/bottle-stop", "./cmd/bottle-dash"}},
		{filepath.Join(libexec, "sidecars"), []string{"./cmd/bottle-egress", "./cmd/bottle-supervise", "./cmd/bottle-git-gate"}},
		{filepath.Join(libexec, "inside"), []string{"./cmd/bottle-inside"}},
		{filepath.Join(dir, "upstream"), []string{"./test/upstream", "./test/pipelock"}},
	} {
		if err := goBuild(root, b.to, b.sources); err != nil {
			return "", err
		}
	}
	script, err := os.ReadFile(filepath.Join(root, "scripts", "base-image"))
	if err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(libexec, "base-image"), script, 0o755)
}

// goBuild builds as make build does.
func goBuild(root, to string, sources []string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	args := []string{"build", "-trimpath", "-buildvcs=false", "-tags=urfave_cli_no_docs", "-ldflags=-s -w", "-o", to + "/"}
	cmd := exec.Command("go", append(args, sources...)...)
	hangUp(cmd)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build %s: %w: %s", strings.Join(sources, " "), err, out)
	}
	return nil
}

// moduleRoot is the checkout that the test belongs to.
func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("cannot find the module: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}
