package tokenref

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// CommandTime bounds a command; it is long enough for a passphrase to be typed.
const CommandTime = 60 * time.Second

const (
	maxValue = 64 << 10 // bytes of a value
	maxSaid  = 4 << 10  // bytes of a command's errors
)

// Resolver resolves references.
type Resolver struct {
	Lookup func(string) (string, bool) // such as os.LookupEnv
	Time   time.Duration               // of one command; 0 is CommandTime
	Max    int                         // bytes of a value; 0 is 64 KiB
	// Alone: a command has no terminal that it could ask on, and reads no keys that
	// are meant for whoever shows something there.
	Alone bool

	known map[lookup]found // nil: nothing is kept
}

// lookup is what was asked for: a value may be too large for one place alone.
type lookup struct {
	ref string
	max int
}

// found is what came of it.
type found struct {
	value string
	err   error
}

// Once is a resolver that looks no reference up twice, so that no command asks
// its operator, or takes all of its time, a second time. It is for one goroutine,
// and for as long as values may be kept in memory.
func (v Resolver) Once() Resolver {
	v.known = map[lookup]found{}
	return v
}

// Resolve returns the value behind a reference, without the line end behind it.
// A missing, an empty and an endless one are errors that name the reference.
func (v Resolver) Resolve(ctx context.Context, r Ref) (string, error) {
	this := lookup{r.text, v.max()}
	if f, done := v.known[this]; done {
		return f.value, f.err
	}
	value, err := v.resolve(ctx, r)
	if ctx.Err() == nil && v.known != nil {
		v.known[this] = found{value, err}
	}
	return value, err
}

func (v Resolver) resolve(ctx context.Context, r Ref) (string, error) {
	value, err := v.value(ctx, r)
	if err != nil {
		return "", err
	}
	value = strings.TrimSuffix(strings.TrimSuffix(value, "\n"), "\r")
	switch {
	case value == "":
		return "", fmt.Errorf("cannot resolve %s: it is empty", r)
	case len(value) > v.max():
		return "", fmt.Errorf("cannot resolve %s: it is larger than %d bytes", r, v.max())
	case strings.ContainsRune(value, 0):
		return "", fmt.Errorf("cannot resolve %s: it holds a NUL character", r)
	}
	return value, nil
}

func (v Resolver) max() int {
	if v.Max > 0 {
		return v.Max
	}
	return maxValue
}

// Unset is the error for a variable that is not in the operator's environment.
type Unset struct{ Name string }

func (u Unset) Error() string { return "your environment has no " + u.Name }

func (v Resolver) value(ctx context.Context, r Ref) (string, error) {
	switch {
	case r.env != "":
		value, ok := v.Lookup(r.env)
		if !ok {
			return "", Unset{r.env}
		}
		return value, nil
	case r.file != "":
		return v.read(r)
	case r.cmd != nil:
		return v.run(ctx, r)
	}
	return "", errors.New("there is no reference")
}

// read reads a file. Links are the operator's business; a FIFO would never end.
func (v Resolver) read(r Ref) (string, error) {
	path := r.file
	if below, ok := strings.CutPrefix(path, "~/"); ok {
		home, found := v.Lookup("HOME")
		if !found || home == "" {
			return "", fmt.Errorf("cannot resolve %s: your environment has no HOME", r)
		}
		path = filepath.Join(home, below)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", fmt.Errorf("cannot resolve %s: %w", r, err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", fmt.Errorf("cannot resolve %s: it is not a regular file", r)
	}
	data, err := io.ReadAll(io.LimitReader(f, int64(v.max())+2))
	if err != nil {
		return "", fmt.Errorf("cannot resolve %s: %w", r, err)
	}
	return string(data), nil
}

func (v Resolver) run(ctx context.Context, r Ref) (string, error) {
	limit := v.Time
	if limit == 0 {
		limit = CommandTime
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, r.cmd[0], r.cmd[1:]...)
	out, said := &head{left: v.max() + 2, over: cancel}, &head{left: maxSaid, over: func() {}}
	cmd.Stdout, cmd.Stderr = out, said
	if v.Alone {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		cmd.Env = slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "GPG_TTY=") })
		// What it started ends with it: who renews tries again and again.
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	}
	cmd.WaitDelay = time.Second // for children that keep its output open
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) && ctx.Err() == nil {
		err = nil // such as an agent that keeps a passphrase; the command itself is through
	}
	switch {
	case out.more:
		return out.buf.String(), nil // which is too long
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return "", fmt.Errorf("cannot resolve %s: the command did not end within %v", r, limit)
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err != nil:
		lines := strings.Split(strings.TrimSpace(said.buf.String()), "\n")
		if last := lines[len(lines)-1]; last != "" {
			return "", fmt.Errorf("cannot resolve %s: %w: %s", r, err, last)
		}
		return "", fmt.Errorf("cannot resolve %s: %w", r, err)
	}
	return out.buf.String(), nil
}

// head keeps the first bytes that are written to it, takes the rest, and tells of it.
// It has nothing of the buffer's own: a copy would go round it, by ReadFrom.
type head struct {
	buf  bytes.Buffer
	left int
	over func()
	more bool // more was written
}

func (h *head) Write(p []byte) (int, error) {
	n := min(len(p), h.left)
	h.left -= n
	h.buf.Write(p[:n])
	if n < len(p) && !h.more {
		h.more = true
		h.over()
	}
	return len(p), nil
}
