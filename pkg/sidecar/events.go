package sidecar

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"bottle/pkg/bottle"
	"bottle/pkg/spool"
)

// EventsFile is the log of events in a sidecar's out directory, JSON lines.
// When it has grown to 10 MiB it becomes EventsFile.1, and the one before is
// gone: an agent must not be able to fill the disk.
const EventsFile = "events.jsonl"

const (
	maxLog  = 10 << 20
	maxText = 1024 // bytes of one text field of an event
	// What was allowed is written with what else happens in this time, or when it
	// is this many bytes: a sidecar that is killed may lose that much of it.
	gather    = 10 * time.Millisecond
	maxGather = 32 << 10
)

// Events writes a sidecar's events. It is safe for concurrent use. What was
// refused, found or changed stands in the file when Add returns; what was
// allowed is gathered for a moment, since a write for each request is a tenth of
// what the request costs.
type Events struct {
	source string
	path   string
	limit  int64

	mu       sync.Mutex
	file     *os.File
	size     int64
	lost     int // events that could not be written
	buf      []byte
	gathered int // events in buf
	later    *time.Timer
}

// OpenEvents opens the log in dir for the sidecar called source.
func OpenEvents(dir, source string) (*Events, error) {
	e := &Events{source: source, path: filepath.Join(dir, EventsFile), limit: maxLog}
	if err := e.open(); err != nil {
		return nil, fmt.Errorf("cannot open the log of events: %w", err)
	}
	return e, nil
}

func (e *Events) open() error {
	f, err := spool.Append(e.path, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	e.file, e.size = f, info.Size()
	return nil
}

// Add records an event; a zero Time is now. A log that cannot be written never
// stops the sidecar: the loss is counted, and told with the next events that can
// be written.
func (e *Events) Add(ev bottle.Event) {
	if ev.Time.IsZero() {
		ev.Time = time.Now()
	}
	ev.Time = ev.Time.UTC().Truncate(time.Millisecond)
	ev.Source = e.source
	ev.Host, ev.Path, ev.Detail, ev.Reason = cut(ev.Host), cut(ev.Path), cut(ev.Detail), cut(ev.Reason)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.buf = append(ev.AppendJSON(e.buf), '\n')
	e.gathered++
	switch {
	case ev.Verdict != bottle.Allowed || len(e.buf) >= maxGather:
		e.flush()
	case e.gathered > 1:
		// The timer runs.
	case e.later == nil:
		e.later = time.AfterFunc(gather, func() {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.flush()
		})
	default:
		e.later.Reset(gather)
	}
}

// flush writes what was gathered.
func (e *Events) flush() {
	if e.gathered == 0 {
		return
	}
	if e.lost > 0 {
		lost := bottle.Event{Time: time.Now().UTC().Truncate(time.Millisecond), Source: e.source, Kind: "lost", Detail: fmt.Sprintf("%d events could not be written", e.lost)}
		if e.write(append(lost.AppendJSON(nil), '\n')) == nil {
			e.lost = 0
		}
	}
	if e.lost > 0 || e.write(e.buf) != nil {
		e.lost += e.gathered
	}
	e.buf, e.gathered = e.buf[:0], 0
}

func (e *Events) write(lines []byte) error {
	if err := e.rotate(len(lines)); err != nil {
		return err
	}
	n, err := e.file.Write(lines)
	e.size += int64(n)
	if err != nil && n > 0 {
		// Half a record stands there: end it, so that it spoils no other.
		e.file.Write([]byte("\n"))
	}
	return err
}

// rotate makes room for n more bytes.
func (e *Events) rotate(n int) error {
	if e.file == nil { // the last attempt to open it failed
		return e.open()
	}
	if e.size == 0 || e.size+int64(n) <= e.limit {
		return nil
	}
	if err := os.Rename(e.path, e.path+".1"); err != nil {
		return err
	}
	e.file.Close()
	e.file = nil
	return e.open()
}

// Close writes what was gathered and closes the log.
func (e *Events) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.flush()
	if e.file == nil {
		return nil
	}
	return e.file.Close()
}

// cut bounds a text field, whose length an agent chooses.
func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	s = s[:maxText]
	for len(s) > 0 && !utf8.RuneStart(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return strings.ToValidUTF8(s, "\ufffd") + "…"
}
