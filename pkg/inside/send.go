package inside

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

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
	if err := s.send(string(text)); err != nil {
		return complain(errOut, err)
	}
	return 0
}

// send pastes text, in brackets where the agent asked for them, and then the
// key that submits it.
func (s session) send(text string) error {
	if text = frame.Text(text); text == "" {
		return errors.New("there is nothing to type")
	}
	argv := s.tmux().Type("typed-" + strconv.Itoa(os.Getpid()))
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot type into the session: %w: %s", err, firstLine(out))
	}
	return nil
}

// patience is how long a program is waited for before something is typed into it.
type patience struct {
	most time.Duration // until it reads keys one by one; who reads lines gets them after that
	// settle is how long, from then on, until it has said what it wants of its
	// terminal, such as that pastes be marked, and reads.
	settle time.Duration
}

// patienceWith is for a shell, or for a coding agent, which loads a conversation.
func patienceWith(doc frame.Start) patience {
	if doc.Terminal {
		return patience{5 * time.Second, 100 * time.Millisecond}
	}
	return patience{time.Minute, time.Second}
}

// typeWhenRead types the first task once the program at the terminal f reads
// keys: what comes earlier is cut at a line's bound.
func (s session) typeWhenRead(f *os.File, text string, p patience) {
	tick := time.NewTicker(10 * time.Millisecond) // no event tells of it
	defer tick.Stop()
	for limit := time.After(p.most); ; {
		if t, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err != nil || t.Lflag&unix.ICANON == 0 {
			<-time.After(p.settle)
			break
		}
		select {
		case <-tick.C:
			continue
		case <-limit:
		}
		break
	}
	s.send(text) // where it ended meanwhile, its end says so
}
