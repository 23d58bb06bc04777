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

// build returns the directory with what is made.
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

// made says where what of ./cmd and ./test is built, below a rig's programs. A make
// that tests has made all of it there already.
var made = map[string][]string{
	"bin":                     {"bottle-start", "bottle-attach", "bottle-ls", "bottle-approve", "bottle-edit", "bottle-log", "bottle-stop", "bottle-dash"},
	"libexec/bottle/sidecars": {"bottle-egress", "bottle-supervise", "bottle-git-gate"},
	"libexec/bottle/inside":   {"bottle-inside"},
	ownPrograms:               {"upstream", "pipelock", "asker", "dialer"},
}

// ownPrograms is where the tests' own programs are.
const ownPrograms = "libexec/test"

// ownProgram is the path of one of them.
func ownProgram(t testing.TB, name string) string {
	t.Helper()
	return filepath.Join(build(t), ownPrograms, name)
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
	// go build makes only what is not up to date. It looks at everything it is made
	// of, so that it is called once, and all is in one directory meanwhile.
	all := filepath.Join(dir, "all")
	if err := os.Mkdir(all, 0o755); err != nil {
		return "", err
	}
	var sources []string
	for below, names := range made {
		parent := "./cmd/"
		if below == ownPrograms {
			parent = "./test/"
		}
		for _, name := range names {
			sources = append(sources, parent+name)
			if err := copyProgram(filepath.Join(root, below, name), filepath.Join(all, name)); err != nil {
				return "", err
			}
		}
	}
	if err := goBuild(root, all, sources); err != nil {
		return "", err
	}
	for below, names := range made {
		if err := os.MkdirAll(filepath.Join(dir, below), 0o755); err != nil {
			return "", err
		}
		for _, name := range names {
			if err := os.Rename(filepath.Join(all, name), filepath.Join(dir, below, name)); err != nil {
				return "", err
			}
		}
	}
	script, err := os.ReadFile(filepath.Join(root, "scripts", "base-image"))
	if err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, "libexec", "bottle", "base-image"), script, 0o755)
}

// copyProgram copies a program, if it is there.
func copyProgram(from, to string) error {
	program, err := os.ReadFile(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.WriteFile(to, program, 0o755)
}

// goBuild builds into a directory as make build does.
func goBuild(root, to string, sources []string) error {
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
