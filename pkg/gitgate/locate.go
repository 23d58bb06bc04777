package gitgate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"bottle/pkg/bottle"
)

// locate says where what was found stands, in words that show nothing of it.
func (p *push) locate(ctx context.Context, pass *pass) error {
	slices.SortFunc(pass.hits, func(a, b objectHit) int {
		return strings.Compare(a.object.id+fmt.Sprintf("%08d", a.line)+a.member, b.object.id+fmt.Sprintf("%08d", b.line)+b.member)
	})
	for _, h := range pass.hits {
		if len(p.found) == maxFound {
			break
		}
		f := found{rule: h.rule, object: h.object.id, commit: h.object.id, fingerprint: h.fingerprint}
		switch h.object.kind {
		case "commit":
			f.where = "the commit itself"
		case "tag":
			f.where = "the tag itself"
		case "tree":
			f.where = "a file's name"
		default:
			f.where = p.place(pass.paths()[h.object.id], h.hit)
		}
		if h.object.kind == "blob" || h.object.kind == "tree" {
			commit, err := p.commitOf(ctx, h.object.id)
			if err != nil {
				return err
			}
			f.commit = commit
		}
		p.found = append(p.found, f)
	}
	return nil
}

// place is a file and a line. Names are the agent's own words: one that is found
// fault with itself is not shown.
func (p *push) place(path string, h hit) string {
	where := path
	if where == "" {
		where = "a file without a name"
	}
	if h.member != "" {
		where += "!" + h.member
	}
	if len(p.scanner.text("", []byte(where))) > 0 {
		where = "a file"
	}
	where = inert(where)
	if h.line > 0 && h.member == "" {
		where += fmt.Sprintf(":%d", h.line)
	}
	return where
}

// commitOf is a commit of the push that brings an object; the object itself where
// none does.
func (p *push) commitOf(ctx context.Context, id string) (string, error) {
	list, err := p.git().out(ctx, p.tips(), "log", "--stdin", "--format=%H", "--root", "-t", "--no-renames", "--reverse", "--diff-merges=separate",
		"--no-patch", "--find-object="+id, "--not", "--all")
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if commit, _, _ := strings.Cut(list, "\n"); err == nil && isID(commit) {
		return commit, nil
	}
	return id, nil
}

// Bounds of what a proposal tells.
const (
	maxLog      = 100
	maxDiffstat = 16 << 10
	maxWord     = 120
)

// ask is the push as what is asked of the operator.
func (p *push) ask() bottle.PushAsk {
	a := bottle.PushAsk{Remote: p.repo.name}
	for _, c := range p.commands {
		a.Updates = append(a.Updates, c.PushUpdate)
	}
	slices.SortFunc(a.Updates, func(x, y bottle.PushUpdate) int { return strings.Compare(x.Ref, y.Ref) })
	for _, f := range p.found {
		a.Findings = append(a.Findings, bottle.PushFinding{Rule: f.rule, Where: f.where, Object: f.commit, Fingerprint: f.fingerprint})
	}
	return a
}

// describeTo adds the log and the diffstat, which are for reading.
func (p *push) describeTo(ctx context.Context, a *bottle.PushAsk) {
	log, err := p.git().out(ctx, p.tips(), "log", "--stdin", "--no-show-signature", "--format=%h %an: %s",
		fmt.Sprintf("--max-count=%d", maxLog), "--not", "--all")
	if err == nil {
		for line := range strings.Lines(log) {
			line = inert(strings.TrimSuffix(line, "\n"))
			if len(p.scanner.text("", []byte(line))) > 0 {
				line, _, _ = strings.Cut(line, " ")
				line += " (what it says is not shown: see the findings)"
			}
			a.Commits = append(a.Commits, line)
		}
	}
	for _, c := range p.commands {
		old := p.base(ctx, c.PushUpdate)
		stat, err := p.git().out(ctx, "", "diff", "--stat=100", "--no-ext-diff", "--no-textconv", "--no-renames", old, c.New, "--")
		if err != nil || len(p.scanner.text("", []byte(stat))) > 0 {
			continue
		}
		for line := range strings.Lines(stat) {
			if line = inert(strings.TrimSuffix(line, "\n")) + "\n"; len(a.Diffstat)+len(line) <= maxDiffstat {
				a.Diffstat += line
			}
		}
	}
}

// base is what an update is shown against: what the ref is, for a new one the commit
// at which it left what is here already, and the empty tree where it never was part
// of that.
func (p *push) base(ctx context.Context, u bottle.PushUpdate) string {
	if !isZero(u.Old) {
		return u.Old
	}
	base := emptyTrees[len(u.New)]
	list, err := p.git().out(ctx, u.New+"\n", "rev-list", "--boundary", "--stdin", "--not", "--all")
	if err != nil {
		return base
	}
	var left []string
	for line := range strings.Lines(list) {
		if id, boundary := strings.CutPrefix(strings.TrimSpace(line), "-"); boundary && len(left) < maxLog {
			left = append(left, id)
		}
	}
	if len(left) == 0 {
		return base
	}
	// It may have been merged with what is here since: the last such place counts.
	last, err := p.git().out(ctx, "", append([]string{"merge-base", "--independent"}, left...)...)
	if id, _, _ := strings.Cut(last, "\n"); err == nil && isID(id) {
		return id
	}
	return left[0]
}

var emptyTrees = map[int]string{
	40: "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
	64: "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
}
