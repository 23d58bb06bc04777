// Package eventlog reads the events that sidecars recorded, all of them merged
// in the order of time: what happened, and what happens. Sidecars face agents,
// so that what they wrote is read as hostile. It writes nothing.
package eventlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bottle/pkg/bottle"
)

// Record is one event and whose it is. Source is the directory it was found in,
// whatever the event itself says.
type Record struct {
	Slug string `json:"slug"`
	bottle.Event
	Decided
}

// Decided is what an operator's record is about; a sidecar's has none.
type Decided struct {
	Proposal string `json:"proposal,omitempty"`
	Grant    string `json:"grant,omitempty"`
}

// Source is one sidecar's log: File, and the one before it, File and ".1".
type Source struct {
	Slug    string
	Service string
	Dir     string
	File    string
	// Named: each line names its bottle, and those of others than Slug are not
	// meant; with no Slug, all are.
	Named bool
}

// sidecars says whether a sidecar writes it.
func (s Source) sidecars() bool { return !s.Named }

// Operator is the log of what the operator decided, of one bottle or, with no
// slug, of all: pkg/audit's file in a home.
func Operator(home, file, slug string) Source {
	return Source{Slug: slug, Service: "operator", Dir: home, File: file, Named: true}
}

// Name of a sidecar's log in its out directory, and what it ends with in a
// history.
const (
	logFile    = "events.jsonl"
	pastSuffix = "-" + logFile
	before     = ".1"
)

// Living returns the logs below a bottle's state directory, sorted by service.
// A bottle that is not there has none.
func Living(stateDir, slug string) ([]Source, error) {
	entries, err := os.ReadDir(stateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot look for events of %s: %w", slug, err)
	}
	var sources []Source
	for _, e := range entries {
		dir := filepath.Join(stateDir, e.Name(), "out")
		if info, err := os.Lstat(dir); e.IsDir() && err == nil && info.IsDir() && e.Name() != "agent" {
			sources = append(sources, Source{Slug: slug, Service: e.Name(), Dir: dir, File: logFile})
		}
	}
	return sources, nil
}

// Past returns the logs in the history of a bottle that is gone.
func Past(historyDir, slug string) ([]Source, error) {
	entries, err := os.ReadDir(historyDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot look for events of %s: %w", slug, err)
	}
	var sources []Source
	for _, e := range entries {
		if service, ok := strings.CutSuffix(e.Name(), pastSuffix); ok {
			sources = append(sources, Source{Slug: slug, Service: service, Dir: historyDir, File: e.Name()})
		}
	}
	return sources, nil
}

// Read returns the events of all sources since a time, in the order of time,
// and how many lines could not be read.
func Read(sources []Source, since time.Time) (records []Record, bad int, err error) {
	for _, s := range sources {
		t := &tail{source: s, since: since}
		records, err = t.read(records)
		t.close()
		bad += t.bad
		if err != nil {
			return nil, bad, err
		}
	}
	sortByTime(records)
	return records, bad, nil
}

func sortByTime(records []Record) {
	slices.SortStableFunc(records, func(a, b Record) int { return a.Time.Compare(b.Time) })
}

// maxLine bounds one record; a sidecar's own are far shorter.
const maxLine = 64 << 10

// parse reads one line, and says whether it is an event.
func parse(line []byte, s Source) (Record, bool) {
	r := Record{Slug: s.Slug}
	if json.Unmarshal(line, &r.Event) != nil || r.Kind == "" || r.Time.IsZero() {
		return r, false
	}
	if s.Named {
		var whose struct {
			Slug string
			Decided
		}
		json.Unmarshal(line, &whose) // it is JSON; what is no text names nobody
		r.Slug, r.Decided = whose.Slug, whose.Decided
	}
	r.Source = s.Service
	return r, true
}

// split takes whole lines off data, and returns what is left.
func (t *tail) split(data []byte, records []Record) ([]byte, []Record) {
	for {
		i := bytes.IndexByte(data, '\n')
		if i < 0 {
			break
		}
		line := data[:i]
		data = data[i+1:]
		switch r, ok := parse(line, t.source); {
		case t.skip:
			t.skip = false
		case len(bytes.TrimSpace(line)) == 0:
		case !ok:
			t.bad++
		case t.source.Slug != "" && r.Slug != t.source.Slug: // another bottle's
		case !r.Time.Before(t.since):
			records = append(records, r)
		}
	}
	if len(data) > maxLine {
		t.bad++
		t.skip, data = true, nil
	}
	return data, records
}
