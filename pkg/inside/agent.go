package inside

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const answerOK = "ok"

// How an agent that shall end is told so: hang up, then terminate, then kill.
const (
	graceHangup = 1500 * time.Millisecond
	graceTerm   = 1500 * time.Millisecond
	graceKeeper = graceHangup + graceTerm + 500*time.Millisecond // then the keeper is gone too
)

// Agent is the keeper, the one process of the session's pane: it runs the agent
// in the foreground, tells start how that went, and records the agent's exit
// code and last screen before it ends with that code.
func Agent(_ []string, _ io.Reader, _, errOut io.Writer) int {
	s := theSession()
	// Keys that mean a signal reach the keeper too; they are the agent's. Taken,
	// not ignored: what is ignored here would be ignored in the agent.
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTSTP, syscall.SIGHUP, syscall.SIGTERM)
	release, err := s.lock(fileLock, syscall.LOCK_EX)
	if err != nil {
		s.answer(err.Error())
		return complain(errOut, err)
	}
	defer release()
	p, err := s.spawn()
	if err != nil {
		code := exitCannotRun
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			code = exitNoCommand
		}
		s.replace(fileExit, []byte(strconv.Itoa(code)))
		s.answer(err.Error())
		return code
	}
	s.answer(answerOK)
	go endKindly(p.Pid, signals)
	code := reap(p.Pid)
	if screen, err := output(s.tmux().Capture()); err == nil {
		s.replace(fileLast, screen)
	}
	s.replace(fileExit, []byte(strconv.Itoa(code)))
	return code
}

func (s session) spawn() (*os.Process, error) {
	doc, err := s.command()
	if err != nil {
		return nil, err
	}
	path, err := exec.LookPath(doc.Argv[0])
	if err != nil {
		return nil, fmt.Errorf("cannot start the agent: %w", err)
	}
	p, err := os.StartProcess(path, doc.Argv, &os.ProcAttr{Dir: doc.Dir, Env: agentEnv(),
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		return nil, fmt.Errorf("cannot start the agent: %w", err)
	}
	return p, nil
}

// agentEnv hides that there is a tmux: the agent would talk to it.
func agentEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		switch name, _, _ := strings.Cut(kv, "="); name {
		case "TMUX", "TMUX_PANE", "TERM_PROGRAM", "TERM_PROGRAM_VERSION":
		default:
			env = append(env, kv)
		}
	}
	return env
}

// answer tells start; where nobody listens any more, nobody needs to know.
func (s session) answer(text string) {
	f, err := os.OpenFile(s.path(fileStarted), os.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer f.Close()
	fmt.Fprintln(f, strings.ReplaceAll(text, "\n", " "))
}

// endKindly ends the process once the keeper is told to end.
func endKindly(pid int, signals <-chan os.Signal) {
	for sig := range signals {
		if sig == syscall.SIGHUP || sig == syscall.SIGTERM {
			break
		}
	}
	syscall.Kill(pid, syscall.SIGHUP)
	syscall.Kill(pid, syscall.SIGCONT)
	time.Sleep(graceHangup)
	syscall.Kill(pid, syscall.SIGTERM)
	time.Sleep(graceTerm)
	syscall.Kill(pid, syscall.SIGKILL)
}

// reap waits for the agent's end. There is no shell around it that could
// continue it, so one that stops itself is continued at once.
func reap(pid int) int {
	for {
		var ws syscall.WaitStatus
		_, err := syscall.Wait4(pid, &ws, syscall.WUNTRACED, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return exitFailed
		case ws.Stopped():
			syscall.Kill(pid, syscall.SIGCONT)
		default:
			return waitCode(ws)
		}
	}
}
