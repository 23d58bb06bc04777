package inside

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"bottle/pkg/frame"
	"bottle/pkg/tmux"
)

const (
	maxDocument  = 4 << 20
	startTimeout = 20 * time.Second
)

var errLives = errors.New("a session lives here already")

// Start starts the session that in describes (frame.Start as JSON) and returns
// when the agent runs. Its exit code is frame.ExitConflict where one lives.
func Start(_ []string, in io.Reader, _, errOut io.Writer) int {
	err := start(theSession(), in)
	if errors.Is(err, errLives) {
		complain(errOut, err)
		return frame.ExitConflict
	}
	if err != nil {
		return complain(errOut, err)
	}
	return 0
}

func start(s session, in io.Reader) error {
	var doc frame.Start
	if err := json.NewDecoder(io.LimitReader(in, maxDocument)).Decode(&doc); err != nil {
		return fmt.Errorf("cannot read what to start: %w", err)
	}
	if len(doc.Argv) == 0 {
		return errors.New("cannot start a session of no command")
	}
	if doc.Dir == "" {
		doc.Dir = "/"
	}
	if _, err := exec.LookPath("tmux"); err != nil {
		return fmt.Errorf("cannot keep a session without tmux in the image: %w", err)
	}
	if err := s.make(); err != nil {
		return err
	}
	release, err := s.lock(fileStart, syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		return errLives
	}
	defer release()
	if err := s.vacate(); err != nil {
		return err
	}
	if err := place(fromEnv("BOTTLE_HOME_FILES", homeFiles), os.Getenv("HOME")); err != nil {
		return err
	}
	return s.launch(doc)
}

// vacate makes room for a session where one has ended, be it just now: its
// keeper may have told of that and still be there, and its server, too, ends only
// when it is told of the keeper's end, which would be the new session's as well.
func (s session) vacate() error {
	if _, err := os.Stat(s.path(fileExit)); err == nil {
		s.awaitEnd(graceKeeper)
	}
	keeperless, err := s.lock(fileLock, syscall.LOCK_SH|syscall.LOCK_NB)
	if err != nil {
		return errLives
	}
	keeperless()
	if err := os.Remove(s.tmux().Socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove the socket of a session that ended: %w", err)
	}
	return nil
}

func (s session) launch(doc frame.Start) error {
	if err := s.prepare(doc); err != nil {
		return err
	}
	answer, err := os.OpenFile(s.path(fileStarted), os.O_RDWR, 0) // both ways: never an end of file
	if err != nil {
		return fmt.Errorf("cannot listen for the agent's start: %w", err)
	}
	defer answer.Close()
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("cannot find this program's own path: %w", err)
	}
	argv := s.tmux().New(80, 24, doc.Dir, self, "agent")
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = environment(os.Environ(), doc.Env)
	cmd.Dir = doc.Dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot start tmux: %w: %s", err, firstLine(out))
	}
	answer.SetReadDeadline(time.Now().Add(startTimeout))
	buf := make([]byte, 1024)
	n, err := answer.Read(buf)
	if err != nil {
		return fmt.Errorf("cannot tell whether the agent started: %w", err)
	}
	if said := strings.TrimSpace(string(buf[:n])); said != answerOK {
		s.awaitEnd(graceKeeper) // the next start must not take its remains for a session
		output(s.tmux().Kill())
		return errors.New(said)
	}
	return nil
}

// prepare writes what the server and the keeper read. The environment is not
// in it: that travels in memory.
func (s session) prepare(doc frame.Start) error {
	for _, old := range []string{fileExit, fileLast, fileStarted, fileSelect} {
		if err := os.Remove(s.path(old)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot remove an old session's record: %w", err)
		}
	}
	doc.Env = nil
	b, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("cannot encode what to start: %w", err)
	}
	if err := s.replace(fileAgent, b); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("cannot find this program's own path: %w", err)
	}
	conf := tmux.Config(knownTerm("tmux-256color", "screen-256color")) + tmux.Copies(self+" selected")
	if doc.Terminal {
		conf += tmux.Tells(self+" activity waiting", self+" activity working")
	}
	if err := os.WriteFile(s.path("tmux.conf"), []byte(conf), 0o600); err != nil {
		return fmt.Errorf("cannot write tmux's configuration: %w", err)
	}
	if err := syscall.Mkfifo(s.path(fileStarted), 0o600); err != nil {
		return fmt.Errorf("cannot make a FIFO: %w", err)
	}
	return nil
}

// environment returns base with what is given on top, and what every session
// needs where neither says it.
func environment(base []string, given map[string]string) []string {
	have := map[string]bool{}
	var env []string
	for name, value := range given {
		env, have[name] = append(env, name+"="+value), true
	}
	for _, kv := range base {
		name, _, _ := strings.Cut(kv, "=")
		if name != "TMUX" && name != "TMUX_PANE" && !have[name] {
			env, have[name] = append(env, kv), true
		}
	}
	for name, value := range map[string]string{"LANG": "C.UTF-8", "COLORTERM": "truecolor"} {
		if !have[name] {
			env = append(env, name+"="+value)
		}
	}
	return env
}
