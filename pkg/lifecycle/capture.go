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
	"strings"

	"bottle/pkg/bottle"
	"bottle/pkg/engine"
	"bottle/pkg/plan"
	"bottle/pkg/spool"
	"bottle/pkg/state"
	"bottle/pkg/workspace"
)

// capture writes the bottle's work as a git bundle and returns its path. It
// runs in a fresh container without network or secrets: inside the agent's own,
// the agent could veto it.
func (m *Manager) capture(ctx context.Context, b bottle.Bottle, log *journal) (path string, err error) {
	log.step("capturing the work")
	ctx, cancel := context.WithTimeout(ctx, captureTime)
	defer cancel()
	c, scratch, err := m.captureContainer(b.Slug)
	if err != nil {
		return "", err
	}
	err = whole(ctx, func(ctx context.Context) error {
		if err := m.Engine.Remove(ctx, c.Name); err != nil { // of an earlier try
			return err
		}
		if err := m.Engine.CreateVolume(ctx, scratch); err != nil {
			return err
		}
		if err := m.Engine.Create(ctx, c); err != nil {
			return err
		}
		return m.Engine.Start(ctx, c.Name)
	})
	defer func() {
		err = errors.Join(err, m.remove(context.WithoutCancel(ctx), remains{containers: []string{c.Name}, volumes: []string{scratch.Name}}))
	}()
	if err != nil {
		return "", err
	}
	return m.readBundle(ctx, b.Slug, c.Name, log)
}

// readBundle streams the bundle to disk; it appears under its name when it is
// whole.
func (m *Manager) readBundle(ctx context.Context, slug, container string, log *journal) (string, error) {
	path := filepath.Join(m.Home.StateDir(slug), state.WorkBundle)
	f, err := os.CreateTemp(filepath.Dir(path), spool.TempPrefix)
	if err != nil {
		return "", fmt.Errorf("cannot write %s: %w", path, err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var said bytes.Buffer
	out := bufio.NewWriterSize(f, 1<<20)
	code, err := m.Engine.Exec(ctx, container, engine.Exec{Cmd: []string{plan.InsideBin, "capture", plan.WorkDir},
		Stdout: &bounded{w: out, left: captureSize}, Stderr: &bounded{w: &said, left: 1 << 20}})
	if said.Len() > 0 {
		log.Write(said.Bytes())
	}
	switch {
	case err != nil:
		return "", err
	case code == captureNothing:
		log.step("there is no work to capture")
		return "", nil
	case code != 0:
		return "", fmt.Errorf("the capture ended with %d: %s", code, lastLine(said.String()))
	}
	if err := errors.Join(out.Flush(), f.Sync()); err != nil {
		return "", fmt.Errorf("cannot write %s: %w", path, err)
	}
	// What came out of a container is checked where the agent has no say: git
	// itself looks into a bundle's objects in its newest versions only.
	if err := check(ctx, f); err != nil {
		return "", fmt.Errorf("the captured bundle is not sound: %w", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return "", err
	}
	return filepath.Join(m.Home.HistoryDir(slug), state.WorkBundle), nil
}

// check reads a bundle back and judges it.
func check(ctx context.Context, f *os.File) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := workspace.Check(ctx, f, workspace.Limits{Temp: filepath.Dir(f.Name())})
	return err
}

// captureNothing is how bottle-inside capture says that there is no work.
const captureNothing = 4

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// captureContainer plans the container of a capture: from the plan that the
// bottle was made of.
func (m *Manager) captureContainer(slug string) (plan.Container, plan.Volume, error) {
	p, err := m.loadPlan(slug)
	if err != nil {
		return plan.Container{}, plan.Volume{}, err
	}
	c, scratch := p.Capture()
	return c, scratch, nil
}
