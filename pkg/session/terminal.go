package session

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// errDetached and errHungUp are why a keyboard ends.
var (
	errDetached = errors.New("the detach keys were pressed")
	errHungUp   = errors.New("the terminal is gone")
)

// Terminal is the operator's terminal.
type Terminal struct{ In, Out *os.File }

// IsTerminal says whether both ends are one.
func (t Terminal) IsTerminal() bool {
	return t.In != nil && t.Out != nil && term.IsTerminal(int(t.In.Fd())) && term.IsTerminal(int(t.Out.Fd()))
}

// size is 0×0 where the terminal does not tell.
func (t Terminal) size() (cols, rows int) {
	cols, rows, err := term.GetSize(int(t.Out.Fd()))
	if err != nil {
		return 0, 0
	}
	return cols, rows
}

// A terminal may take its time: it is written to in pieces, so that leaving need
// not wait for more than one.
const (
	piece       = 4 << 10
	stalledTime = time.Second // so long one piece is waited for
)

// screen is the terminal in raw mode, behind the filter. After the restore
// nothing is written to it any more, whoever still tries.
type screen struct {
	tty     Terminal
	saved   *term.State
	filter  *Filter
	lock    chan struct{} // a mutex that can be waited for with a limit
	leaving atomic.Bool
}

// openScreen makes the terminal raw. What is shown has a screen of its own that
// it cannot leave, where whole says so.
func openScreen(tty Terminal, whole bool) (*screen, error) {
	saved, err := term.MakeRaw(int(tty.In.Fd()))
	if err != nil {
		return nil, fmt.Errorf("cannot make the terminal raw: %w", err)
	}
	s := &screen{tty: tty, saved: saved, lock: make(chan struct{}, 1)}
	s.filter = NewFilter((*pieces)(s), Screen)
	(*pieces)(s).Write(s.filter.UTF8(os.Getenv))
	if whole {
		(*pieces)(s).Write(s.filter.Enter())
	}
	return s, nil
}

// Write passes the agent's output through the filter. A panic in there must
// not leave the terminal raw, and it is not on the goroutine that restores.
func (s *screen) Write(p []byte) (n int, err error) {
	s.lock <- struct{}{}
	defer func() {
		if r := recover(); r != nil {
			n, err = 0, fmt.Errorf("cannot filter the output: %v", r)
		}
		<-s.lock
	}()
	return s.filter.Write(p)
}

// tell writes what is our own to the terminal, between two sequences of the
// agent's.
func (s *screen) tell(p []byte) {
	s.lock <- struct{}{}
	defer func() { <-s.lock }()
	(*pieces)(s).Write(p)
}

// pieces writes to a screen's terminal until it is left.
type pieces screen

func (s *pieces) Write(p []byte) (int, error) {
	for done := 0; done < len(p); {
		if s.leaving.Load() {
			return done, io.ErrClosedPipe
		}
		n, err := s.tty.Out.Write(p[done:min(done+piece, len(p))])
		if done += n; err != nil {
			return done, err
		}
	}
	return len(p), nil
}

// restore puts the terminal back as it was. One that takes no output, or takes
// it slowly, loses what it has not drawn yet: the agent's screen is going away,
// and behind it the restore would come too late, or never.
func (s *screen) restore() {
	s.leaving.Store(true)
	written := make(chan struct{})
	go func() {
		defer close(written)
		s.lock <- struct{}{}
		s.tty.Out.Write(s.filter.Restore())
		<-s.lock
	}()
	if !within(stalledTime, written) {
		flush(s.tty.Out)
		within(stalledTime, written)
	}
	term.Restore(int(s.tty.In.Fd()), s.saved)
}

// flush throws away what a terminal has not taken yet. The kernel does not wake
// a writer that waits for room; setting the terminal to what it is does.
func flush(out *os.File) {
	fd := int(out.Fd())
	unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCOFLUSH)
	if state, err := term.GetState(fd); err == nil {
		term.Restore(fd, state)
	}
}

func within(limit time.Duration, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-time.After(limit):
		return false
	}
}

// keyboard reads the terminal until it is told to stop, so that no key typed
// later is lost to a reader that nobody needs any more.
type keyboard struct {
	in      *os.File
	detach  detector
	watch   func(typed []byte) // is told what was passed on; nil: nobody is
	stop, w *os.File           // a pipe: closing w stops
	done    chan struct{}
}

func newKeyboard(in *os.File, detach []byte) (*keyboard, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("cannot make a pipe: %w", err)
	}
	return &keyboard{in: in, detach: detector{keys: detach}, stop: r, w: w, done: make(chan struct{})}, nil
}

// ahead is how many reads of the keyboard may run ahead of an engine that takes
// no input: whoever waits for a dead one must still be able to leave.
const ahead = 1024

// start passes what is typed on to w, and tells how that ended: nil where it was
// told to. What was typed before the detach keys arrives.
func (k *keyboard) start(w io.Writer) <-chan error {
	ended := make(chan error, 1)
	typed, passed := make(chan []byte, ahead), make(chan struct{})
	go func() {
		defer close(passed)
		var err error
		for p := range typed {
			if err == nil { // the session's end is told elsewhere
				_, err = w.Write(p)
			}
		}
	}()
	go func() {
		defer close(k.done)
		err := k.copy(typed)
		close(typed)
		if errors.Is(err, errDetached) {
			within(leaveTimeout, passed)
		}
		ended <- err
	}()
	return ended
}

func (k *keyboard) copy(typed chan<- []byte) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("cannot read the keyboard: %v", r)
		}
	}()
	buf := make([]byte, 4096)
	for {
		ready, err := k.wait()
		if err != nil || !ready {
			return err
		}
		n, err := unix.Read(int(k.in.Fd()), buf)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
			continue
		case err != nil || n == 0:
			return errHungUp
		}
		pass, detached := k.detach.feed(buf[:n])
		if len(pass) > 0 {
			typed <- bytes.Clone(pass)
			if k.watch != nil {
				k.watch(pass)
			}
		}
		if detached {
			return errDetached
		}
	}
}

// wait says whether there is something to read, and false once stopped.
func (k *keyboard) wait() (bool, error) {
	for {
		fds := []unix.PollFd{{Fd: int32(k.in.Fd()), Events: unix.POLLIN}, {Fd: int32(k.stop.Fd()), Events: unix.POLLIN}}
		_, err := unix.Poll(fds, -1)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return false, fmt.Errorf("cannot wait for the keyboard: %w", err)
		case fds[1].Revents != 0:
			return false, nil
		case fds[0].Revents != 0:
			return true, nil
		}
	}
}

// close stops a keyboard that was started, and waits until nobody reads it.
// Writing to what it passes on to must have come to its end.
func (k *keyboard) close() {
	k.w.Close()
	<-k.done
	k.stop.Close()
}
