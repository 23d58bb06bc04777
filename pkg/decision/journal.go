package decision

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"bottle/pkg/audit"
	"bottle/pkg/bottle"
	"bottle/pkg/proposal"
	"bottle/pkg/spool"
	"bottle/pkg/state"
)

// journalFile in a bottle's state directory is a change under way: what is to be
// done, written before anything is. Whoever finds one, and takes the lock, finds
// that its program was killed, and finishes or undoes it.
const journalFile = "change.json"

const maxJournal = 48 << 20

// journal is a change of one bottle.
type journal struct {
	// Old and New are the policy's text before and after. Both are empty where the
	// policy does not change.
	Old       string        `json:"old,omitempty"`
	New       string        `json:"new,omitempty"`
	Decisions []verdict     `json:"decisions,omitempty"`
	Saves     []Save        `json:"saves,omitempty"`
	Record    *audit.Record `json:"record,omitempty"` // of an edit or a revocation
	// Listed are hosts that go onto pipelock's list alone; File is the SHA-256 of
	// pipelock's file after an edit of it. Then the policy does not change.
	Listed  []string  `json:"listed,omitempty"`
	File    string    `json:"file,omitempty"`
	Time    time.Time `json:"time"`
	Program string    `json:"program"`
}

// verdict is a decision, for whom, and what it changes.
type verdict struct {
	Source   string          `json:"source"`
	Decision bottle.Decision `json:"decision"`
	Diff     string          `json:"diff,omitempty"`
}

// Write order. The journal comes first. The policy is in force before it is
// recorded: a sidecar that was killed between has the old one or the new one, and
// says which. The first decision that is there means that there is no way back.
//
//	journal → hosts open in pipelock, its exceptions as they are to be → routes.yaml → signal →
//	acknowledgement → hosts closed in pipelock → manifest → decisions → audit → journal gone

// commit carries a change out, or leaves everything as it was. The caller holds
// the lock.
func (d *Decider) commit(ctx context.Context, slug string, j *journal) error {
	for _, s := range j.Saves {
		if err := s.check(); err != nil {
			return err
		}
	}
	if err := d.write(slug, j); err != nil {
		return err
	}
	if j.New == j.Old {
		if err := d.list(ctx, slug, j.Listed); err != nil {
			return errors.Join(err, d.forget(slug))
		}
		return d.finish(slug, j, false)
	}
	m := d.mirrored(slug, j)
	listed, err := d.openInPipelock(ctx, slug, m.first)
	if err != nil {
		return errors.Join(err, d.forget(slug))
	}
	if err := d.apply(ctx, slug, j.New); err != nil {
		return errors.Join(alreadyListed(err, listed), d.undo(slug, j))
	}
	late := d.closeInPipelock(ctx, slug, m.last)
	if err := d.finish(slug, j, false); err != nil || j.Record == nil {
		return err // who approves a host is not bothered with one that was to go anyway
	}
	return late
}

// write writes a change down, before anything of it is done.
func (d *Decider) write(slug string, j *journal) error {
	j.Time, j.Program = time.Now().UTC().Truncate(time.Millisecond), d.Program
	data, err := encode(j)
	if err != nil {
		return err
	}
	return spool.WriteFile(d.journal(slug), data, 0o600)
}

// encode writes a change as its file holds it, if it can be read back.
func encode(j *journal) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(j); err != nil {
		return nil, fmt.Errorf("cannot record what is to be changed: %w", err)
	}
	if out.Len() > maxJournal || len(j.New) > MaxPolicy {
		return nil, ErrLarge
	}
	return out.Bytes(), nil
}

// finish records what is in force. again: another one began, and may have
// recorded some of it.
func (d *Decider) finish(slug string, j *journal, again bool) error {
	var unsaved error
	for _, s := range j.Saves {
		if err := s.write(); err != nil {
			unsaved = fmt.Errorf("it is in force, but not in the manifest: %w", err)
		}
	}
	bySource := map[string][]bottle.Decision{}
	for i := range j.Decisions {
		v := &j.Decisions[i]
		if g := v.Decision.Grant; unsaved != nil && g != nil {
			g.Saved = false
		}
		bySource[v.Source] = append(bySource[v.Source], v.Decision)
	}
	for source, decisions := range bySource {
		err := d.Home.Decide(slug, source, decisions...)
		if errors.Is(err, state.ErrDecided) {
			err = nil // by us, before we were killed: all deciders hold the lock
		}
		if err != nil {
			return err
		}
	}
	if err := d.audit(slug, j, again); err != nil {
		return err
	}
	return errors.Join(unsaved, d.forget(slug))
}

// undo puts the old policy back. Egress is told, and not waited for: it may be
// what failed. It takes what it finds when it starts, too. An exception of pipelock's
// that nothing holds any more must not stay.
func (d *Decider) undo(slug string, j *journal) error {
	if j.New != j.Old {
		text, err := d.text(slug)
		if err != nil {
			return err
		}
		if string(text) == j.New { // otherwise it was not written, or changed by hand since
			if err := spool.WriteFile(d.policyPath(slug), []byte(j.Old), 0o600); err != nil {
				return err
			}
		}
		// Even where the old one was there: who undid before us may have been killed
		// before he told egress.
		ctx, cancel := context.WithTimeout(context.Background(), undoTime)
		defer cancel()
		if err := d.Signal(ctx, slug, proposal.Egress); err == nil && (string(text) == j.New || string(text) == j.Old) {
			d.await(ctx, slug, sum(j.Old))
		}
		if err := d.unexcept(slug, j); err != nil {
			return err
		}
	}
	return d.forget(slug)
}

