package lifecycle

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"bottle/pkg/bottle"
	"bottle/pkg/plan"
	"bottle/pkg/spool"
)

const (
	toldTime = 3 * time.Second // for supervise to hand an answer on
	toldTail = 64 << 10        // bytes of its log that are looked at
)

// AwaitTold waits until supervise has answered the call that asked for a
// proposal, so that an agent hears of a decision before it is stopped for it. It
// is a courtesy: what does not come in a few seconds is not waited for.
func (m *Manager) AwaitTold(ctx context.Context, slug, id string) {
	ctx, cancel := context.WithTimeout(ctx, toldTime)
	defer cancel()
	out := filepath.Join(m.Home.StateDir(slug), plan.SuperviseService, "out")
	watch, err := fsnotify.NewWatcher()
	if err != nil {
		return
	}
	defer watch.Close()
	if watch.Add(out) != nil {
		return
	}
	for !told(out, id) {
		select {
		case <-watch.Events:
		case <-watch.Errors:
		case <-ctx.Done():
			return
		}
	}
}

// told says whether the last that a log has of a proposal is an answer: to the
// operator's decision, or to a call that did not wait for it.
func told(out, id string) bool {
	f, err := spool.OpenFile(out, "events.jsonl")
	if err != nil {
		return false
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > toldTail {
		f.Seek(-toldTail, io.SeekEnd)
	}
	data, err := io.ReadAll(io.LimitReader(f, toldTail))
	if err != nil {
		return false
	}
	last := ""
	for line := range bytes.Lines(data) {
		var e bottle.Event
		if json.Unmarshal(line, &e) == nil && e.Detail == id {
			last = e.Kind
		}
	}
	return last == "answer"
}
