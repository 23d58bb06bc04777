package workspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
	"unicode"
)

// git runs git in one directory with one environment.
type git struct {
	dir  string
	env  []string
	args []string // before the subcommand
}

// quiet keeps git from running what a working tree or its configuration
// names, and from asking or fetching anything.
var quiet = []string{
	"-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.untrackedCache=false",
	"-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "advice.detachedHead=false",
}

// trusted is git with the user's own configuration. Variables that would point
// it at another repository are dropped.
func trusted(dir string) git {
	env := []string{}
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		switch {
		case name == "GIT_CONFIG_NOSYSTEM", name == "GIT_CONFIG_SYSTEM", name == "GIT_CONFIG_GLOBAL",
			name == "GIT_CEILING_DIRECTORIES", !strings.HasPrefix(name, "GIT_"):
			env = append(env, kv)
		}
	}
	return git{dir: dir, env: append(env, fixedEnv...), args: quiet}
}

// No protocol is allowed: older gits know no GIT_NO_LAZY_FETCH, and would
// fetch what a partial clone lacks. Grafts are another way than replacing to
// see parents that a commit has not.
var fixedEnv = []string{
	"LC_ALL=C", "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0", "GIT_NO_LAZY_FETCH=1",
	"GIT_ALLOW_PROTOCOL=", "GIT_NO_REPLACE_OBJECTS=1", "GIT_GRAFT_FILE=/dev/null", "GIT_LITERAL_PATHSPECS=1",
}

func (g git) with(env ...string) git {
	g.env = append(append([]string{}, g.env...), env...)
	return g
}

func (g git) in(dir string) git {
	g.dir = dir
	return g
}

func (g git) set(config ...string) git {
	g.args = append([]string{}, g.args...)
	for _, c := range config {
		g.args = append(g.args, "-c", c)
	}
	return g
}

func (g git) cmd(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", append(append([]string{}, g.args...), args...)...)
	cmd.Dir = g.dir
	cmd.Env = g.env
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// gitError is a git that failed.
type gitError struct {
	Sub    string // the subcommand
	Code   int    // -1: killed, or never ran
	Stderr string
	Err    error
}

func (e *gitError) Error() string {
	said := strings.TrimSpace(e.Stderr)
	if said == "" {
		return fmt.Sprintf("git %s: %v", e.Sub, e.Err)
	}
	if i := strings.LastIndex(said, "fatal: "); i >= 0 {
		said = said[i+len("fatal: "):]
	}
	said, _, _ = strings.Cut(said, "\n")
	// It may name files, by names that a stranger chose.
	return fmt.Sprintf("git %s: %s", e.Sub, strings.Map(printable, said))
}

func printable(r rune) rune {
	if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
		return '?'
	}
	return r
}

func (e *gitError) Unwrap() error { return e.Err }

// exitCode is git's exit code, 0 for nil and -1 for another error.
func exitCode(err error) int {
	var ge *gitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &ge):
		return ge.Code
	}
	return -1
}

// run runs git with the given ends; either may be nil.
func (g git) run(ctx context.Context, stdin io.Reader, stdout io.Writer, args ...string) error {
	return g.saying(ctx, stdin, stdout, &tail{max: 16 << 10}, args...)
}

func (g git) saying(ctx context.Context, stdin io.Reader, stdout io.Writer, stderr *tail, args ...string) error {
	cmd := g.cmd(ctx, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	return finished(ctx, cmd.Run(), args[0], stderr)
}

func finished(ctx context.Context, err error, sub string, stderr *tail) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	ge := &gitError{Sub: sub, Code: -1, Stderr: stderr.String(), Err: err}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		ge.Code = exit.ExitCode()
	}
	return ge
}

func (g git) out(ctx context.Context, args ...string) ([]byte, error) {
	return g.pipe(ctx, nil, args...)
}

// outSaying is out, with what git warned of.
func (g git) outSaying(ctx context.Context, args ...string) ([]byte, string, error) {
	var b bytes.Buffer
	stderr := &tail{max: 16 << 10}
	err := g.saying(ctx, nil, &b, stderr, args...)
	return b.Bytes(), stderr.String(), err
}

func (g git) pipe(ctx context.Context, stdin []byte, args ...string) ([]byte, error) {
	var b bytes.Buffer
	err := g.run(ctx, bytes.NewReader(stdin), &b, args...)
	return b.Bytes(), err
}

// line is out without the newline that ends it.
func (g git) line(ctx context.Context, args ...string) (string, error) {
	b, err := g.out(ctx, args...)
	return strings.TrimSuffix(string(b), "\n"), err
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

// feed is a git that is being fed piece by piece.
type feed struct {
	ctx    context.Context
	sub    string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stderr *tail
}

func (g git) feed(ctx context.Context, args ...string) (*feed, error) {
	f := &feed{ctx: ctx, sub: args[0], cmd: g.cmd(ctx, args...), stderr: &tail{max: 16 << 10}}
	f.cmd.Stderr = f.stderr
	var err error
	if f.stdin, err = f.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	return f, f.cmd.Start()
}

// Write says why git is gone, if it is, rather than "broken pipe".
func (f *feed) Write(p []byte) (int, error) {
	n, err := f.stdin.Write(p)
	if err != nil {
		if gone := f.close(); gone != nil {
			err = gone
		}
	}
	return n, err
}

func (f *feed) close() error {
	f.stdin.Close()
	return finished(f.ctx, f.cmd.Wait(), f.sub, f.stderr)
}

// abandon ends a git whose result does not matter any more.
func (f *feed) abandon() {
	f.cmd.Process.Kill()
	f.stdin.Close()
	f.cmd.Wait()
}

// zsplit splits NUL-ended records.
func zsplit(b []byte) []string {
	s := strings.TrimSuffix(string(b), "\x00")
	if s == "" {
		return nil
	}
	return strings.Split(s, "\x00")
}
