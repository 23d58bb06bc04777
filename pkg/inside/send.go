package inside

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"bottle/pkg/bottle"
	"bottle/pkg/frame"
)

// maxTyped is the longest text that is typed into a session, in bytes.
const maxTyped = 1 << 20

// Send types the text on standard input into the session, and submits it.
func Send(_ []string, in io.Reader, _, errOut io.Writer) int {
	text, err := io.ReadAll(io.LimitReader(in, maxTyped+1))
	switch {
	case err != nil:
		return complain(errOut, fmt.Errorf("cannot read what to type: %w", err))
	case len(text) > maxTyped:
		return complain(errOut, fmt.Errorf("cannot type more than %d bytes", maxTyped))
	}
	s := theSession()
	if !s.lives() {
		fmt.Fprintln(errOut, "bottle-inside: no session lives here")
		return frame.ExitNoSession
	}
	<-time.After(s.young())
	if err := s.deliver(string(text)); err != nil {
		return complain(errOut, err)
	}
	return 0
}

// young is how long a session is too young yet to be typed into: a coding agent
// that is being loaded takes text and Enter for one paste.
func (s session) young() time.Duration {
	doc, err := s.command()
	info, serr := os.Stat(s.path(fileAgent))
	if err != nil || serr != nil || doc.Terminal {
		return 0
	}
	return min(youngTime, youngTime-time.Since(info.ModTime()))
}

const youngTime = 4 * time.Second

// Bounds of what stands between a paste and the key that submits it: a program that
// gets both in less than 40 ms (Gemini CLI) takes the key for a part of the paste. It
// has got the paste when its screen is another; one that shows nothing of it has time.
const (
	keyPause = 150 * time.Millisecond
	showTime = 2 * time.Second
)

// send pastes text, in brackets where the agent asked for them, and then the
// key that submits it.
func (s session) send(text string) error {
	if text = frame.Text(text); text == "" {
		return errors.New("there is nothing to type")
	}
	before, _ := output(s.tmux().Capture())
	argv := s.tmux().Paste(buffer())
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot type into the session: %w: %s", err, firstLine(out))
	}
	looked(showTime, func() bool {
		now, err := output(s.tmux().Capture())
		return err != nil || !bytes.Equal(now, before)
	})
	<-time.After(keyPause)
	if _, err := output(s.tmux().Enter(buffer())); err != nil {
		return fmt.Errorf("cannot submit what was typed: %w", err)
	}
	return nil
}

// Bounds of what is typed at one who waits for it.
const (
	deliverTries = 3  // to type it, where it was lost
	lostTries    = 3  // of takeUpTime, until it is held to be lost
	shownLength  = 40 // bytes of a text that are looked for
)

var errNotTaken = errors.New("the agent does not take up what is typed: bottle-attach --peek shows what it does")

// deliver sends a text, and sees to it that one who waits takes it up: one who is
// being loaded, or busy, throws away what comes early, on a busy machine for many
// seconds. What was lost is sent again: one line that stands nowhere on the screen,
// with nothing left to read. A text that may stand there, and is not worked at, lost
// its Enter, which is pressed again; but not behind a command of the agent's own,
// which may have opened a choice that an Enter would make.
func (s session) deliver(text string) error {
	doc, err := s.command()
	line := strings.TrimSpace(frame.Text(text))
	tells := err == nil && !doc.Terminal
	short := len(line) <= shownLength && !strings.Contains(line, "\n")
	shown := func() bool { return !short || s.shows(line) }
	command := strings.HasPrefix(line, "/") || strings.HasPrefix(line, "!")
	for range deliverTries {
		a, since := toldSince()
		if err := s.send(text); err != nil || !tells || a != bottle.Waiting {
			return err
		}
		taken := func() bool {
			now, when := toldSince()
			return now != a || !when.Equal(since) || command && shown()
		}
		for try := 1; ; try++ {
			if looked(takeUpTime, taken) {
				return nil
			}
			unread, there := s.unread(), shown()
			if unread && try >= lostTries {
				return nil // it is there for when it goes on
			}
			if there && try > takeUpTries {
				return errNotTaken
			}
			if there && !unread {
				output(s.tmux().Enter(buffer()))
			} else if try >= lostTries {
				break
			}
		}
	}
	return errNotTaken
}

// shows says whether a line stands on the screen.
func (s session) shows(line string) bool {
	screen, err := output(s.tmux().Capture())
	return err != nil || bytes.Contains(screen, []byte(line))
}

// unread says whether the program has left something of what was typed at it.
func (s session) unread() bool {
	name, err := output(s.tmux().PaneTTY())
	if err != nil {
		return true
	}
	f, err := os.OpenFile(strings.TrimSpace(string(name)), os.O_RDONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return true
	}
	defer f.Close()
	n, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCINQ)
	return err != nil || n > 0
}

// buffer is the name of a buffer that is this process' own.
func buffer() string { return "typed-" + strconv.Itoa(os.Getpid()) }

// Bounds of the first text that is typed: until a program reads keys one by one
// (who reads lines gets it after that), until a conversation was loaded, and
// until the text is taken up.
const (
	keysTime    = 10 * time.Second
	settleTime  = 100 * time.Millisecond // what it says of its terminal is on its way
	loadTime    = 30 * time.Second
	takeUpTime  = 3 * time.Second
	takeUpTries = 10
)

// typeFirst types the first text of a session once the program at the terminal f
// reads it: what comes earlier is cut at a line's bound, or taken for one paste,
// its end included. No event tells of any of this.
func (s session) typeFirst(f *os.File, doc frame.Start) {
	looked(keysTime, func() bool {
		t, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		return err != nil || t.Lflag&unix.ICANON == 0
	})
	if !doc.Terminal {
		looked(loadTime, func() bool { return told() != bottle.Idle })
	}
	<-time.After(settleTime)
	if s.send(doc.Typed) != nil || doc.Terminal { // where it ended meanwhile, its end says so
		return
	}
	for range takeUpTries {
		if looked(takeUpTime, func() bool { a := told(); return a == bottle.Working || a == bottle.Exited }) {
			return
		}
		output(s.tmux().Enter(buffer()))
	}
}

// looked looks until there is what is looked for, or the time is over.
func looked(limit time.Duration, there func() bool) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for over := time.After(limit); ; {
		if there() {
			return true
		}
		select {
		case <-tick.C:
		case <-over:
			return false
		}
	}
}
