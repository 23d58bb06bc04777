package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"bottle/pkg/bottle"
	"bottle/pkg/cli"
	"bottle/pkg/decision"
	"bottle/pkg/operator"
	"bottle/pkg/proposal"
	"bottle/pkg/state"
)

// queue goes through all that waits, one after another.
type queue struct {
	c     *cli.Call
	d     *decision.Decider
	terms proposal.Terms
	p     printer
}

// deadTime is how long keys count for nothing after an item was drawn: they were
// meant for what stood there before, or for another pane.
const deadTime = 400 * time.Millisecond

func (q *queue) run(ctx context.Context) error {
	found, bad := operator.Filed(q.d.Home, false)
	for _, err := range bad {
		fmt.Fprintf(q.c.Err, "%s: %s\n", name, cli.Inert(err.Error()))
	}
	if len(found) == 0 {
		fmt.Fprintln(q.c.Err, "nothing waits for a decision")
		return nil
	}
	decided := 0
	for i, f := range found {
		t := operator.Target{Slug: f.Slug, ID: f.ID, Filed: f}
		q.draw(t, i+1, len(found))
		key, err := q.key(ctx)
		if err != nil {
			return err
		}
		o := decision.Order{ID: t.ID, Terms: q.terms}
		switch key {
		case 'y':
		case 'o':
			o.Terms.Uses = 1
		case 't':
			ten := 10 * time.Minute
			o.Terms.For = &ten
		case 'n':
			o.Reject = true
			if o.Reason, err = q.line(ctx, "why (for the agent, may be empty): "); err != nil {
				return err
			}
		case 'q':
			return q.end(decided)
		default:
			continue
		}
		r := q.d.Decide(ctx, t.Slug, []decision.Order{o})[0]
		if r.Err != nil {
			fmt.Fprintf(q.c.Err, "%s: %s\n", name, cli.Inert(operator.ExplainDecision(t.Slug, r.Err).Error()))
			continue
		}
		decided++
		fmt.Fprintf(q.c.Err, "%s. %s\n", r.Decision.Verdict, cli.Inert(r.Decision.Detail))
		if !cli.IsTerminal(q.c.Out) {
			if err := q.p.decided(t.Slug, r); err != nil {
				return err
			}
		}
	}
	return q.end(decided)
}

func (q *queue) end(decided int) error {
	if !cli.IsTerminal(q.c.Out) {
		if err := q.p.Flush(); err != nil {
			return err
		}
	}
	if decided == 0 {
		return cli.Error{Code: cli.Declined, Msg: "nothing was decided"}
	}
	return nil
}

func (q *queue) draw(t operator.Target, n, of int) {
	l := operator.Lines(q.d, []state.Filed{t.Filed}, time.Now())[0]
	// What y does, by the flags too.
	r := q.d.Preview(t.Slug, []decision.Order{{ID: t.ID, Terms: q.terms}})[0]
	l.Diff, l.Note = r.Change.Diff, r.Change.Note
	if r.Err != nil {
		l.Note = r.Err.Error()
	}
	w := q.c.Err
	fmt.Fprintf(w, "\n[%d/%d] %s  %s  %s ago\n", n, of, t.Slug, t.Kind, bottle.Span(time.Duration(l.Age)*time.Second))
	fmt.Fprintf(w, "  %s\n", cli.Inert(l.Summary))
	if l.Justification != "" {
		fmt.Fprintf(w, "  \"%s\"\n", cli.Inert(l.Justification))
	}
	if l.HeldLeft != nil {
		fmt.Fprintf(w, "  a request waits for the answer, until %s: %s are left\n", l.Pending.HeldUntil.Local().Format(time.TimeOnly), bottle.Span(time.Duration(*l.HeldLeft)*time.Second))
	}
	if p := l.Pending; p != nil && p.Count > 0 {
		fmt.Fprintf(w, "  asked for %s, last %s\n", times(p.Count), p.Last.Local().Format(time.DateTime))
	}
	lines := l.Diff
	if t.Push != nil {
		lines += strings.Join(t.Push.Commits, "\n") + "\n" + t.Push.Diffstat
	}
	for line := range strings.Lines(lines) {
		fmt.Fprintf(w, "    %s\n", cli.Inert(strings.TrimSuffix(line, "\n")))
	}
	if l.Note != "" {
		fmt.Fprintf(w, "  note: %s\n", cli.Inert(l.Note))
	}
	fmt.Fprint(w, "y yes, o once, t 10 minutes, n no, s skip, q quit: ")
}

func times(n int64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// key reads one key that was pressed after the item was drawn and seen.
func (q *queue) key(ctx context.Context) (byte, error) {
	fd := int(q.c.In.(*os.File).Fd()) // CanAsk
	old, err := term.MakeRaw(fd)
	if err != nil {
		return 0, fmt.Errorf("cannot read keys: %w", err)
	}
	defer term.Restore(fd, old)
	seen := time.Now().Add(deadTime)
	for {
		ready, err := waits(ctx, fd)
		if err != nil {
			return 0, err
		}
		if !ready {
			continue
		}
		var b [64]byte
		n, err := unix.Read(fd, b[:])
		if err != nil || n == 0 {
			return 'q', nil // the terminal is gone
		}
		switch {
		case b[0] == 3 || b[0] == 4: // ^C, ^D
			fmt.Fprint(q.c.Err, "\r\n")
			return 0, cli.Status(cli.Interrupted)
		case time.Now().Before(seen), n > 1: // too early, or pasted
			seen = time.Now().Add(deadTime)
			continue
		}
		if k := b[0] | 0x20; strings.IndexByte("yotnsq", k) >= 0 {
			fmt.Fprintf(q.c.Err, "%c\r\n", k)
			return k, nil
		}
	}
}

// waits says whether a key is there, and looks now and then whether ctx ended.
func waits(ctx context.Context, fd int) (bool, error) {
	if ctx.Err() != nil {
		return false, cli.Status(cli.Interrupted)
	}
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 100)
	if err != nil && err != unix.EINTR {
		return false, fmt.Errorf("cannot read keys: %w", err)
	}
	return n > 0, nil
}

// line reads a line of text.
func (q *queue) line(ctx context.Context, question string) (string, error) {
	fmt.Fprint(q.c.Err, question)
	in := q.c.Input(ctx)
	var text []byte
	var b [1]byte
	for {
		n, err := in.Read(b[:])
		if err != nil {
			return "", cli.Status(cli.Interrupted)
		}
		if n == 0 {
			continue
		}
		if b[0] == '\n' {
			return strings.TrimSpace(string(text)), nil
		}
		text = append(text, b[0])
	}
}
