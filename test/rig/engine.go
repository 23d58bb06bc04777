package rig

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// EngineOptions say what a private engine is like. The zero value is this
// machine's engine with nothing in it.
type EngineOptions struct {
	// Root is the folder of a Debian system whose engine is run. Empty: what
	// $BOTTLE_TEST_ENGINE names, else this machine's own.
	Root string
	// Config is laid over the daemon's configuration file.
	Config map[string]any
	// DiskMiB is the size of a disk of its own (in memory) for all that the
	// engine keeps; images need their room too. 0: as much as there is.
	DiskMiB int
	// Resolver is the loopback address at which the host's name server listens.
	// Empty: 127.0.0.53, as systemd-resolved's.
	Resolver string
}

// engineRoot names the variable that makes another engine the tests' own.
const engineRoot = "BOTTLE_TEST_ENGINE"

// Engine is a Docker engine of the test's own, in process, mount and network
// namespaces of its own. Its host has one wire, to a second network namespace
// that plays the internet: it has every address and records all that arrives.
// The host's name server, on a loopback address, records what it is asked and
// answers every name with an address there. No packet leaves the machine.
//
// All of it dies with the test, also when that is killed; its files are swept by
// the next run.
type Engine struct {
	Host string // for DOCKER_HOST

	t      testing.TB
	dir    string
	init   *exec.Cmd // process 1 of the namespaces
	orders io.Writer
	said   chan string // its lines; closed when it is gone
	ready  *net.UnixConn
}

//go:embed space.sh
var space string

// patience bounds the wait for an engine to start or end.
const patience = 2 * time.Minute

// PrivateEngine starts an engine that goes when the test ends. It needs root:
// without, the test is skipped, with the reason.
func PrivateEngine(t testing.TB, o EngineOptions) *Engine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("an engine of the test's own needs namespaces, mounts and a bridge: only root may make them")
	}
	upstream := ownProgram(t, "upstream")
	sweepOnce(t)
	dir, err := makeDir()
	if err != nil {
		t.Fatal(err)
	}
	e := &Engine{t: t, dir: filepath.Join(dir, engineDir)}
	e.Host = "unix://" + filepath.Join(e.dir, "socket")
	t.Cleanup(func() {
		e.end()
		if err := remove(dir); err != nil {
			t.Errorf("the engine was not taken down whole: %v", err)
		}
	})
	if err := e.prepare(o, upstream); err != nil {
		t.Fatal(err)
	}
	e.await("up", nil)
	e.Start()
	return e
}

// prepare writes the engine's files and starts process 1.
func (e *Engine) prepare(o EngineOptions, upstream string) error {
	if err := os.MkdirAll(e.dir, 0o711); err != nil {
		return err
	}
	if o.Root == "" {
		o.Root = os.Getenv(engineRoot)
	}
	if o.Resolver == "" {
		o.Resolver = "127.0.0.53"
	}
	err := errors.Join(e.configure(o.Config), os.WriteFile(e.path("resolv.conf"), []byte("nameserver "+o.Resolver+"\n"), 0o644))
	if err != nil {
		return err
	}
	if e.ready, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: e.path("notify"), Net: "unixgram"}); err != nil {
		return err
	}
	e.init = exec.Command("bash", "-c", space)
	e.init.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL,
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET}
	disk := ""
	if o.DiskMiB > 0 {
		disk = fmt.Sprint(o.DiskMiB)
	}
	e.init.Env = append(os.Environ(), "DIR="+e.dir, "NAME="+filepath.Base(filepath.Dir(e.dir)), "ROOT="+o.Root, "DISK="+disk, "RESOLVER="+o.Resolver, "UPSTREAM="+upstream)
	log, err := os.OpenFile(e.path("engine.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	e.init.Stderr = log
	if e.orders, err = e.init.StdinPipe(); err != nil {
		return err
	}
	out, err := e.init.StdoutPipe()
	if err != nil {
		return err
	}
	if err := e.init.Start(); err != nil {
		return fmt.Errorf("cannot make namespaces for an engine: %w", err)
	}
	e.said = make(chan string)
	go func() {
		defer close(e.said)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			e.said <- lines.Text()
		}
	}()
	return nil
}

func (e *Engine) path(name string) string { return filepath.Join(e.dir, name) }

// end kills all of the engine's processes.
func (e *Engine) end() {
	if e.init == nil || e.init.Process == nil {
		return
	}
	// With process 1 its namespace ends; Wait returns when the last one is gone.
	e.init.Process.Kill()
	for range e.said {
	}
	e.init.Wait()
	e.ready.Close()
}

// Configure has the next Start lay other things over the configuration.
func (e *Engine) Configure(config map[string]any) {
	e.t.Helper()
	if err := e.configure(config); err != nil {
		e.t.Fatal(err)
	}
}

func (e *Engine) configure(config map[string]any) error {
	if config == nil {
		config = map[string]any{}
	}
	doc, err := json.Marshal(config)
	if err != nil {
		return err
	}
	return os.WriteFile(e.path("daemon.json"), doc, 0o600)
}

