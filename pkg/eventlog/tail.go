package eventlog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"bottle/pkg/spool"
)

// maxLog is how much of one file is read, up to its end; a sidecar's own log is
// a third of that at most.
const maxLog = 32 << 20

// tail reads one source, and goes on where it ended.
type tail struct {
	source Source
	since  time.Time
	files  []*os.File // in the order of time; the last one may still grow
	rest   []byte     // of a line that is not whole yet
	skip   bool       // what comes up to the next line's end is no record
	bad    int        // lines that are no event
}

// read appends what has come since the last call.
func (t *tail) read(records []Record) ([]Record, error) {
	if len(t.files) == 0 {
		if err := t.more(nil); err != nil {
			return records, err
		}
	}
	for len(t.files) > 0 {
		var err error
		if records, err = t.readFile(t.files[0], records); err != nil {
			return records, fmt.Errorf("cannot read the events of %s: %w", t.source.Slug, err)
		}
		if len(t.files) == 1 {
			// Nobody writes into a file that was rotated away; but it was read to its
			// end before we know that it was, so that it must be read once more.
			replaced, err := t.replaced(t.files[0])
			if err != nil || !replaced {
				return records, err
			}
			if records, err = t.readFile(t.files[0], records); err != nil {
				return records, fmt.Errorf("cannot read the events of %s: %w", t.source.Slug, err)
			}
			if err := t.more(t.files[0]); err != nil {
				return records, err
			}
		}
		t.files[0].Close()
		t.files, t.rest, t.skip = t.files[1:], nil, false
	}
	return records, nil
}

// more queues the files that come after old, or all that there are.
func (t *tail) more(old *os.File) error {
	for {
		now, err := t.open(t.source.File)
		if err != nil {
			return err
		}
		last, err := t.open(t.source.File + before)
		if err != nil {
			closeAll(now)
			return err
		}
		switch {
		case now != nil && last != nil && same(now, last):
			closeAll(now, last) // it was rotated between the two looks
			continue
		case last != nil && old != nil && same(last, old):
			closeAll(last)
			last = nil
		}
		for _, f := range []*os.File{last, now} {
			if f != nil {
				t.files = append(t.files, f)
			}
		}
		return t.bound(old)
	}
}

// bound passes over the beginning of a file that no sidecar of ours wrote.
func (t *tail) bound(old *os.File) error {
	for _, f := range t.files {
		if f == old {
			continue
		}
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if info.Size() > maxLog {
			if _, err := f.Seek(-maxLog, io.SeekEnd); err != nil {
				return err
			}
			t.skip = len(t.files) == 1 // the first line is not whole
		}
	}
	return nil
}

// readFile reads to the end that a file has now.
func (t *tail) readFile(f *os.File, records []Record) ([]Record, error) {
	buf := make([]byte, 256<<10)
	for left := int64(maxLog); left > 0; {
		n, err := f.Read(buf)
		left -= int64(n)
		var rest []byte
		rest, records = t.split(append(t.rest, buf[:n]...), records)
		t.rest = append([]byte(nil), rest...)
		if errors.Is(err, io.EOF) {
			return records, nil
		}
		if err != nil {
			return records, err
		}
	}
	return records, nil
}

// replaced says whether another file has taken the place of f.
func (t *tail) replaced(f *os.File) (bool, error) {
	now, err := t.open(t.source.File)
	if err != nil || now == nil {
		return false, err // gone with its directory, or not there yet: no other has come
	}
	defer now.Close()
	return !same(now, f), nil
}

// open opens a file of the source; nil: it is not there.
func (t *tail) open(name string) (*os.File, error) {
	f, err := spool.OpenFile(t.source.Dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the events of %s: %w", t.source.Slug, err)
	}
	return f, nil
}

func (t *tail) close() {
	closeAll(t.files...)
	t.files = nil
}

func same(a, b *os.File) bool {
	x, err := a.Stat()
	if err != nil {
		return false
	}
	y, err := b.Stat()
	return err == nil && os.SameFile(x, y)
}

func closeAll(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}
