// Package inside is the logic of bottle-inside, the static helper in the
// agent's container: it keeps the agent's session, shows it, and runs commands
// in it. It runs as the agent's uid, and the agent can do to it whatever it can
// do to itself: nothing here is a wall, the host judges what comes out. It
// knows no engine and nothing of the host.
package inside

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"

	"bottle/pkg/tmux"
)

// Command is one subcommand of bottle-inside. Run returns the exit code.
type Command struct {
	Name  string
	Usage string
	Run   func(args []string, in io.Reader, out, errOut io.Writer) int
}

// Commands are the subcommands of the session.
func Commands() []Command {
	return []Command{
		{"start", "start the session that standard input describes as JSON", Start},
		{"agent", "run the agent and keep its exit code; for the session's own use", Agent},
		{"view", "[--term T] [--cols N --rows N] [-- CMD…]: show the session, or CMD, on a terminal of its own", View},
		{"run", "-- CMD…: run CMD in the session's environment", Run},
		{"forward", "dial ports of this container for the host, by the tunnel on standard input and output", Forward},
		{"send", "type the text on standard input into the session", Send},
		{"activity", "working|waiting|idle: tell the host what the agent does", Activity},
		{"peek", "[--history [--color]]: print the session's screen, or all that is to scroll back to", Peek},
		{"selected", "keep what standard input has for selection; for the session's own use", Selected},
		{"selection", "print what was selected a moment ago, once", Selection},
		{"wait", "wait for the agent's end and return its exit code", Wait},
	}
}

// Dispatch runs the command that args name. args[0] is the program.
func Dispatch(table []Command, args []string, in io.Reader, out, errOut io.Writer) int {
	if len(args) > 1 {
		for _, c := range table {
			if c.Name == args[1] {
				return c.Run(args[2:], in, out, errOut)
			}
		}
	}
	fmt.Fprintln(errOut, "usage: bottle-inside COMMAND")
	for _, c := range table {
		fmt.Fprintf(errOut, "  %-8s %s\n", c.Name, c.Usage)
	}
	return exitUsage
}

const (
	exitFailed     = 1
	exitUsage      = 2
	exitCannotRun  = 126
	exitNoCommand  = 127
	exitSignalBase = 128
	exitKilled     = exitSignalBase + int(syscall.SIGKILL)
)

// Where things are in the container; the environment moves them for tests.
const (
	sessionDir = "/tmp/bottle-session"
	homeFiles  = "/etc/bottle/home"
)

func fromEnv(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// session is the directory where the session keeps its socket and its records.
type session struct{ dir string }

func theSession() session { return session{fromEnv("BOTTLE_SESSION", sessionDir)} }

func (s session) path(name string) string { return filepath.Join(s.dir, name) }

func (s session) tmux() tmux.Server {
	return tmux.Server{Socket: s.path("tmux.sock"), Conf: s.path("tmux.conf")}
}

// make creates the directory, and refuses one that is not the caller's alone.
func (s session) make() error {
	if err := os.Mkdir(s.dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot make the session's directory: %w", err)
	}
	fi, err := os.Lstat(s.dir)
	if err != nil {
		return fmt.Errorf("cannot look at the session's directory: %w", err)
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !fi.IsDir() || !ok || int(st.Uid) != os.Getuid() {
		return fmt.Errorf("%s is not a directory of uid %d", s.dir, os.Getuid())
	}
	return os.Chmod(s.dir, 0o700)
}

// lives says whether the session's server answers.
func (s session) lives() bool {
	_, err := output(s.tmux().Has())
	return err == nil
}

// output runs a command to its end and returns what it prints; the error says
// what it complained of.
func output(argv []string) ([]byte, error) {
	out, err := exec.Command(argv[0], argv[1:]...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return out, fmt.Errorf("%s: %s", argv[0], firstLine(exit.Stderr))
	}
	return out, err
}

var line = regexp.MustCompile(`[^\n]*`)

func firstLine(b []byte) string { return string(line.Find(b)) }

// flags returns an empty set of flags that reports on errOut.
func flags(name string, errOut io.Writer) *flag.FlagSet {
	f := flag.NewFlagSet("bottle-inside "+name, flag.ContinueOnError)
	f.SetOutput(errOut)
	return f
}

// ending returns a channel that is told when this program shall end.
func ending() chan os.Signal {
	c := make(chan os.Signal, 4)
	signal.Notify(c, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
	return c
}

func complain(errOut io.Writer, err error) int {
	fmt.Fprintf(errOut, "bottle-inside: %v\n", err)
	return exitFailed
}

// exitCode is a command's end as a shell would tell it; what kept it from
// starting is said on errOut.
func exitCode(err error, errOut io.Writer) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return waitCode(exit.Sys().(syscall.WaitStatus))
	}
	complain(errOut, err)
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return exitNoCommand
	}
	return exitCannotRun
}

func waitCode(ws syscall.WaitStatus) int {
	if ws.Signaled() {
		return exitSignalBase + int(ws.Signal())
	}
	return ws.ExitStatus()
}
