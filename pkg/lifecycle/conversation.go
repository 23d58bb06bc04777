package lifecycle

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"bottle/pkg/agent"
	"bottle/pkg/frame"
	"bottle/pkg/plan"
	"bottle/pkg/spool"
	"bottle/pkg/state"
)

// maxConversations bounds what is taken of an agent's conversations, in bytes;
// bottle-inside keeps well below.
const maxConversations = 128 << 20

// conversations are what the agent and its operator said, on its way from the
// capture to the state directory: as the agent wrote it, and to be read.
type conversations struct {
	agent agent.Agent
	dir   string // the state directory
	temp  *os.File
	w     *bufio.Writer
	split *frame.Splitter
}

// talks returns what the conversations of this bottle come to; nil where its
// program keeps none, or nobody knows it.
func (t *tearDown) talks() *conversations {
	a, err := agent.Lookup(agent.Program{Name: t.bottle.Program})
	if err != nil || a.Conversations() == "" || !slices.Contains(t.left.volumes, plan.VolumeName(t.took.Slug, plan.HomeVolume)) {
		return nil
	}
	return &conversations{agent: a, dir: t.Home.StateDir(t.took.Slug)}
}

// where is the pattern of their files in the agent's home.
func (c *conversations) where() string {
	if c == nil {
		return ""
	}
	return c.agent.Conversations()
}

// from returns what takes the capture's output: the conversations come first,
// then the work, which is rest's.
func (c *conversations) from(rest io.Writer) (io.Writer, error) {
	if c == nil {
		return rest, nil
	}
	var err error
	if c.temp, err = os.CreateTemp(c.dir, spool.TempPrefix); err != nil {
		return nil, fmt.Errorf("cannot write the conversation: %w", err)
	}
	c.w = bufio.NewWriterSize(c.temp, 1<<16)
	c.split = &frame.Splitter{Section: c.w, Rest: rest, Max: maxConversations}
	return c.split, nil
}

// save puts them under their names.
func (c *conversations) save() error {
	switch {
	case c == nil:
		return nil
	case !c.split.Whole():
		return fmt.Errorf("the conversation came in part: %w", io.ErrUnexpectedEOF)
	}
	if err := c.w.Flush(); err != nil {
		return fmt.Errorf("cannot write the conversation: %w", err)
	}
	if info, err := c.temp.Stat(); err != nil || info.Size() == 0 {
		return err // nothing was said
	}
	if err := c.temp.Sync(); err != nil {
		return fmt.Errorf("cannot write the conversation: %w", err)
	}
	if err := c.render(); err != nil {
		return err
	}
	if err := os.Rename(c.temp.Name(), filepath.Join(c.dir, state.Conversation)); err != nil {
		return err
	}
	return spool.Sync(c.dir)
}

// render writes them as Markdown.
func (c *conversations) render() error {
	if _, err := c.temp.Seek(0, io.SeekStart); err != nil {
		return err
	}
	f, err := os.CreateTemp(c.dir, spool.TempPrefix)
	if err != nil {
		return fmt.Errorf("cannot write the transcript: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := c.agent.Transcript(c.temp, f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("cannot write the transcript: %w", err)
	}
	return os.Rename(f.Name(), filepath.Join(c.dir, state.Transcript))
}

// drop lets go of what is not saved.
func (c *conversations) drop() {
	if c != nil && c.temp != nil {
		c.temp.Close()
		os.Remove(c.temp.Name())
	}
}
