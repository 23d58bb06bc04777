package inside

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"bottle/pkg/frame"
)

// What the session's directory holds beside the socket:
//
//	agent.json  what the agent runs and where; no environment
//	lock        held by the agent's keeper for as long as it lives
//	starting    held by the one start that is at work
//	started     a FIFO over which the keeper answers to start
//	exit        the agent's exit code in decimal; absent while it runs
//	last        the agent's last screen
//	selection   what was selected, until it is fetched
const (
	fileAgent   = "agent.json"
	fileLock    = "lock"
	fileStart   = "starting"
	fileStarted = "started"
	fileExit    = "exit"
	fileLast    = "last"
	fileSelect  = "selection"
)

// replace writes a file so that no reader sees half of it.
func (s session) replace(name string, content []byte) error {
	tmp := s.path("." + name)
	if err := os.WriteFile(tmp, content, 0o600); err != nil {
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	return os.Rename(tmp, s.path(name))
}

// command returns what the session runs, without its environment.
func (s session) command() (frame.Start, error) {
	var doc frame.Start
	b, err := os.ReadFile(s.path(fileAgent))
	if err != nil {
		return doc, fmt.Errorf("cannot read what the session runs: %w", err)
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return doc, fmt.Errorf("cannot read what the session runs: %w", err)
	}
	return doc, nil
}

// lock takes one of the session's locks and returns what lets go of it.
func (s session) lock(name string, how int) (release func(), err error) {
	f, err := os.OpenFile(s.path(name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the session's lock: %w", err)
	}
	for {
		err = syscall.Flock(int(f.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot lock the session: %w", err)
	}
	return func() { f.Close() }, nil
}

// ended says whether a session was started and has ended, and how. A keeper
// that was killed leaves no code; that counts as 137, the code of SIGKILL.
func (s session) ended() (code int, ended bool) {
	if _, err := os.Stat(s.path(fileLock)); err != nil {
		return 0, false
	}
	release, err := s.lock(fileLock, syscall.LOCK_SH|syscall.LOCK_NB)
	if err != nil {
		return 0, false
	}
	release()
	b, err := os.ReadFile(s.path(fileExit))
	if err != nil {
		return exitKilled, true
	}
	code, err = strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || code < 0 || code > 255 {
		return exitFailed, true
	}
	return code, true
}

// awaitEnd waits until the agent's keeper is gone, or for at most limit; no
// limit is 0.
func (s session) awaitEnd(limit time.Duration) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if release, err := s.lock(fileLock, syscall.LOCK_SH); err == nil {
			release()
		}
	}()
	if limit == 0 {
		<-done
		return
	}
	select {
	case <-done:
	case <-time.After(limit):
	}
}
