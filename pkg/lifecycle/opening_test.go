package lifecycle

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"bottle/pkg/engine"
	"bottle/pkg/frame"
)

// talker is an engine whose containers' main processes do what do does. Like
// the real one, it ends a conversation with its context, and not while what the
// process says is not taken.
type talker struct {
	engine.Engine
	do func(asked *json.Decoder, out io.Writer, over <-chan struct{})
}

func (e *talker) StartAttached(ctx context.Context, _ string, s engine.Streams) (<-chan engine.End, error) {
	said, says := io.Pipe()
	asked, asks := io.Pipe()
	ended := make(chan engine.End, 1)
	context.AfterFunc(ctx, func() { said.CloseWithError(ctx.Err()); asks.CloseWithError(ctx.Err()) })
	go func() { io.Copy(asks, s.Stdin); asks.Close() }()
	go func() { e.do(json.NewDecoder(asked), says, ctx.Done()); says.Close() }()
	go func() {
		_, err := io.Copy(s.Stdout, said)
		ended <- engine.End{Err: err}
	}()
	return ended, nil
}

func TestAConversationEndsWhateverTheImageSays(t *testing.T) {
	for name, tc := range map[string]struct {
		do   func(asked *json.Decoder, out io.Writer, over <-chan struct{})
		want string
	}{
		"a line without an end": {func(_ *json.Decoder, out io.Writer, _ <-chan struct{}) {
			for {
				if _, err := out.Write(bytes.Repeat([]byte("x"), 64<<10)); err != nil {
					return
				}
			}
		}, "too long"},
		"lines without an end": {func(_ *json.Decoder, out io.Writer, _ <-chan struct{}) {
			for {
				if _, err := io.WriteString(out, "{}\n"); err != nil {
					return
				}
			}
		}, "more than 100 lines"},
		"no word of ours": {func(_ *json.Decoder, out io.Writer, _ <-chan struct{}) { io.WriteString(out, "\x1b]52;c;aGk=\a\n") }, "cannot read"},
		"nothing": {func(asked *json.Decoder, _ io.Writer, _ <-chan struct{}) {
			asked.Decode(&frame.Ask{})
			asked.Decode(&frame.Ask{})
		}, "did not answer in 1m0s"},
		"nothing, unasked": {func(_ *json.Decoder, _ io.Writer, over <-chan struct{}) { <-over }, "did not answer in 1m0s"},
		"its end":          {func(*json.Decoder, io.Writer, <-chan struct{}) {}, "bottle-inside"},
		"half an answer":   {func(_ *json.Decoder, out io.Writer, _ <-chan struct{}) { io.WriteString(out, `{"done":tr`) }, "cannot read"},
		"that it did not run": {func(_ *json.Decoder, out io.Writer, _ <-chan struct{}) {
			io.WriteString(out, `{"done":true,"code":1,"said":"no tmux"}`+"\n")
		}, "no tmux"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			u := &bringUp{Manager: &Manager{Home: l.Home, Engine: &talker{l.fake, tc.do}}}
			synctest.Test(t, func(t *testing.T) {
				o, err := u.open(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				err = u.startSession(o, frame.Start{Argv: []string{"sh"}})
				if err == nil || !strings.Contains(err.Error(), tc.want) || errors.Is(err, context.Canceled) {
					t.Errorf("ended with %v", err)
				}
				o.end()
			})
		})
	}
}
