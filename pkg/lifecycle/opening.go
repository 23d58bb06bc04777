package lifecycle

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"bottle/pkg/frame"
	"bottle/pkg/plan"
	"bottle/pkg/probe"
	"bottle/pkg/session"
)

// opening is the conversation with the main process of the agent's container
// that ends a bring-up: it tries the walls and, when the host has seen that they
// stand, starts the session. It is on its way as soon as the container runs.
type opening struct {
	attached
	cancel context.CancelFunc
	read   *io.PipeReader // its standard output
	lines  *bufio.Scanner // of it
	said   bytes.Buffer   // its standard error; read it after ended
}

// Bounds of the answer to one ask. Standing walls take a twentieth of a second, and
// so does a session; but programs of the image run in that one, and hang or say
// what they like.
const (
	selfTestTime = 30 * time.Second
	sessionTime  = time.Minute
	maxLine      = 1 << 20
	maxLines     = 100
)

// open starts the agent's container and the conversation with it, which lasts
// until ctx ends at the latest.
func (u *bringUp) open(ctx context.Context) (*opening, error) {
	return u.openBy(ctx, u.Engine.StartAttached)
}

// openBy is open for a container that is connected to in another way.
func (u *bringUp) openBy(ctx context.Context, connect attaching) (*opening, error) {
	ctx, cancel := context.WithCancel(ctx)
	read, out := io.Pipe()
	o := &opening{cancel: cancel, read: read, lines: bufio.NewScanner(read)}
	o.lines.Buffer(nil, maxLine)
	var err error
	o.attached, err = attach(ctx, connect, plan.ContainerName(u.bottle.Slug, plan.AgentService), out, &bounded{w: &o.said, left: 64 << 10})
	if err != nil {
		cancel()
		return nil, err
	}
	return o, nil
}

// end ends the conversation, whatever was said; the container runs on.
func (o *opening) end() {
	o.say.Close()
	o.hangUp()
}

// hangUp breaks the conversation off: who still writes to it is not waited for.
func (o *opening) hangUp() {
	o.cancel()
	o.read.Close()
}

// ask asks one thing and returns the lines before the answer, which may take
// some time.
func (o *opening) ask(q frame.Ask, within time.Duration) (lines [][]byte, a frame.Answer, err error) {
	late := make(chan struct{})
	timer := time.AfterFunc(within, func() { close(late); o.hangUp() })
	defer timer.Stop()
	lines, a, err = o.converse(q)
	select {
	case <-late:
		return lines, a, fmt.Errorf("bottle-inside did not answer in %s", within)
	default:
		return lines, a, err
	}
}

func (o *opening) converse(q frame.Ask) (lines [][]byte, a frame.Answer, err error) {
	if err := json.NewEncoder(o.say).Encode(q); err != nil {
		return nil, a, o.why(err)
	}
	for len(lines) <= maxLines && o.lines.Scan() {
		line := slices.Clone(o.lines.Bytes())
		a = frame.Answer{}
		if err := json.Unmarshal(line, &a); err != nil {
			return lines, a, fmt.Errorf("cannot read what bottle-inside says: %w", err)
		}
		if a.Done {
			return lines, a, nil
		}
		lines = append(lines, line)
	}
	if len(lines) > maxLines {
		return lines, a, fmt.Errorf("cannot read what bottle-inside says: more than %d lines", maxLines)
	}
	if err := o.lines.Err(); err != nil {
		return lines, a, fmt.Errorf("cannot read what bottle-inside says: %w", err)
	}
	return lines, a, o.why(io.ErrUnexpectedEOF)
}

// why is the reason for which the conversation broke.
func (o *opening) why(err error) error {
	o.hangUp()
	e := <-o.ended
	switch {
	case e.Err != nil && !errors.Is(e.Err, context.Canceled):
		return e.Err
	case e.Err == nil:
		return fmt.Errorf("bottle-inside ended with %d: %s", e.Code, lastLine(o.said.String()))
	}
	return fmt.Errorf("bottle-inside said nothing more: %w", err)
}

// try tries rows of the self-test and returns their results.
func (o *opening) try(rows []probe.Row, targets probe.Targets) ([]probe.Result, error) {
	doc, err := json.Marshal(targets)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the self-test: %w", err)
	}
	var ids []string
	for _, r := range rows {
		ids = append(ids, r.ID)
	}
	lines, a, err := o.ask(frame.Ask{Rows: ids, Targets: doc}, selfTestTime)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSelfTest, err)
	}
	var results []probe.Result
	for _, line := range lines {
		var r probe.Result
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, fmt.Errorf("%w: its results cannot be read: %w", ErrSelfTest, err)
		}
		results = append(results, r)
	}
	if len(results) != len(rows) {
		return nil, fmt.Errorf("%w: %d of %d rows ran: %s", ErrSelfTest, len(results), len(rows), lastLine(a.Said))
	}
	return results, nil
}

// selfTest tries the first attacks of the threat model from inside: at once
// those that concern the agent's own container, the rest when the sidecars can
// serve. A wall that does not hold is an ErrSelfTest that names the row.
func (u *bringUp) selfTest(o *opening, targets probe.Targets, sidecars func() error) error {
	var own, theirs []probe.Row
	for _, r := range probe.SelfTestRows() {
		if r.NeedsEgress() {
			theirs = append(theirs, r)
		} else {
			own = append(own, r)
		}
	}
	results, err := o.try(own, targets)
	if err != nil {
		return err
	}
	if err := sidecars(); err != nil {
		return err
	}
	more, err := o.try(theirs, targets)
	if err != nil {
		return err
	}
	return u.verdict(append(results, more...))
}

// verdict judges the self-test: every row must have run, and held.
func (u *bringUp) verdict(results []probe.Result) error {
	var failed []string
	for _, row := range probe.SelfTestRows() {
		i := slices.IndexFunc(results, func(r probe.Result) bool { return r.ID == row.ID })
		if i < 0 {
			return fmt.Errorf("%w: row %s did not run", ErrSelfTest, row.ID)
		}
		fmt.Fprintln(u.log, results[i].String())
		if !results[i].OK {
			failed = append(failed, results[i].String())
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("%w: %s", ErrSelfTest, strings.Join(failed, "; "))
	}
	return nil
}

// startSession has the agent started. The secrets in doc travel this way alone.
func (u *bringUp) startSession(o *opening, doc frame.Start) error {
	_, a, err := o.ask(frame.Ask{Start: &doc}, sessionTime)
	if err != nil {
		return fmt.Errorf("cannot start the session: %w", err)
	}
	return session.Started(a.Code, []byte(a.Said))
}
