package inside

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"bottle/pkg/frame"
)

// drainTick is how long an ended command's terminal must be silent to be done:
// something it left behind may hold it open for ever.
const drainTick = 100 * time.Millisecond

// View shows the session, or a command, on a terminal of its own: what it draws
// goes to out as it is, in brings framed input and sizes. When in ends, the
// viewer is gone, and its terminal with it. The exit code is the command's; for
// the session the agent's where it ended, frame.ExitAlive where it lives on,
// and frame.ExitNoSession where none lived.
func View(args []string, in io.Reader, out, errOut io.Writer) int {
	f := flags("view", errOut)
	kind := f.String("term", "xterm-256color", "type of the terminal")
	cols := f.Uint("cols", 0, "columns")
	rows := f.Uint("rows", 0, "rows")
	if f.Parse(args) != nil {
		return exitUsage
	}
	s := theSession()
	var cmd *exec.Cmd
	var tty terminal
	settle := func() {} // a command reads what was typed when it likes
	switch {
	case f.NArg() > 0:
		cmd = s.exec(f.Args())
	case s.lives():
		argv := s.tmux().Attach()
		cmd = exec.Command(argv[0], argv[1:]...)
		cmd.Env = environment(os.Environ(), nil)
		settle = func() {
			tty.awaitRead()
			s.awaitAnswer()
		}
	default:
		fmt.Fprintln(errOut, "bottle-inside: no session lives here")
		return frame.ExitNoSession
	}
	cmd.Env = withTerm(cmd.Env, knownTerm(*kind, "xterm-256color"))
	end := ending()
	var err error
	tty, err = onTerminal(cmd, winsize(*cols, *rows), f.NArg() == 0)
	if err != nil {
		return exitCode(err, errOut)
	}
	code := exitCode(show(cmd, tty, in, out, end, settle), errOut)
	if f.NArg() > 0 {
		return code
	}
	return s.afterView()
}

// afterView tells what became of the session.
func (s session) afterView() int {
	if !s.lives() {
		s.awaitEnd(graceKeeper) // the server may be gone before the agent is
	}
	code, ended := s.ended()
	if !ended {
		return frame.ExitAlive
	}
	return code
}

func (s session) lastScreen() ([]byte, error) { return os.ReadFile(s.path(fileLast)) }

func withTerm(env []string, kind string) []string {
	var with []string
	for _, kv := range env {
		if !strings.HasPrefix(kv, "TERM=") {
			with = append(with, kv)
		}
	}
	return append(with, "TERM="+kind)
}

func winsize(cols, rows uint) *pty.Winsize {
	if cols == 0 || rows == 0 {
		cols, rows = 80, 24
	}
	return &pty.Winsize{Cols: uint16(min(cols, 1<<15)), Rows: uint16(min(rows, 1<<15))}
}

// onTerminal starts cmd on a terminal of its own and returns the other end. For
// the session it is raw from the beginning: a Ctrl-C that was typed before tmux
// has it is the agent's, and must not end the viewer.
func onTerminal(cmd *exec.Cmd, size *pty.Winsize, raw bool) (terminal, error) {
	control, tty, err := pty.Open()
	if err != nil {
		return terminal{}, fmt.Errorf("cannot make a terminal: %w", err)
	}
	defer tty.Close()
	if err = pty.Setsize(control, size); err == nil && raw {
		_, err = term.MakeRaw(int(tty.Fd()))
	}
	if err == nil {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		err = cmd.Start()
	}
	if err != nil {
		control.Close()
		return terminal{}, err
	}
	return terminal{control, tty.Name()}, nil
}

// terminal is our end of one.
type terminal struct {
	*os.File
	name string // of the other end
}

// readWait is how long a session may take to read what was typed last: on a
// busy machine its viewer may not be there yet.
const readWait = 5 * time.Second

// awaitAnswer waits until tmux answers. By then it has handled what it had read,
// which of a viewer that is gone it would throw away.
func (s session) awaitAnswer() {
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		s.lives()
	}()
	select {
	case <-answered:
	case <-time.After(readWait):
	}
}

// awaitRead waits until tmux has read what was typed.
func (t terminal) awaitRead() {
	other, err := os.OpenFile(t.name, os.O_RDONLY|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer other.Close()
	tick := time.NewTicker(5 * time.Millisecond) // no event tells of it
	defer tick.Stop()
	for limit := time.After(readWait); ; {
		// A poll counts what is still on its way from end to end; TIOCINQ does not.
		unread := []unix.PollFd{{Fd: int32(other.Fd()), Events: unix.POLLIN}}
		if n, err := unix.Poll(unread, 0); n == 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			return
		}
	}
}

// show moves bytes between the terminal and the viewer until either ends, and
// returns how the command ended. settle is called before a viewer is ended.
func show(cmd *exec.Cmd, tty terminal, in io.Reader, out io.Writer, end <-chan os.Signal, settle func()) error {
	defer tty.Close()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		forward(in, tty)
		settle()
	}()
	p := &pump{done: make(chan struct{})}
	go p.copy(out, tty.File)
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		p.drain()
		syscall.Kill(-cmd.Process.Pid, syscall.SIGHUP)
		return err
	case <-gone:
	case <-end:
	}
	return hangUp(cmd.Process.Pid, done)
}

// forward passes keys and sizes on to the terminal and returns when their writer
// is gone.
func forward(in io.Reader, tty terminal) {
	q, drained := newQueue(), make(chan struct{})
	defer func() {
		q.Close()
		select {
		case <-drained:
		case <-time.After(readWait):
		}
	}()
	go func() {
		defer close(drained)
		q.drain(tty)
	}()
	for r := frame.NewReader(in); ; {
		f, err := r.Next()
		if err != nil || f.Kind == frame.EOF {
			return
		}
		switch f.Kind {
		case frame.Data:
			q.Write(f.Payload)
		case frame.Resize:
			if cols, rows := f.Size(); cols > 0 && rows > 0 {
				pty.Setsize(tty.File, winsize(uint(cols), uint(rows)))
			}
		}
	}
}

// pump copies what a terminal draws.
type pump struct {
	done    chan struct{}
	moved   atomic.Int64 // counts reads
	writing atomic.Bool
}

func (p *pump) copy(out io.Writer, tty *os.File) {
	defer close(p.done)
	buf := make([]byte, 64<<10)
	for {
		n, err := tty.Read(buf)
		p.moved.Add(1)
		if n > 0 {
			p.writing.Store(true)
			if _, err := out.Write(buf[:n]); err != nil {
				return
			}
			p.writing.Store(false)
		}
		if err != nil {
			return
		}
	}
}

// drain waits until all is copied: the terminal is closed, or silent while
// nothing is being written.
func (p *pump) drain() {
	tick := time.NewTicker(drainTick)
	defer tick.Stop()
	for before := p.moved.Load(); ; {
		select {
		case <-p.done:
			return
		case <-tick.C:
		}
		now := p.moved.Load()
		if now == before && !p.writing.Load() {
			return
		}
		before = now
	}
}
