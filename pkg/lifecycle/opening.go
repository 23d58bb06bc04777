package lifecycle

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"bottle/pkg/engine"
	"bottle/pkg/frame"
	"bottle/pkg/plan"
	"bottle/pkg/probe"
	"bottle/pkg/session"
)

// opening is the conversation with bottle-inside that ends a bring-up: it tries
// the walls and, when the host has seen that they stand, starts the session. One
// command serves for both, and is on its way while other things get ready.
type opening struct {
	cancel  context.CancelFunc
	say     io.WriteCloser // documents, to its standard input
	results *bufio.Scanner // lines, of its standard output
	said    bytes.Buffer   // its standard error; read it after done
	done    chan struct{}
	code    int // how it ended; valid after done, as is err
	err     error
}

// selfTestTime bounds the self-test: standing walls take a tenth of a second.
const selfTestTime = 30 * time.Second

// open starts the conversation. It ends with ctx at the latest.
func (u *bringUp) open(ctx context.Context) *opening {
	in, say := io.Pipe()
	lines, out := io.Pipe()
	ctx, cancel := context.WithCancel(ctx)
	o := &opening{cancel: cancel, say: say, results: bufio.NewScanner(lines), done: make(chan struct{})}
	go func() {
		defer close(o.done)
		o.code, o.err = u.Engine.Exec(ctx, plan.ContainerName(u.bottle.Slug, plan.AgentService), engine.Exec{
			Cmd: []string{plan.InsideBin, "open"}, Stdin: in, Stdout: out, Stderr: &bounded{w: &o.said, left: 64 << 10}})
		out.Close()
		in.CloseWithError(io.ErrClosedPipe)
	}()
	return o
}

// end ends the conversation, whatever was said.
func (o *opening) end() {
	o.say.Close()
	o.cancel()
	<-o.done
}

// tell sends one document.
func (o *opening) tell(doc any) error {
	err := json.NewEncoder(o.say).Encode(doc)
	if errors.Is(err, io.ErrClosedPipe) {
		<-o.done
		if o.err != nil {
			return o.err
		}
		return fmt.Errorf("bottle-inside ended with %d: %s", o.code, lastLine(o.said.String()))
	}
	return err
}

// selfTest tries the first attacks of the threat model from inside. A wall that
// does not hold is an ErrSelfTest that names the row.
func (u *bringUp) selfTest(o *opening, targets probe.Targets) error {
	late := time.AfterFunc(selfTestTime, o.cancel)
	defer late.Stop()
	if err := o.tell(targets); err != nil {
		return fmt.Errorf("%w: it could not begin: %w", ErrSelfTest, err)
	}
	var results []probe.Result
	for len(results) < len(probe.SelfTestRows()) && o.results.Scan() {
		var r probe.Result
		if err := json.Unmarshal(o.results.Bytes(), &r); err != nil {
			return fmt.Errorf("%w: its results cannot be read: %w", ErrSelfTest, err)
		}
		fmt.Fprintln(u.log, r.String())
		results = append(results, r)
	}
	return verdict(results)
}

// verdict judges the self-test's results. One that is missing is a failure too.
func verdict(results []probe.Result) error {
	rows := probe.SelfTestRows()
	if len(results) != len(rows) {
		return fmt.Errorf("%w: %d of %d rows ran", ErrSelfTest, len(results), len(rows))
	}
	var failed []string
	for i, r := range results {
		switch {
		case r.ID != rows[i].ID:
			return fmt.Errorf("%w: row %s came as %s", ErrSelfTest, rows[i].ID, r.ID)
		case !r.OK:
			failed = append(failed, r.String())
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("%w: %s", ErrSelfTest, strings.Join(failed, "; "))
	}
	return nil
}

// startSession has the agent started. The secrets in doc travel this way alone.
func (u *bringUp) startSession(o *opening, doc frame.Start) error {
	err := o.tell(doc)
	o.say.Close()
	<-o.done
	switch {
	case err != nil:
		return fmt.Errorf("cannot start the session: %w", err)
	case o.err != nil:
		return fmt.Errorf("cannot start the session: %w", o.err)
	}
	return session.Started(o.code, o.said.Bytes())
}
