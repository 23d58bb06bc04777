package sidecar

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/proposal"
	"bottle/pkg/spool"
)

// Names in a sidecar's directories.
const (
	ProposalsDir = "proposals"    // in out: what was asked, <id>.json, never changed
	PendingFile  = "pending.json" // in out: bottle.Pending by id
	DecisionsDir = "decisions"    // in in: the answers, <id>.json
)

// maxFiled is how many proposals a sidecar files in a bottle's life: with the
// rate it bounds what a hostile agent makes the host read.
const maxFiled = 4000

// maxDecision is the size of the largest decision, in bytes: a push's lists its
// refs.
const maxDecision = 256 << 10

// ErrFull is wrapped by Ask's error where there is no room for one more.
var ErrFull = errors.New("not queued")

// Limits bound a queue.
type Limits struct {
	Pending   int // proposals that wait
	PerMinute int // new ones
}

// Queue is what a sidecar asks of the operator. What it holds lies in the
// sidecar's directories, so that a sidecar that was killed comes back with it.
// It is safe for concurrent use.
type Queue struct {
	in, out string // absolute: the directories of decisions and of proposals
	limits  Limits

	mu      sync.Mutex
	waiting map[string]*entry // by id
	filed   int               // files in ProposalsDir
	recent  []time.Time       // when new ones came, within the last minute

	dirty chan struct{} // pending.json is to be written
	stop  context.CancelFunc
	ended sync.WaitGroup
}

// entry is a proposal that waits.
type entry struct {
	proposal bottle.Proposal
	pending  bottle.Pending
	calls    int           // that wait for it
	shown    bool          // PendingFile says that it holds requests
	decided  chan struct{} // closed when decision is there
	decision bottle.Decision
}

// OpenQueue reads what is there and begins to watch for decisions. in and out are
// the sidecar's own directories.
func OpenQueue(in, out string, limits Limits) (*Queue, error) {
	q := &Queue{in: filepath.Join(in, DecisionsDir), out: out, limits: limits, waiting: map[string]*entry{}, dirty: make(chan struct{}, 1)}
	proposals := filepath.Join(out, ProposalsDir)
	if err := os.Mkdir(proposals, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("cannot open the queue: %w", err)
	}
	if err := spool.Sweep(proposals); err != nil {
		return nil, fmt.Errorf("cannot open the queue: %w", err)
	}
	if err := q.load(proposals); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	q.stop = stop
	// Before the first look, so that no decision falls between.
	changes, err := watch(q.in)
	if err != nil {
		changes = nil // the poll finds them
	}
	q.look()
	q.touch()
	q.ended.Go(func() { q.follow(ctx, changes) })
	q.ended.Go(func() { q.keep(ctx) })
	return q, nil
}

// Close stops the queue's own work and tells once more what waits. Calls that
// wait are not ended.
func (q *Queue) Close() {
	q.stop()
	q.ended.Wait()
	q.tell()
}

// load reads what an earlier life filed. A file that is none of ours is left
// alone: it waits for nobody.
func (q *Queue) load(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("cannot open the queue: %w", err)
	}
	q.filed = len(files)
	var told map[string]bottle.Pending
	if data, err := spool.ReadFile(q.out, PendingFile, 1<<20); err == nil && json.Unmarshal(data, &told) != nil {
		told = nil // it is advice, and can be begun anew
	}
	for p := range stored(dir, files) {
		e := &entry{proposal: p, pending: told[p.ID], decided: make(chan struct{})}
		e.shown = e.pending.Held > 0
		e.pending.Waiting, e.pending.Held = false, 0 // its calls died with us
		q.waiting[p.ID] = e
	}
	return nil
}

