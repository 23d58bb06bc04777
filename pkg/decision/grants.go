package decision

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bottle/pkg/audit"
	"bottle/pkg/bottle"
	"bottle/pkg/policy"
	"bottle/pkg/proposal"
	"bottle/pkg/spool"
	"bottle/pkg/state"
)

// Held is a grant as bottle-ls prints it.
type Held struct {
	bottle.Grant
	Summary string `json:"summary"`
	Left    *int64 `json:"left,omitempty"` // seconds; absent: the bottle's life
	Over    bool   `json:"over,omitempty"` // its time or its uses are over
}

// Grants are a bottle's grants, those that are over only where all is set.
func (d *Decider) Grants(slug string, now time.Time, all bool) ([]Held, error) {
	_, p, err := d.inForce(slug)
	if err != nil || len(p.Grants) == 0 {
		return nil, err
	}
	given := map[string]bottle.Grant{}
	for _, doc := range d.Home.Decisions(slug) {
		if doc.Grant != nil {
			given[doc.Grant.ID] = *doc.Grant
		}
	}
	used := d.used(slug)
	var held []Held
	for _, g := range p.Grants {
		h := Held{Grant: Document(g, slug, given[g.ID].Kind), Over: over(g, used[g.ID], now), Summary: g.Summary()}
		h.CreatedAt, h.Saved, h.Used = given[g.ID].CreatedAt, given[g.ID].Saved, used[g.ID]
		if !g.Opens() {
			h.Summary += "  [lets findings of " + strings.TrimSpace(g.Scanner+" "+g.Rule) + " through]"
		}
		if !g.Expires.IsZero() {
			left := max(int64(g.Expires.Sub(now)/time.Second), 0)
			h.Left = &left
		}
		if all || !h.Over {
			held = append(held, h)
		}
	}
	return held, nil
}

func over(g policy.Grant, used int64, now time.Time) bool {
	return !g.Live(now) || g.Uses > 0 && used >= g.Uses
}

const (
	usesFile = "uses.log" // egress', in its out directory: a grant's ID a line
	maxUses  = 64 << 20
	endsFile = "ends.json" // ours, in the state directory: grants whose end is recorded
	maxEnds  = 4 << 20
)

// used counts the uses that egress reserved. It is the sidecar's word.
func (d *Decider) used(slug string) map[string]int64 {
	used := map[string]int64{}
	data, err := spool.ReadFile(d.outDir(slug), usesFile, maxUses)
	if err != nil {
		return used
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		if id := lines.Text(); policy.CheckID(id) == nil {
			used[id]++
		}
	}
	return used
}

// LookAfter does what falls to the next program that runs: it finishes or undoes
// what a killed one left, and records which grants have come to their end.
func (d *Decider) LookAfter(ctx context.Context, slug string) error {
	if err := d.Recover(ctx, slug); err != nil {
		return err
	}
	ended := d.ended(slug, time.Now())
	if len(ended) == 0 {
		return nil
	}
	lock, err := d.Home.TryLockPolicy(slug)
	if errors.Is(err, state.ErrLocked) {
		return nil // the next one
	}
	if err != nil {
		return err
	}
	defer lock.Unlock()
	ended = d.ended(slug, time.Now()) // another may have been at work
	if ended = d.closeEnded(ctx, slug, ended); len(ended) == 0 {
		return nil
	}
	return d.recordEnds(slug, ended)
}

// recordEnds records the ends that are not recorded yet. The list is written
// last: where it is lacking, the log itself is asked.
func (d *Decider) recordEnds(slug string, ended []policy.Grant) error {
	var records []audit.Record
	known := d.known(slug)
	used := d.used(slug)
	for _, g := range ended {
		r := audit.Record{Kind: audit.Expire, Slug: slug, Sidecar: proposal.Egress, Grant: g.ID, Program: d.Program, Diff: minus(policy.Policy{Grants: []policy.Grant{g}})}
		if g.Uses > 0 && used[g.ID] >= g.Uses {
			r.Detail = fmt.Sprintf("its %d uses are used up", g.Uses)
		} else {
			r.Detail = "it ended at " + g.Expires.Format(time.RFC3339)
		}
		records, known = append(records, r), append(known, g.ID)
	}
	if err := d.append(d.unrecordedEnds(slug, records)); err != nil {
		return err
	}
	data, err := json.Marshal(known)
	if err != nil {
		return err
	}
	return spool.WriteFile(filepath.Join(d.Home.StateDir(slug), endsFile), append(data, '\n'), 0o600)
}

// ended are the grants that are over, and whose end is not recorded.
func (d *Decider) ended(slug string, now time.Time) []policy.Grant {
	text, err := d.text(slug)
	if err != nil || !strings.Contains(string(text), "expires:") && !strings.Contains(string(text), "uses:") {
		return nil // no grant can end, and parsing costs time
	}
	p, err := policy.Parse(text)
	if err != nil {
		return nil // who changes it will be told
	}
	known, used := d.known(slug), d.used(slug)
	return slices.DeleteFunc(p.Grants, func(g policy.Grant) bool { return !over(g, used[g.ID], now) || slices.Contains(known, g.ID) })
}

func (d *Decider) known(slug string) (ids []string) {
	data, err := spool.ReadFile(d.Home.StateDir(slug), endsFile, maxEnds)
	if err == nil {
		err = json.Unmarshal(data, &ids)
	}
	if err != nil {
		return nil // then the log is asked
	}
	return ids
}

// unrecordedEnds leaves out the ends that the log has.
func (d *Decider) unrecordedEnds(slug string, records []audit.Record) []audit.Record {
	have := map[string]bool{}
	d.eachRecord(func(r audit.Record) {
		if r.Kind == audit.Expire && r.Slug == slug {
			have[r.Grant] = true
		}
	})
	return slices.DeleteFunc(records, func(r audit.Record) bool { return have[r.Grant] })
}
