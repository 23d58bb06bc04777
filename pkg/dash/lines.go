package dash

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/cli"
)

// Agent is one line of bottle-ls --watch. All text in it is inert.
type Agent struct {
	bottle.Bottle
	Activity string `json:"activity"`
}

// Proposal is one line of bottle-ls proposals. All text in it is inert.
type Proposal struct {
	ID            string          `json:"id"`
	Slug          string          `json:"slug"`
	Agent         string          `json:"agent"`
	Kind          string          `json:"kind"`
	Summary       string          `json:"summary"`
	Justification string          `json:"justification"`
	CreatedAt     time.Time       `json:"created_at"`
	Proposed      json.RawMessage `json:"proposed"`
	Diff          string          `json:"diff"`
	// Status is pending or absent while it waits; anything else ends that.
	Status string `json:"status"`
	Note   string `json:"note"` // why there is no diff
	// Pending says whether requests wait for the answer, and until when.
	Pending bottle.Pending `json:"pending"`

	payload string // Proposed, as lines, without
	texts   []text // what of it is read line by line
	host    string // in it, where there is one
	seconds int64  // how long it is asked for; 0: the bottle's life
}

// Choice is one line of bottle-ls agents.
type Choice struct {
	Agent   string `json:"agent"`
	Bottle  string `json:"bottle"`
	Running int    `json:"running"`
}

// DecodeAgent reads one line of bottle-ls.
func DecodeAgent(line []byte) (Agent, error) {
	var a Agent
	if err := json.Unmarshal(line, &a); err != nil {
		return a, fmt.Errorf("cannot understand bottle-ls: %v", err)
	}
	if err := bottle.CheckSlug(a.Slug); err != nil {
		return a, err
	}
	a.Agent, a.Folder, a.Reason, a.Activity = cli.Inert(a.Agent), cli.Inert(a.Folder), cli.Inert(a.Reason), cli.Inert(a.Activity)
	a.Status = bottle.Status(cli.Inert(string(a.Status)))
	for _, names := range [][]string{a.Services, a.Sidecars, a.Stale} {
		for i := range names {
			names[i] = cli.Inert(names[i])
		}
	}
	return a, nil
}

// DecodeProposal reads one line of bottle-ls proposals.
func DecodeProposal(line []byte) (Proposal, error) {
	var p Proposal
	if err := json.Unmarshal(line, &p); err != nil {
		return p, fmt.Errorf("cannot understand bottle-ls proposals: %v", err)
	}
	// Both go into command lines.
	if bottle.CheckSlug(p.Slug) != nil || !isID(p.ID) {
		return p, fmt.Errorf("cannot understand bottle-ls proposals: no ID %q of bottle %q", p.ID, p.Slug)
	}
	var asked struct {
		Host    string `json:"host"`
		Seconds int64  `json:"seconds"`
	}
	if json.Unmarshal(p.Proposed, &asked) == nil {
		p.host, p.seconds = cli.Inert(asked.Host), asked.Seconds
	}
	p.payload, p.texts = payload(p.Proposed)
	p.Proposed = nil
	p.Agent, p.Kind, p.Summary, p.Status = cli.Inert(p.Agent), cli.Inert(p.Kind), cli.Inert(p.Summary), cli.Inert(p.Status)
	return p, nil
}

func (p Proposal) pending() bool { return p.Status == "" || p.Status == "pending" }

// order is that in which two are listed: first those that requests were held for,
// until that time is over, whether any still is, since who comes and goes must not
// move what the operator looks at; then what is oldest.
func (p Proposal) order(q Proposal, now time.Time) int {
	if x, y := now.Before(p.Pending.HeldUntil), now.Before(q.Pending.HeldUntil); x != y {
		if x {
			return -1
		}
		return 1
	}
	if c := p.CreatedAt.Compare(q.CreatedAt); c != 0 {
		return c
	}
	return strings.Compare(p.key(), q.key())
}

// left is how long a request still waits for the answer, in whole seconds, the
// begun one counted; 0: none does.
func (p Proposal) left(now time.Time) time.Duration {
	if !p.Pending.Holds(now) {
		return 0
	}
	return (p.Pending.HeldUntil.Sub(now) + time.Second - 1).Truncate(time.Second)
}

// key names it among all: two bottles may ask for the same, with one ID.
func (p Proposal) key() string { return p.Slug + "/" + p.ID }

// subject is what a decision is about, in a word or a line.
func (p Proposal) subject() string {
	if p.host != "" {
		return p.host
	}
	return p.Summary
}

func isID(s string) bool {
	return len(s) > 0 && len(s) <= 128 && s[0] != '-' && !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' || r == '.' || r == '_')
	})
}

// text is a field that has lines of its own.
type text struct{ name, lines string }

// payload is what is asked for as lines: text as it is, the rest as JSON but for
// the fields that are texts.
func payload(raw json.RawMessage) (rest string, texts []text) {
	if len(raw) == 0 || string(raw) == "null" {
		return "", nil
	}
	if json.Unmarshal(raw, &rest) == nil {
		return rest, nil
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) == nil {
		for _, name := range []string{"dockerfile", "commits", "diffstat"} {
			if lines, ok := asLines(fields[name]); ok {
				texts = append(texts, text{name, lines})
				delete(fields, name)
			}
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	switch {
	case len(texts) == 0:
		enc.Encode(raw) // nothing, where it is no JSON
	case len(fields) > 0:
		enc.Encode(fields)
	}
	return b.String(), texts
}

// asLines are the lines of a string, or of an array of strings, of which each is
// one.
func asLines(raw json.RawMessage) (string, bool) {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return one, one != ""
	}
	var all []string
	if json.Unmarshal(raw, &all) != nil {
		return "", false
	}
	for i := range all {
		all[i] = cli.Inert(all[i])
	}
	return strings.Join(all, "\n"), len(all) > 0
}

// DecodeChoices reads what bottle-ls agents printed.
func DecodeChoices(out string) ([]Choice, error) {
	var all []Choice
	for line := range strings.Lines(out) {
		var c Choice
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			return nil, fmt.Errorf("cannot understand bottle-ls agents: %v", err)
		}
		if bottle.CheckName(c.Agent) == nil {
			c.Bottle = cli.Inert(c.Bottle)
			all = append(all, c)
		}
	}
	return all, nil
}

func (a Agent) hasPipelock() bool {
	return slices.Contains(a.Sidecars, "pipelock") || slices.Contains(a.Services, "pipelock")
}

// up are the sidecars that run.
func (a Agent) up() []string {
	return slices.DeleteFunc(slices.Clone(a.Services), func(s string) bool { return s == "agent" })
}
