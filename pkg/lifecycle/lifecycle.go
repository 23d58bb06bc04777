// Package lifecycle brings bottles up and takes them down: the one place where
// the engine and the state directory meet. What is to be made it takes from
// pkg/plan; what the operator sees of it is the programs' business.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"bottle/pkg/engine"
	"bottle/pkg/plan"
	"bottle/pkg/state"
)

// Manager acts on the bottles of one home on one engine.
type Manager struct {
	Home    *state.Home
	Engine  engine.Engine
	Libexec string // directory of the programs that run in containers
	// Adjust, where set, changes a plan before anything is made of it: with it
	// the escape suite weakens a bottle to see that its probes can fail.
	Adjust func(*plan.Plan)

	mu   sync.Mutex
	host *engine.Host
}

// Host asks the engine what it is, once.
func (m *Manager) Host(ctx context.Context) (engine.Host, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.host == nil {
		host, err := m.Engine.Host(ctx)
		if err != nil {
			return engine.Host{}, err
		}
		m.host = &host
	}
	return *m.host, nil
}

// Errors that programs act on.
var (
	ErrSelfTest = errors.New("the bottle did not pass its self-test")
	ErrCapture  = errors.New("the work could not be captured")
	// ErrElsewhere is the error for a bottle that this engine knows nothing of,
	// since it was made on another one.
	ErrElsewhere = errors.New("it was made on another engine")
	// ErrNested is the error for a folder to be mounted that is in another
	// bottle's mounted folder, or has it in it.
	ErrNested = errors.New("one folder is in the other")
	// ErrRemains is the error for a name under which the engine still holds an
	// earlier bottle, whose state directory somebody removed.
	ErrRemains = errors.New("the engine still holds an earlier bottle of that name")
)

// Say is told, in a few words, what is being done.
type Say func(step string)

// journal is a log file that is also told to Say, safe for concurrent use.
type journal struct {
	mu   sync.Mutex
	file *os.File
	say  Say
	tail []string // the last lines, for who must be told why it failed
}

const tailLines = 20

// openJournal empties the log and starts it.
func openJournal(path string, say Say) (*journal, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot write %s: %w", path, err)
	}
	if say == nil {
		say = func(string) {}
	}
	return &journal{file: f, say: say}, nil
}

// step logs what is about to be done and tells the operator.
func (j *journal) step(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	j.say(text)
	fmt.Fprintln(j, text)
}

// Write logs lines of others, such as an image's builder.
func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now().UTC().Format("2006-01-02T15:04:05.000Z ")
	for line := range strings.Lines(string(p)) {
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			continue
		}
		line = string(inert([]byte(line)))
		j.tail = append(j.tail, line)
		if len(j.tail) > tailLines {
			j.tail = j.tail[1:]
		}
		if _, err := io.WriteString(j.file, now+line+"\n"); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// Tail returns the last lines.
func (j *journal) Tail() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string{}, j.tail...)
}

func (j *journal) Close() error { return j.file.Close() }

// together runs the steps side by side and returns the first error, when all
// have ended.
func together(ctx context.Context, steps ...func(context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range steps {
		g.Go(func() error { return s(ctx) })
	}
	return g.Wait()
}

// whole lets a short engine call end even when the operator interrupts: a
// cancelled create may land after everything was taken down.
func whole(ctx context.Context, call func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
	defer cancel()
	return call(bounded)
}

func (m *Manager) insideDir() string { return filepath.Join(m.Libexec, "inside") }
