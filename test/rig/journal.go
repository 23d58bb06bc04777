package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fsnotify/fsnotify"
)

// journal is the file in which an internet tells of all that arrives. Only what is
// new in it is read.
type journal struct {
	path string

	mu   sync.Mutex
	done int64 // what is read of the file
	list []Entry
}

// read returns all whole lines so far.
func (j *journal) read() ([]Entry, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f, err := os.Open(j.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.Seek(j.done, io.SeekStart); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	whole := data[:bytes.LastIndexByte(data, '\n')+1] // the last line may be under way
	fresh, err := parseEntries(string(whole))
	if err != nil {
		return nil, err
	}
	j.done += int64(len(whole))
	j.list = append(j.list, fresh...)
	return slices.Clip(j.list), nil
}

// await returns the first entry that has text in it, when it has come.
func (j *journal) await(ctx context.Context, text string) (Entry, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return Entry{}, err
	}
	defer w.Close()
	if err := w.Add(j.path); err != nil {
		return Entry{}, err
	}
	for {
		all, err := j.read()
		if err != nil {
			return Entry{}, err
		}
		if heard := Heard(all, text); len(heard) > 0 {
			return heard[0], nil
		}
		select {
		case <-w.Events:
		case err := <-w.Errors:
			return Entry{}, err
		case <-ctx.Done():
			return Entry{}, ctx.Err()
		}
	}
}

func parseEntries(lines string) (list []Entry, err error) {
	for line := range strings.Lines(lines) {
		var e Entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			return nil, fmt.Errorf("cannot read what arrived, %q: %w", line, err)
		}
		list = append(list, e)
	}
	return list, nil
}

func decodeEntries(t testing.TB, lines string) []Entry {
	t.Helper()
	list, err := parseEntries(lines)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Heard are the entries that have text in their name, path or detail.
func Heard(entries []Entry, text string) []Entry {
	text = strings.ToLower(text)
	var heard []Entry
	for _, e := range entries {
		if strings.Contains(strings.ToLower(e.Host+"\n"+e.Path+"\n"+e.Detail), text) {
			heard = append(heard, e)
		}
	}
	return heard
}