// stored are the proposals among the files of a directory.
func stored(dir string, files []fs.DirEntry) iter.Seq[bottle.Proposal] {
	return func(yield func(bottle.Proposal) bool) {
		for _, f := range files {
			id := strings.TrimSuffix(f.Name(), ".json")
			if proposal.CheckID(id) != nil {
				continue
			}
			data, err := spool.ReadFile(dir, f.Name(), proposal.MaxSize)
			if err != nil {
				continue
			}
			if p, err := proposal.Parse(data, sourceOf(data), id); err == nil && !yield(p) {
				return
			}
		}
	}
}

// Decided returns the decision on the latest proposal that is meant and has one.
func (q *Queue) Decided(meant func(bottle.Proposal) bool) (d bottle.Decision, found bool) {
	dir := filepath.Join(q.out, ProposalsDir)
	files, err := os.ReadDir(dir)
	if err != nil {
		return d, false
	}
	var at time.Time
	for p := range stored(dir, files) {
		if found && p.CreatedAt.Before(at) || !meant(p) {
			continue
		}
		if one, err := q.read(p.ID); err == nil {
			d, at, found = one, p.CreatedAt, true
		}
	}
	return d, found
}

// sourceOf is what the sidecar wrote of itself: it reads back its own files.
func sourceOf(data []byte) string {
	var p struct {
		Source string `json:"source"`
	}
	if json.Unmarshal(data, &p) != nil {
		return ""
	}
	return p.Source
}

// Ask files a proposal that proposal.Make made, durably, or joins the one that
// asks for the same and waits: that one is returned. The error is for the agent.
func (q *Queue) Ask(p bottle.Proposal) (bottle.Proposal, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range q.waiting {
		if proposal.Same(e.proposal, p) {
			q.count(e, p.CreatedAt)
			return e.proposal, nil
		}
	}
	if err := q.room(time.Now()); err != nil {
		return p, err
	}
	if err := spool.WriteFile(filepath.Join(q.out, ProposalsDir, p.ID+".json"), proposal.Encode(p), 0o600); err != nil {
		return p, fmt.Errorf("%w: %v", ErrFull, err)
	}
	q.filed++
	q.recent = append(q.recent, time.Now())
	e := &entry{proposal: p, decided: make(chan struct{})}
	q.waiting[p.ID] = e
	q.count(e, p.CreatedAt)
	return p, nil
}

// room says why no proposal more is taken.
func (q *Queue) room(now time.Time) error {
	for len(q.recent) > 0 && now.Sub(q.recent[0]) > time.Minute {
		q.recent = q.recent[1:]
	}
	switch {
	case len(q.waiting) >= q.limits.Pending:
		return fmt.Errorf("%w: %d proposals wait for the operator already: wait until some are decided", ErrFull, len(q.waiting))
	case len(q.recent) >= q.limits.PerMinute:
		return fmt.Errorf("%w: more than %d new proposals in a minute: ask again in a minute, and for less", ErrFull, q.limits.PerMinute)
	case q.filed >= maxFiled:
		return fmt.Errorf("%w: this bottle has asked %d times, and that is all it may", ErrFull, q.filed)
	}
	return nil
}

// count notes that it was asked for once more. The caller holds the lock.
func (q *Queue) count(e *entry, at time.Time) {
	at = at.UTC().Truncate(time.Millisecond)
	if e.pending.Count++; e.pending.First.IsZero() {
		e.pending.First = at
	}
	e.pending.Last = at
	q.touch()
}

// Note changes what is told of a proposal that waits, such as the method of a
// refused request.
func (q *Queue) Note(id string, change func(*bottle.Pending)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e := q.waiting[id]; e != nil {
		change(&e.pending)
		q.touch()
	}
}

// Join counts once more what waits and is meant, and changes what is told of it.
// It returns its ID, empty where there is no such one.
func (q *Queue) Join(meant func(bottle.Proposal, bottle.Pending) bool, change func(*bottle.Pending)) (id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range q.waiting {
		if meant(e.proposal, e.pending) {
			q.count(e, time.Now())
			change(&e.pending)
			return e.proposal.ID
		}
	}
	return ""
}

