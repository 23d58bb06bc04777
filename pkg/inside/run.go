package inside

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"bottle/pkg/frame"
)

// graceCommand is how long a command has after the hang-up.
const graceCommand = 500 * time.Millisecond

// Run runs a command in the session's environment, with its standard output
// and error apart, and returns its exit code. in is framed: the command's
// input ends with a frame that says so, and where the stream itself ends, its
// writer is gone and the command is ended.
func Run(args []string, in io.Reader, out, errOut io.Writer) int {
	f := flags("run", errOut)
	if f.Parse(args) != nil {
		return exitUsage
	}
	if f.NArg() == 0 {
		return complain(errOut, errors.New("no command to run"))
	}
	s := theSession()
	cmd := s.exec(f.Args())
	cmd.Stdout, cmd.Stderr = out, errOut
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return complain(errOut, err)
	}
	end := ending()
	if err := cmd.Start(); err != nil {
		return exitCode(err, errOut)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		feed(in, stdin)
	}()
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		return exitCode(err, errOut)
	case <-gone:
	case <-end:
	}
	return exitCode(hangUp(cmd.Process.Pid, done), errOut)
}

// feed passes the framed input on and returns when its writer is gone.
func feed(in io.Reader, stdin io.WriteCloser) {
	q := newQueue()
	defer q.Close()
	go func() {
		defer stdin.Close()
		q.drain(stdin)
	}()
	for r := frame.NewReader(in); ; {
		f, err := r.Next()
		if err != nil {
			return
		}
		switch f.Kind {
		case frame.Data:
			q.Write(f.Payload)
		case frame.EOF:
			q.Close()
		}
	}
}

// hangUp ends a process and its group, kindly at first, and returns what done
// tells of it.
func hangUp(pid int, done <-chan error) error {
	syscall.Kill(-pid, syscall.SIGHUP)
	syscall.Kill(-pid, syscall.SIGCONT)
	select {
	case err := <-done:
		syscall.Kill(-pid, syscall.SIGKILL) // what it left behind
		return err
	case <-time.After(graceCommand):
	}
	syscall.Kill(-pid, syscall.SIGKILL)
	return <-done
}

// exec returns a command that runs where the session runs, in its environment.
func (s session) exec(argv []string) *exec.Cmd {
	env := s.environ()
	cmd := &exec.Cmd{Path: argv[0], Args: argv, Env: env}
	if doc, err := s.command(); err == nil {
		cmd.Dir = doc.Dir
	}
	if !strings.Contains(argv[0], "/") {
		path, err := lookPath(argv[0], env)
		cmd.Path, cmd.Err = path, err
	}
	return cmd
}

// environ returns the environment of the session's server, which holds what was
// given at the start, or this program's own where no session lives.
func (s session) environ() []string {
	env := os.Environ()
	if out, err := output(s.tmux().ServerPID()); err == nil {
		pid := strings.TrimSpace(string(out))
		if b, err := os.ReadFile("/proc/" + pid + "/environ"); err == nil && len(b) > 0 {
			env = strings.Split(strings.TrimRight(string(b), "\x00"), "\x00")
		}
	}
	return environment(env, nil)
}

// lookPath finds a program by the PATH of env rather than by this program's.
func lookPath(name string, env []string) (string, error) {
	path := "/usr/local/bin:/usr/bin:/bin"
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	for dir := range strings.SplitSeq(path, ":") {
		if !strings.HasPrefix(dir, "/") {
			continue
		}
		if p, err := exec.LookPath(dir + "/" + name); err == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, exec.ErrNotFound)
}
