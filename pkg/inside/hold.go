package inside

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"

	"bottle/pkg/frame"
)

// Hold is what the container's main process does at last. Told to end, it lets the agent end
// first: that takes at most as long as the keeper's graces. It ends as the agent did, so
// that the container's exit code is the agent's.
func Hold(_ []string, _ io.Reader, _, _ io.Writer) int {
	<-ending()
	s := theSession()
	if !s.lives() {
		s.awaitEnd(graceKeeper) // the server may be gone before the agent is
		code, _ := s.ended()
		return code
	}
	if out, err := output(s.tmux().PanePID()); err == nil {
		if pid, err := strconv.Atoi(strings.TrimSpace(string(out))); err == nil && pid > 1 {
			syscall.Kill(pid, syscall.SIGTERM)
			s.awaitEnd(graceKeeper)
		}
	}
	output(s.tmux().Kill())
	code, _ := s.ended()
	return code
}

// Peek prints the session's screen with its colours, without the blank lines
// at its end, and what has scrolled off it where that is asked for; of a session
// that has ended, the last screen.
func Peek(args []string, _ io.Reader, out, errOut io.Writer) int {
	f := flags("peek", errOut)
	history := f.Bool("history", false, "what has scrolled off as well")
	colour := f.Bool("color", false, "the history with its colours")
	if f.Parse(args) != nil {
		return exitUsage
	}
	s := theSession()
	argv := s.tmux().Capture()
	if *history {
		argv = s.tmux().History(*colour)
	}
	screen, err := output(argv)
	if err != nil {
		screen, err = s.lastScreen()
	}
	if err != nil {
		fmt.Fprintln(errOut, "bottle-inside: no session was started here")
		return frame.ExitNoSession
	}
	fmt.Fprint(out, trim(screen))
	return 0
}

// trim cuts blank lines off the end of a screen.
func trim(screen []byte) string {
	text := strings.TrimRight(string(screen), " \n")
	if text == "" {
		return ""
	}
	return text + "\n"
}

// Wait waits for the agent's end and returns its exit code.
func Wait(_ []string, _ io.Reader, _, errOut io.Writer) int {
	s := theSession()
	if _, err := os.Stat(s.path(fileLock)); err != nil {
		fmt.Fprintln(errOut, "bottle-inside: no session was started here")
		return frame.ExitNoSession
	}
	s.awaitEnd(0)
	code, _ := s.ended()
	return code
}
