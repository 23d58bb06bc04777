package lifecycle

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"unicode/utf8"

	"bottle/pkg/bottle"
	"bottle/pkg/spool"
	"bottle/pkg/state"
	"bottle/pkg/workspace"
)

// check reads a bundle back and judges it, and writes beside it how the work
// differs from what it began with. That this cannot be told is a note: the bundle
// has it all.
func (c *capture) check(ctx context.Context, bundle *os.File) error {
	if _, err := bundle.Seek(0, io.SeekStart); err != nil {
		return err
	}
	path := filepath.Join(c.Home.StateDir(c.slug), state.WorkDiff)
	// One of an earlier stop says nothing of this work.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l := workspace.Limits{Temp: filepath.Dir(bundle.Name()), Start: c.start, Warn: func(note string) { c.notes = append(c.notes, note) }}
	if !c.diffs {
		_, err := workspace.Check(ctx, bundle, l)
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), spool.TempPrefix)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	text := &inertWriter{w: bufio.NewWriter(f)}
	l.Diff = text
	if _, err := workspace.Check(ctx, bundle, l); err != nil {
		return err
	}
	if err := errors.Join(text.flush(), f.Sync()); err != nil {
		return err
	}
	if info, err := f.Stat(); err != nil || info.Size() == 0 {
		return err
	}
	return os.Rename(f.Name(), path)
}

// begun is the commit that a bottle's work began with, empty for nothing at all;
// known is false where nobody recorded it.
func begun(b bottle.Bottle) (start string, known bool) {
	if commitID().MatchString(b.Start) {
		return b.Start, true
	}
	return "", b.Workspace == WorkspaceNone
}

// inertWriter passes lines on as inert makes them. A line end of two characters
// stays one.
type inertWriter struct {
	w    *bufio.Writer
	rest []byte // of a line that has not ended
}

const maxInertLine = 64 << 10

func (i *inertWriter) Write(p []byte) (int, error) {
	i.rest = append(i.rest, p...)
	for {
		end := bytes.IndexByte(i.rest, '\n') + 1
		if end == 0 && len(i.rest) < maxInertLine {
			return len(p), nil
		}
		if end == 0 { // cut where a character begins
			for end = len(i.rest); end > len(i.rest)-utf8.UTFMax && !utf8.RuneStart(i.rest[end-1]); end-- {
			}
			end--
		}
		if err := i.line(i.rest[:end]); err != nil {
			return 0, err
		}
		i.rest = i.rest[end:]
	}
}

func (i *inertWriter) line(line []byte) error {
	text := bytes.TrimSuffix(line, []byte("\n"))
	ended := len(text) < len(line)
	if ended {
		text = bytes.TrimSuffix(text, []byte("\r"))
	}
	if _, err := i.w.Write(inert(text)); err != nil {
		return err
	}
	_, err := i.w.Write(line[len(text):])
	return err
}

func (i *inertWriter) flush() error {
	if err := i.line(i.rest); err != nil {
		return err
	}
	return i.w.Flush()
}