const undoTime = 2 * time.Second

func (d *Decider) forget(slug string) error {
	if err := os.Remove(d.journal(slug)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return spool.Sync(d.Home.StateDir(slug))
}

func (d *Decider) journal(slug string) string {
	return filepath.Join(d.Home.StateDir(slug), journalFile)
}

// Recover finishes or undoes what a killed program left, where nobody is at work
// on it. It costs two looks where there is nothing.
func (d *Decider) Recover(ctx context.Context, slug string) error {
	if !exists(d.journal(slug)) && !exists(d.previous(slug)) {
		return nil
	}
	lock, err := d.Home.TryLockPolicy(slug)
	if errors.Is(err, state.ErrLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Unlock()
	return d.recover(ctx, slug)
}

// recover is Recover for who holds the lock.
func (d *Decider) recover(ctx context.Context, slug string) error {
	d.mendPipelock(ctx, slug)
	data, err := spool.ReadFile(d.Home.StateDir(slug), journalFile, maxJournal)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var j journal
	if err == nil {
		err = json.Unmarshal(data, &j)
	}
	if err != nil {
		return fmt.Errorf("cannot read what a killed program was changing: %w", err)
	}
	done := j.New == j.Old
	switch {
	case j.File != "":
		done = j.File == d.pipelockSum(slug)
	case len(j.Listed) > 0:
		done = d.list(ctx, slug, j.Listed) == nil // once more, and it waits on where that fails
	}
	for _, v := range j.Decisions {
		if _, err := d.Home.Decision(slug, v.Source, v.Decision.Proposal); err == nil {
			done = true
		}
	}
	// Where the old text is there, nothing was done yet, or an undoing was cut short.
	// Where the new one is, egress has it, or may take it at any moment, and let
	// through what was held for it: that is gone on with.
	if text, err := d.text(slug); err == nil && !done && string(text) == j.New {
		a, ok := d.applied(slug)
		done = ok && a.SHA256 == sum(j.New) || d.tell(ctx, slug, j.New) == nil
		if ctx.Err() != nil {
			return ctx.Err() // it is the next one's
		}
	}
	if done {
		d.closeInPipelock(ctx, slug, d.mirrored(slug, &j).last) // what stays is harmless, and goes with the next change
		return d.finish(slug, &j, true)
	}
	return d.undo(slug, &j)
}

// audit records a change; again: what is recorded already only once.
func (d *Decider) audit(slug string, j *journal, again bool) error {
	var records []audit.Record
	after := ""
	if j.New != "" {
		after = sum(j.New)
	}
	for _, v := range j.Decisions {
		r := audit.Record{Kind: audit.Decision, Verdict: string(v.Decision.Verdict), Slug: slug, Sidecar: v.Source, Proposal: v.Decision.Proposal,
			Asked: string(v.Decision.Kind), Reason: v.Decision.Reason, Detail: v.Decision.Detail, Diff: v.Diff, Time: v.Decision.Time}
		if v.Decision.As != nil {
			r.Proposed = v.Decision.As.ID
		}
		if v.Decision.Grant != nil {
			r.Grant = v.Decision.Grant.ID
		}
		records = append(records, r)
	}
	if j.Record != nil {
		j.Record.Time = j.Time
		records = append(records, *j.Record)
	}
	for i := range records {
		records[i].Policy, records[i].Program = after, j.Program
	}
	if again {
		records = d.unrecorded(records)
	}
	return d.append(records)
}

func (d *Decider) append(records []audit.Record) error {
	ctx, cancel := context.WithTimeout(context.Background(), auditTime)
	defer cancel()
	return audit.Append(ctx, d.Home.Dir, records...)
}

const auditTime = 20 * time.Second

// unrecorded leaves out the records that the log has.
func (d *Decider) unrecorded(records []audit.Record) []audit.Record {
	type key struct {
		kind, slug, proposal, grant string
		time                        int64
	}
	of := func(r audit.Record) key { return key{r.Kind, r.Slug, r.Proposal, r.Grant, r.Time.UnixMilli()} }
	known := map[key]bool{}
	d.eachRecord(func(r audit.Record) { known[of(r)] = true })
	var left []audit.Record
	for _, r := range records {
		if !known[of(r)] {
			left = append(left, r)
		}
	}
	return left
}

// eachRecord reads the log, as far as it can be read.
func (d *Decider) eachRecord(f func(audit.Record)) {
	file, err := os.Open(filepath.Join(d.Home.Dir, audit.File))
	if err != nil {
		return // there is none yet
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r audit.Record
		if json.Unmarshal(lines.Bytes(), &r) == nil {
			f(r)
		}
	}
}

func sum(text string) string {
	h := sha256.Sum256([]byte(text))
	return hex.EncodeToString(h[:])
}
