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
	"sync"
	"syscall"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/frame"
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
	var k keeper
	doc, err := s.command()
	if err == nil {
		err = k.spawn(first(doc), doc.Dir)
	}
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
	go k.endKindly(signals)
	code := s.keep(&k, doc)
	if screen, err := output(s.tmux().Capture()); err == nil {
		s.replace(fileLast, screen)
	}
	s.replace(fileExit, []byte(strconv.Itoa(code)))
	tell(bottle.Exited, code)
	return code
}

// first is the command line to begin with.
func first(doc frame.Start) []string {
	if doc.Resume && len(doc.Continue) > 0 {
		return doc.Continue
	}
	return doc.Argv
}

// keep waits for the agent's end and returns its exit code. Where there was no
// conversation to continue, it starts one.
func (s session) keep(k *keeper, doc frame.Start) int {
	if doc.Typed != "" {
		go s.typeFirst(os.Stdin, doc)
	}
	code := reap(k.pid())
	said := told()
	began := said == bottle.Working || said == bottle.Waiting
	if !doc.Resume || len(doc.Continue) == 0 || code == 0 || code >= exitSignalBase || began || k.ended() {
		return code
	}
	// Nobody needs to see that it said so.
	fmt.Print("\x1bc")
	output(s.tmux().ClearHistory())
	if err := k.spawn(doc.Argv, doc.Dir); err != nil {
		fmt.Println(err)
		return exitCannotRun
	}
	return reap(k.pid())
}

// keeper holds the process that is the agent now.
type keeper struct {
	mu     sync.Mutex
	now    int  // its process ID
	ending bool // nothing is started any more
}

var errEnding = errors.New("cannot start the agent: the session is being ended")

func (k *keeper) spawn(argv []string, dir string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ending {
		return errEnding
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return fmt.Errorf("cannot start the agent: %w", err)
	}
	tell(bottle.Idle, 0)
	p, err := os.StartProcess(path, argv, &os.ProcAttr{Dir: dir, Env: agentEnv(),
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		return fmt.Errorf("cannot start the agent: %w", err)
	}
	k.now = p.Pid
	return nil
}

func (k *keeper) pid() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.now
}

func (k *keeper) ended() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.ending
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
func (k *keeper) endKindly(signals <-chan os.Signal) {
	for sig := range signals {
		if sig == syscall.SIGHUP || sig == syscall.SIGTERM {
			break
		}
	}
	k.mu.Lock()
	k.ending = true
	pid := k.now
	k.mu.Unlock()
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
