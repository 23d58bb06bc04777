package lifecycle

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"bottle/pkg/engine"
	"bottle/pkg/plan"
	"bottle/pkg/spool"
	"bottle/pkg/state"
)

// capture reads a stopped bottle's work as a git bundle, in a fresh container
// without network or secrets: inside the agent's own, the agent could veto it.
type capture struct {
	*Manager
	slug      string
	start     string         // the commit that the work began with
	diffs     bool           // it is known what the work began with
	talks     *conversations // nil: there are none to take
	log       *journal
	container plan.Container
	scratch   plan.Volume

	attached
	into *redirect    // its standard output
	said bytes.Buffer // its standard error; read it after ended

	notes []string // what it could not capture, or not as it was
}

// prepare makes the container. It may do so while the agent still runs; nothing
// is read yet.
func (c *capture) prepare(ctx context.Context) error {
	p, err := c.capturePlan(ctx)
	if err != nil {
		return err
	}
	c.container, c.scratch = p.Capture(c.talks.where())
	err = whole(ctx, func(ctx context.Context) error {
		if err := c.Engine.Remove(ctx, c.container.Name); err != nil { // of an earlier try
			return err
		}
		if err := c.Engine.CreateVolume(ctx, c.scratch); err != nil {
			return err
		}
		return c.Engine.Create(ctx, c.container)
	})
	if err != nil {
		return err
	}
	c.into = &redirect{}
	c.attached, err = c.attach(ctx, c.container.Name, c.into, &bounded{w: &c.said, left: 1 << 20})
	return err
}

// capturePlan is the plan the bottle was made of, or what can be had in its
// place: plans are lost, and images are removed.
func (c *capture) capturePlan(ctx context.Context) (*plan.Plan, error) {
	p, err := c.loadPlan(c.slug)
	if err == nil {
		var has bool
		image := p.Find(plan.AgentService).Image
		if has, err = c.Engine.HasImage(ctx, image); has {
			return p, nil
		}
		if err == nil {
			err = fmt.Errorf("its image %s is gone", image)
		}
	}
	c.log.step("capturing without its plan: %v", err)
	tools := toolsImage().Tag
	has, err := c.Engine.HasImage(ctx, tools)
	if err == nil && !has {
		err = fmt.Errorf("cannot capture without the image %s: start any bottle once, which makes it", tools)
	}
	if err != nil {
		return nil, err
	}
	h := plan.Host{Home: c.Home.ID, StateDir: c.Home.StateDir(c.slug), Inside: c.insideDir()}
	if b, err := c.Home.Bottle(c.slug); err == nil && b.Workspace == WorkspaceMount {
		h.Folder = b.Folder
	}
	return plan.Recover(c.slug, h, tools), nil
}

// join adds what prepare made to what is to be removed.
func (c *capture) join(r remains) remains {
	if c.container.Name == "" {
		return r
	}
	if !slices.Contains(r.containers, c.container.Name) { // a killed stop leaves one
		r.containers = append(r.containers, c.container.Name)
	}
	if !slices.Contains(r.volumes, c.scratch.Name) {
		r.volumes = append(r.volumes, c.scratch.Name)
	}
	return r
}

// remove removes what prepare made.
func (c *capture) remove(ctx context.Context) error { return c.Manager.remove(ctx, c.join(remains{})) }

// read captures the work to the state directory, when the agent has stopped. The
// bundle appears under its name when it is whole.
func (c *capture) read(ctx context.Context) error {
	c.log.step("capturing the work")
	ctx, cancel := context.WithTimeout(ctx, captureTime)
	defer cancel()
	path := filepath.Join(c.Home.StateDir(c.slug), state.WorkBundle)
	f, err := os.CreateTemp(filepath.Dir(path), spool.TempPrefix)
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	found, err := c.receive(ctx, f)
	if err != nil || !found {
		return err
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	// What came out of a container is checked where the agent has no say: git
	// itself looks into a bundle's objects in its newest versions only.
	if err := c.check(ctx, f); err != nil {
		return fmt.Errorf("the captured bundle is not sound: %w", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return spool.Sync(filepath.Dir(path))
}

// receive writes what the capture says to f; found is false where there is no
// work.
func (c *capture) receive(ctx context.Context, f *os.File) (found bool, err error) {
	out := bufio.NewWriterSize(f, 1<<20)
	into, err := c.talks.from(&bounded{w: out, left: captureSize})
	if err != nil {
		return false, err
	}
	defer c.talks.drop()
	c.into.to(into)
	if _, err := io.WriteString(c.say, strings.TrimSpace("now "+c.start)+"\n"); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		return false, fmt.Errorf("cannot begin the capture: %w", err)
	}
	var end engine.End
	select {
	case end = <-c.ended:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if c.said.Len() > 0 {
		c.log.Write(c.said.Bytes())
	}
	for line := range strings.Lines(c.said.String()) {
		if note, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), "note: "); ok {
			c.notes = append(c.notes, note)
		}
	}
	if end.Err == nil && (end.Code == 0 || end.Code == captureNothing) {
		if err := c.talks.save(); err != nil {
			return false, err
		}
	}
	switch {
	case end.Err != nil:
		return false, end.Err
	case end.Code == captureNothing && len(c.notes) > 0: // nothing that it could read is not nothing
		return false, fmt.Errorf("nothing of it can be captured: %s", c.notes[0])
	case end.Code == captureNothing:
		c.log.step("there is no work to capture")
		return false, nil
	case end.Code != 0:
		return false, fmt.Errorf("the capture ended with %d: %s", end.Code, lastLine(c.said.String()))
	}
	if err := out.Flush(); err != nil {
		return false, fmt.Errorf("cannot write the captured work: %w", err)
	}
	return true, nil
}

// redirect is a writer whose end is settled later; what comes before is refused.
type redirect struct {
	mu sync.Mutex
	w  io.Writer
}

func (r *redirect) to(w io.Writer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.w = w
}

func (r *redirect) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.w == nil {
		return 0, errors.New("it spoke before it was asked")
	}
	return r.w.Write(p)
}

// captureNothing is how bottle-inside capture says that there is no work.
const captureNothing = 4

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}
