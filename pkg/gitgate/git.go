package gitgate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// git runs git on one repository, with an environment and settings of its own
// and nothing of anybody else's.
type git struct {
	dir string // the repository
	env []string
}

// settings are those of every git that runs here.
var settings = []string{
	"-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "gc.auto=0", "-c", "maintenance.auto=false",
	"-c", "core.bigFileThreshold=16m", "-c", "core.deltaBaseCacheLimit=16m", "-c", "pack.threads=2", "-c", "pack.windowMemory=32m",
	"-c", "core.packedGitLimit=128m", "-c", "protocol.version=2", "-c", "core.alternateRefsCommand=true", "-c", "advice.pushUpdateRejected=false", "-c", "advice.graftFileDeprecated=false",
}

// BoundMemory has the program's collector work seldom, and harder from a size on:
// git needs the rest of what the container has.
func BoundMemory() {
	debug.SetGCPercent(400)
	debug.SetMemoryLimit(112 << 20)
}

// maxData bounds the memory that one git may have of its own, in bytes.
const maxData = 320 << 20

func gitIn(dir string) git {
	return git{dir: dir, env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/nonexistent", "LC_ALL=C", "TZ=UTC",
		"GIT_DIR=" + dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0", "GIT_NO_REPLACE_OBJECTS=1",
		"GIT_GRAFT_FILE=/dev/null", "GIT_NO_LAZY_FETCH=1", "GIT_ALLOW_PROTOCOL=", "GIT_ASKPASS=/bin/false", "GIT_LITERAL_PATHSPECS=1"}}
}

// with adds to the environment; the last of a name counts.
func (g git) with(env ...string) git {
	g.env = append(append([]string{}, g.env...), env...)
	return g
}

// in looks at a quarantine as well as at the repository.
func (g git) in(quarantine string) git {
	return g.with("GIT_OBJECT_DIRECTORY="+quarantine, "GIT_ALTERNATE_OBJECT_DIRECTORIES="+g.dir+"/objects")
}

// only looks at a quarantine alone.
func (g git) only(quarantine string) git { return g.with("GIT_OBJECT_DIRECTORY=" + quarantine) }

func (g git) cmd(ctx context.Context, args ...string) *exec.Cmd {
	return g.program(ctx, "git", append(append([]string{}, settings...), args...)...)
}

// program is another program in git's place.
func (g git) program(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = g.env
	cmd.Dir = g.dir
	if _, err := os.Stat(g.dir); err != nil {
		cmd.Dir = "/"
	}
	// Its children end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// start starts a git that cannot take all memory.
func start(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	limit := unix.Rlimit{Cur: maxData, Max: maxData}
	if err := unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_DATA, &limit, nil); err != nil && !errors.Is(err, unix.ESRCH) {
		cmd.Cancel()
		cmd.Wait()
		return fmt.Errorf("cannot bound git's memory: %w", err)
	}
	return nil
}

// gitError is a git that failed, and the end of what it said.
type gitError struct {
	sub  string
	said string
	err  error
}

func (e *gitError) Error() string {
	said := strings.TrimSpace(e.said)
	if i := strings.LastIndex(said, "fatal: "); i >= 0 {
		said = said[i+len("fatal: "):]
	}
	if said == "" {
		return fmt.Sprintf("git %s: %v", e.sub, e.err)
	}
	said, _, _ = strings.Cut(said, "\n")
	return inert(said)
}

func (e *gitError) Unwrap() error { return e.err }

// run runs git to its end. in and out may be nil.
func (g git) run(ctx context.Context, in io.Reader, out io.Writer, args ...string) error {
	said := &tail{max: 16 << 10}
	cmd := g.cmd(ctx, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, said
	err := start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return &gitError{sub: args[0], said: said.String(), err: err}
}

// out is run with what git answers, at most maxAnswer bytes of it: errTooLong.
func (g git) out(ctx context.Context, in string, args ...string) (string, error) {
	b := &bounded{left: maxAnswer}
	err := g.run(ctx, strings.NewReader(in), b, args...)
	if b.left < 0 {
		return "", errTooLong
	}
	return b.buf.String(), err
}

// commits are those of the IDs that are here.
func (g git) commits(ctx context.Context, ids []string) (here []string, err error) {
	list, err := g.out(ctx, strings.Join(ids, "\n")+"\n", "cat-file", "--batch-check", "--buffer")
	for line := range strings.Lines(list) {
		if f := strings.Fields(line); len(f) == 3 && f[1] == "commit" {
			here = append(here, f[0])
		}
	}
	return here, err
}

const maxAnswer = 64 << 20

// exitCode is git's, -1 where it did not end by itself.
func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return -1
}

// tail keeps the end of what is written to it.
type tail struct {
	max int
	b   []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if len(t.b) > t.max {
		t.b = append(t.b[:0], t.b[len(t.b)-t.max:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return string(t.b) }

// bounded takes so much and no more. It has nothing of the buffer's own: a copy would
// go round the bound, by ReadFrom.
type bounded struct {
	buf  bytes.Buffer
	left int
}

var errTooLong = errors.New("git's answer is too long")

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errTooLong
	}
	return b.buf.Write(p)
}

// inert makes text fit for a line on somebody's terminal.
func inert(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0xfffd:
			return '?'
		case r >= 0x200b && r <= 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2060 && r <= 0x206f || r == 0xfeff:
			return '?'
		}
		return r
	}, s)
	if len(s) > maxShown {
		s = strings.ToValidUTF8(s[:maxShown], "") + "…"
	}
	return s
}

const maxShown = 300 // bytes of a text of the agent's that are shown