// Hold counts a request with a proposal that waits, as one that waits for the
// answer itself. decided is closed when Decision has it; release ends the wait,
// and is to be called once.
func (q *Queue) Hold(id string) (decided <-chan struct{}, release func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.waiting[id]
	if e == nil { // it was decided meanwhile
		now := make(chan struct{})
		close(now)
		return now, func() {}
	}
	count := func(more int) {
		e.pending.Held += more
		q.call(e, more)
		q.touch()
	}
	count(1)
	return e.decided, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		count(-1)
	}
}

// Decision reads the decision on a proposal.
func (q *Queue) Decision(id string) (bottle.Decision, error) { return q.read(id) }

// Await returns the decision on a proposal that Ask returned. While somebody
// waits so, the proposal is marked; when ctx ends it goes on waiting unmarked.
func (q *Queue) Await(ctx context.Context, id string) (bottle.Decision, error) {
	q.mu.Lock()
	e := q.waiting[id]
	if e == nil {
		q.mu.Unlock()
		return q.read(id) // it was decided meanwhile
	}
	q.call(e, 1)
	q.mu.Unlock()
	defer func() {
		q.mu.Lock()
		q.call(e, -1)
		q.mu.Unlock()
	}()
	select {
	case <-e.decided:
		return e.decision, nil
	case <-ctx.Done():
		return bottle.Decision{}, ctx.Err()
	}
}

func (q *Queue) call(e *entry, more int) {
	e.calls += more
	if waits := e.calls > 0; waits != e.pending.Waiting {
		e.pending.Waiting = waits
		q.touch()
	}
}

func (q *Queue) read(id string) (bottle.Decision, error) {
	var d bottle.Decision
	data, err := spool.ReadFile(q.in, id+".json", maxDecision)
	if err != nil {
		return d, err
	}
	if err := json.Unmarshal(data, &d); err != nil || d.Proposal != id {
		return d, fmt.Errorf("the decision on %s cannot be read", id)
	}
	return d, nil
}

// lookTime is how often decisions are looked for without being told of: file
// events get lost.
const lookTime = 2 * time.Second

func (q *Queue) follow(ctx context.Context, changes <-chan struct{}) {
	tick := time.NewTicker(lookTime)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changes:
		case <-tick.C:
		}
		q.look()
	}
}

// look delivers the decisions that are there.
func (q *Queue) look() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for id, e := range q.waiting {
		d, err := q.read(id)
		if err != nil {
			continue
		}
		e.decision = d
		close(e.decided)
		delete(q.waiting, id)
		q.touch()
	}
}

func (q *Queue) touch() {
	select {
	case q.dirty <- struct{}{}:
	default:
	}
}

// restTime is between two writes of PendingFile: an agent can change what it
// says as quickly as it likes.
const restTime = 250 * time.Millisecond

// keep writes PendingFile when it is to be written.
func (q *Queue) keep(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.dirty:
		}
		q.tell()
		select {
		case <-ctx.Done():
			return
		case <-time.After(restTime):
		}
	}
}

func (q *Queue) tell() {
	q.mu.Lock()
	told := make(map[string]bottle.Pending, len(q.waiting))
	var turned []*entry
	for id, e := range q.waiting {
		told[id] = e.pending
		if e.shown != (e.pending.Held > 0) {
			turned = append(turned, e)
		}
	}
	q.mu.Unlock()
	data, err := json.Marshal(told)
	if err == nil {
		err = spool.WriteFile(filepath.Join(q.out, PendingFile), append(data, '\n'), 0o600)
	}
	if err != nil { // advice that cannot be given is given later
		q.touch()
		return
	}
	for _, e := range turned {
		q.point(e.proposal.ID)
		e.shown = told[e.proposal.ID].Held > 0
	}
}

// point makes those look who watch ProposalsDir: PendingFile lies beside files
// that change with each request, so nobody watches it.
func (q *Queue) point(id string) {
	now := time.Now()
	os.Chtimes(filepath.Join(q.out, ProposalsDir, id+".json"), now, now) // an error: they see it later
}
