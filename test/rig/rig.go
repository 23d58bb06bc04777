// Package rig is what tests against a real engine stand on: a $BOTTLE_HOME of
// their own, the programs as they are installed, and an internet that the tests
// play themselves. All that it makes is taken down when the test ends; what a
// killed run left is swept by the next. Nothing but tests uses it.
package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"bottle/pkg/bottle"
	"bottle/pkg/plan"
	"bottle/pkg/spool"
)

// Rig is one test's home and programs. Its fields may be changed before use.
type Rig struct {
	Home    string   // $BOTTLE_HOME
	Bin     string   // directory of the operator's programs
	Libexec string   // directory of what runs in containers
	Dir     string   // where programs run; an empty folder at first
	Env     []string // further variables for the programs, NAME=value

	t        testing.TB
	dir      string    // all of the rig's files
	tag      string    // value of the label bottle.test
	engine   *Engine   // nil: the one that all have
	upstream *Upstream // the last one; nil: none
}

// label marks what the rig makes besides bottles.
const label = "bottle.test"

// New makes a rig. It goes, with all bottles of its home, when the test ends.
func New(t testing.TB) *Rig {
	t.Helper()
	programs := build(t)
	watchEngine()
	sweepOnce(t)
	dir, err := makeDir()
	if err != nil {
		t.Fatal(err)
	}
	r := &Rig{Home: filepath.Join(dir, "home"), Bin: filepath.Join(programs, "bin"), Libexec: filepath.Join(programs, "libexec", "bottle"),
		Dir: filepath.Join(dir, "folder"), t: t, dir: dir, tag: filepath.Base(dir)}
	for path, mode := range map[string]os.FileMode{"home": 0o700, "home/bottles": 0o700, "home/agents": 0o700, "home/ca": 0o700, "folder": 0o755} {
		if err := os.MkdirAll(filepath.Join(dir, path), mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if r.engine != nil {
			r.engine.end() // or its sidecars would write where we remove
		}
		if err := remove(dir); err != nil {
			t.Errorf("the rig was not taken down whole: %v", err)
		}
	})
	return r
}

// Write writes a file of the home, such as agents/dev.md.
func (r *Rig) Write(name, content string) {
	r.t.Helper()
	path := filepath.Join(r.Home, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// Agent writes an agent called name, a shell, and a bottle of the same name
// with these routes and no more.
func (r *Rig) Agent(name string, hosts ...string) {
	r.t.Helper()
	var routes strings.Builder
	for _, h := range hosts {
		routes.WriteString("    - {host: " + h + ", private: true}\n") // where the tests' internet is
	}
	front := ""
	if len(hosts) > 0 {
		front = "egress:\n  routes:\n" + routes.String()
	}
	r.Write("bottles/"+name+".md", "---\n"+front+"---\n")
	r.Write("agents/"+name+".md", "---\nbottle: "+name+"\nprogram: shell\n---\n")
}

// Command prepares one of the programs, to be run with the rig's home and
// without a terminal.
func (r *Rig) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	path := filepath.Join(r.Bin, program)
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = os.Environ()
	if r.engine != nil {
		cmd = r.engine.Command(ctx, path, args...)
	}
	cmd.Dir = r.Dir
	cmd.Env = append(cmd.Env, "BOTTLE_HOME="+r.Home, "BOTTLE_LIBEXEC="+r.Libexec)
	cmd.Env = append(cmd.Env, r.Env...)
	return cmd
}

// Run runs one of the programs to its end.
func (r *Rig) Run(program string, args ...string) (stdout, stderr string, code int) {
	r.t.Helper()
	return r.finish(r.Command(context.Background(), program, args...))
}

func (r *Rig) finish(cmd *exec.Cmd) (stdout, stderr string, code int) {
	r.t.Helper()
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.t.Fatalf("cannot run %s: %v", cmd.Path, err)
	}
	return out.String(), said.String(), cmd.ProcessState.ExitCode()
}

// Shell runs a shell line in which the programs are found.
func (r *Rig) Shell(line string) (stdout, stderr string, code int) {
	r.t.Helper()
	cmd := r.Command(context.Background(), "sh")
	cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", line}
	cmd.Env = append(cmd.Env, "PATH="+r.Bin+":"+os.Getenv("PATH"))
	return r.finish(cmd)
}

// Start starts a bottle with an empty workspace, and returns its slug.
func (r *Rig) Start(agent string, flags ...string) string {
	r.t.Helper()
	args := append([]string{"--yes", "--detach", "--workspace", "none"}, flags...)
	out, said, code := r.Run("bottle-start", append(args, agent)...)
	if code != 0 {
		r.t.Fatalf("bottle-start ended with %d: %s", code, said)
	}
	return strings.TrimSpace(out)
}