// Volume is where the engine keeps what is in a volume, on this machine's disk.
func (e *Engine) Volume(name string) string {
	return e.path(filepath.Join("data", "volumes", name, "_data"))
}

// order tells process 1 what to do.
func (e *Engine) order(word string) {
	e.t.Helper()
	if _, err := io.WriteString(e.orders, word+"\n"); err != nil {
		e.t.Fatalf("cannot tell the engine to %s: %v: %s", word, err, e.lastWords())
	}
}

// await returns when process 1 says a line that begins so, or when other is
// closed. Any other line, and silence, is a failure.
func (e *Engine) await(line string, other <-chan struct{}) {
	e.t.Helper()
	select {
	case said, alive := <-e.said:
		if !alive || !strings.HasPrefix(said, line) || line == "" {
			e.t.Fatalf("the engine is away (%s): %s", said, e.lastWords())
		}
	case <-other:
	case <-time.After(patience):
		e.t.Fatalf("the engine did not answer for %s: %s", patience, e.lastWords())
	}
}

func (e *Engine) lastWords() string {
	const most = 3000
	log, _ := os.ReadFile(e.path("engine.log"))
	if len(log) > most {
		log = log[len(log)-most:]
	}
	return string(log)
}

// Start starts the engine, on what it had before, and returns when it answers.
// PrivateEngine has done so already.
func (e *Engine) Start() {
	e.t.Helper()
	serves := make(chan struct{})
	// The engine tells it as it would tell systemd.
	go func() {
		defer close(serves)
		message := make([]byte, 1024)
		for {
			n, err := e.ready.Read(message)
			if err != nil || bytes.Contains(message[:n], []byte("READY=1")) {
				return
			}
		}
	}()
	e.order("start")
	e.await("", serves)
}

// Stop has the engine end as on a shutdown: without live-restore in its
// configuration it stops its containers first.
func (e *Engine) Stop() { e.t.Helper(); e.order("stop"); e.await("ended", nil) }

// Kill ends the engine in the middle of whatever it does. Containers live on
// until the next Start, which without live-restore ends them.
func (e *Engine) Kill() { e.t.Helper(); e.order("kill"); e.await("ended", nil) }

// Rig makes a home whose bottles are on this engine, and trust the internet that
// is played there. Programs run on the engine's host: in its network, with its
// name server.
func (e *Engine) Rig() *Rig {
	e.t.Helper()
	r := New(e.t)
	r.engine = e
	pem, err := os.ReadFile(e.path("ca.pem"))
	if err != nil {
		e.t.Fatal(err)
	}
	r.Write("ca/internet.pem", string(pem))
	return r
}

// Command prepares a program of this machine's to be run on the engine's host.
func (e *Engine) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	const enter = `mount --bind "$0" /etc/resolv.conf && exec "$@"`
	prefix := []string{fmt.Sprintf("--net=/proc/%d/ns/net", e.init.Process.Pid), "unshare", "--mount", "sh", "-c", enter, e.path("resolv.conf"), program}
	cmd := exec.CommandContext(ctx, "nsenter", append(prefix, args...)...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.Host)
	hangUp(cmd)
	return cmd
}

// Tool runs a program of the system that the engine is of, such as its docker,
// and returns what it said; an error is the test's.
func (e *Engine) Tool(args ...string) string {
	e.t.Helper()
	pid := fmt.Sprint(e.init.Process.Pid)
	cmd := exec.Command("nsenter", append([]string{"--target", pid, "--mount", "--net", "--pid", "--"}, args...)...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.Host)
	hangUp(cmd)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		e.t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, said.String())
	}
	return out.String()
}

// Internet is what arrived at the other end of the wire so far, each packet,
// and what the servers there made of them.
func (e *Engine) Internet() []Entry { e.t.Helper(); return e.entries("internet.jsonl") }

// Resolver is what the host's name server was asked so far.
func (e *Engine) Resolver() []Entry { e.t.Helper(); return e.entries("resolver.jsonl") }

func (e *Engine) entries(file string) []Entry {
	e.t.Helper()
	data, err := os.ReadFile(e.path(file))
	if err != nil {
		e.t.Fatal(err)
	}
	// The last line may be under way.
	whole := data[:bytes.LastIndexByte(data, '\n')+1]
	return decodeEntries(e.t, string(whole))
}

// Load copies images into the engine from the one that the tests have besides.
func (e *Engine) Load(images ...string) {
	e.t.Helper()
	save, load := clientCommand("", append([]string{"save"}, images...)...), clientCommand(e.Host, "load")
	var said bytes.Buffer
	save.Stderr, load.Stderr = &said, &said
	pipe, err := save.StdoutPipe()
	if err != nil {
		e.t.Fatal(err)
	}
	load.Stdin = pipe
	if err := save.Start(); err != nil {
		e.t.Fatal(err)
	}
	if err := errors.Join(load.Run(), save.Wait()); err != nil {
		e.t.Fatalf("cannot copy %s: %v: %s", strings.Join(images, " "), err, said.String())
	}
}
