package session

import (
	"bytes"
	"context"
	"encoding/base64"
	"strings"
	"time"
	"unicode"

	"bottle/pkg/engine"
	"bottle/pkg/frame"
	"bottle/pkg/plan"
)

// copyTime bounds one copy, from the end of a selection to the clipboard: nothing
// of the agent's gets there when the operator has gone on to other things.
const copyTime = 3 * time.Second

// copier puts on the operator's clipboard what was selected in the session: one
// text for each selection that the operator's own hands were seen to end, asked
// for then. Which text that is, is the container's word.
type copier struct {
	engine    engine.Engine
	container string
	screen    *screen
	to        func(ctx context.Context, text string) error // nil, or failing: the terminal is told
	watch     selecting
	ended     chan struct{} // holds one: of several that end meanwhile, the last counts
}

// typed watches what the operator types, when it was passed on.
func (c *copier) typed(p []byte) {
	if !c.watch.feed(p, time.Now()) {
		return
	}
	select {
	case c.ended <- struct{}{}:
	default:
	}
}

// run copies until ctx ends.
func (c *copier) run(ctx context.Context) {
	for {
		select {
		case <-c.ended:
			c.copy(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (c *copier) copy(ctx context.Context) {
	defer func() { _ = recover() }() // a panic must not leave the terminal raw; what was selected is lost
	ctx, cancel := context.WithTimeout(ctx, copyTime)
	defer cancel()
	var selected bytes.Buffer
	code, err := c.engine.Exec(ctx, c.container, engine.Exec{Cmd: []string{plan.InsideBin, "selection"},
		Stdout: &bounded{&selected, frame.MaxSelection + 1}})
	switch text := clipboardText(selected.Bytes()); {
	case selected.Len() > frame.MaxSelection:
		c.screen.tell([]byte("\a")) // it is too much
	case err != nil || code != 0 || text == "":
	case c.to == nil || c.to(ctx, text) != nil:
		c.screen.tell(osc52(text))
	}
}

// clipboardText is what of a selection is text: no sequences and no control
// characters but newlines and tabs, none that reorder or that nobody has seen, and
// no newline at the end, at which a shell would run what was pasted.
func clipboardText(selected []byte) string {
	var b strings.Builder
	NewFilter(&b, Text).Write(selected)
	return strings.TrimRight(strings.Map(seen, b.String()), "\n")
}

// seen drops what draws nothing of its own: zero-width characters, joiners of emoji
// among them, tags and variation selectors, which can spell a text of any length.
func seen(r rune) rune {
	if unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point) {
		return -1
	}
	return r
}

// osc52 has a terminal put text on its clipboard.
func osc52(text string) []byte {
	return []byte("\x1b]52;c;" + base64.StdEncoding.EncodeToString([]byte(text)) + "\a")
}