// StartDocs starts a bottle with flags, whose agent, a shell, may reach /known of
// docs.example in u, and no more.
func (r *Rig) StartDocs(flags ...string) (u *Upstream, slug string) {
	r.t.Helper()
	u = r.Upstream("docs.example")
	r.Write("agents/dev.md", "---\nbottle: dev\nprogram: shell\n---\n")
	r.Write("bottles/dev.md", "---\negress:\n  routes:\n  - {host: docs.example, path_allowlist: [/known], private: true}\n---\n")
	slug = r.Start("dev", flags...)
	u.Join(slug)
	return u, slug
}

// Watch runs bottle-ls --watch of what args say, and returns what it prints and
// what ends it.
func (r *Rig) Watch(ctx context.Context, args ...string) (lines *json.Decoder, end func()) {
	r.t.Helper()
	return r.lines(ctx, "bottle-ls", append(args, "--watch")...)
}

// lines runs a program that prints documents until it is ended.
func (r *Rig) lines(ctx context.Context, program string, args ...string) (lines *json.Decoder, end func()) {
	r.t.Helper()
	cmd := r.Command(ctx, program, args...)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return json.NewDecoder(out), func() {
		cmd.Process.Kill()
		cmd.Wait()
	}
}

// Bottles are those of the home, as bottle-ls lists them.
func (r *Rig) Bottles() []bottle.Bottle {
	r.t.Helper()
	ctx, cancel := Patient(r.t)
	defer cancel()
	out, said, code := r.Run("bottle-ls")
	for ; code != 0 && strings.Contains(said, "has not answered for ") && ctx.Err() == nil; out, said, code = r.Run("bottle-ls") {
		r.t.Log(said) // a busy one: it is asked again, as a person would
	}
	if code != 0 {
		r.t.Fatalf("bottle-ls ended with %d: %s", code, said)
	}
	var all []bottle.Bottle
	for line := range strings.Lines(out) {
		all = append(all, Decode[bottle.Bottle](r.t, line))
	}
	return all
}

// Inside runs a command in the session's environment of a bottle.
func (r *Rig) Inside(slug string, argv ...string) (stdout, stderr string, code int) {
	r.t.Helper()
	return r.Run("bottle-attach", append([]string{slug, "--"}, argv...)...)
}

// Docker runs the engine's own client and returns what it said; an error of
// its is the test's.
func (r *Rig) Docker(args ...string) string {
	r.t.Helper()
	out, err := r.TryDocker(args...)
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

// TryDocker is Docker for what may fail.
func (r *Rig) TryDocker(args ...string) (string, error) { return clientOf(r.host(), args...) }

// DockerCommand is Docker for what has streams of its own.
func (r *Rig) DockerCommand(args ...string) *exec.Cmd { return clientCommand(r.host(), args...) }

// host is the DOCKER_HOST of the rig's engine; empty: the tests' own.
func (r *Rig) host() string {
	if r.engine == nil {
		return ""
	}
	return r.engine.Host
}

// Restart has the engine restart a sidecar, which then lacks its values, and waits
// until it serves.
func (r *Rig) Restart(slug, service string) {
	r.t.Helper()
	r.Docker("stop", "-t", "1", plan.ContainerName(slug, service))
	r.Revive(slug, service)
}

// Revive has the engine start a sidecar that has ended, which then lacks its values,
// and waits until it serves.
func (r *Rig) Revive(slug, service string) {
	r.t.Helper()
	ready := filepath.Join(r.Home, "state", slug, service, "out", "ready")
	changes, stop, err := spool.Watch(ready)
	if err != nil {
		r.t.Fatal(err)
	}
	defer stop()
	if err := os.Remove(ready); err != nil && !errors.Is(err, fs.ErrNotExist) { // left where it was killed
		r.t.Fatal(err)
	}
	name := plan.ContainerName(slug, service)
	r.Docker("start", name)
	ctx, cancel := Patient(r.t)
	defer cancel()
	for {
		if _, err := os.Lstat(ready); err == nil {
			return
		}
		select {
		case <-changes:
		case <-ctx.Done():
			r.t.Fatalf("%s does not serve: %v", name, ctx.Err())
		}
	}
}

// Container runs a container of the test's own in the background; it goes with
// the rig. The name is made unique, and returned.
func (r *Rig) Container(name string, args ...string) string {
	r.t.Helper()
	name = r.tag + "-" + name
	r.Docker(append([]string{"run", "-d", "--name", name, "--label", label + "=" + r.tag}, args...)...)
	return name
}

// Decode reads a document that a program printed.
func Decode[T any](t testing.TB, line string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(line), &v); err != nil {
		t.Fatalf("cannot read %q: %v", line, err)
	}
	return v
}

// hangUp has a child die with the test: a killed run leaves no process.
func hangUp(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
